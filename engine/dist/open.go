package dist

import (
	"fmt"
	"os"
	"time"
)

// Options of Open.
type Options struct {
	// Lost, if not nil, is called by another goroutine with a message if a rank sends no heartbeat; then all processes
	// are ended. nil: the message is printed on standard error.
	Lost func(text string)
}

// defaultTimeout is the longest time that a rank may send no heartbeat.
const defaultTimeout = 30 * time.Second

// Launched is the launcher that started this program and how many processes it started: 1 if it was started alone, or
// is to run so.
func Launched() (by string, n int) {
	if os.Getenv(Variable) == "off" {
		return "", 1
	}
	l := launched(os.Getenv)
	return l.by, l.size
}

// Open connects the ranks that mpirun or srun has started. A program that was started alone is one rank; no library is
// loaded then.
func Open(o Options) (Group, error) {
	l := launched(os.Getenv)
	if l.size < 2 || os.Getenv(Variable) == "off" {
		return Alone(), nil
	}
	if l.cannot != "" {
		return nil, l.err(l.cannot)
	}
	timeout := defaultTimeout
	if text := os.Getenv(TimeoutVariable); text != "" {
		var err error
		if timeout, err = time.ParseDuration(text); err != nil || timeout < 3*time.Second {
			return nil, fmt.Errorf("%s must be a time of at least 3s, such as 30s, not %q", TimeoutVariable, text)
		}
	}
	if o.Lost == nil {
		o.Lost = func(text string) { fmt.Fprintln(os.Stderr, "error: "+text) }
	}
	return openMPIGroup(l, timeout, o.Lost)
}
