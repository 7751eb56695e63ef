package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress writes to the terminal of the user: whole lines, and one line that is redrawn while work goes on. Away from
// a terminal the redrawn line is printed every few seconds instead.
type progress struct {
	mu     sync.Mutex
	w      io.Writer
	tty    bool
	color  bool
	drawn  bool
	last   time.Time
	period time.Duration
}

// statusPeriod is how often the line is printed away from a terminal.
var statusPeriod = 5 * time.Second

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, period: statusPeriod}
	if f, ok := w.(*os.File); ok {
		p.tty = term.IsTerminal(int(f.Fd()))
	}
	p.color = p.tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return p
}

// line prints a whole line.
func (p *progress) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// status shows where long work is.
func (p *progress) status(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if p.tty {
		p.erase()
		fmt.Fprint(p.w, text)
		p.drawn = true
		return
	}
	if now := time.Now(); now.Sub(p.last) >= p.period {
		p.last = now
		fmt.Fprintln(p.w, text)
	}
}

// done ends the redrawn line.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

func (p *progress) erase() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// paint colours text on a terminal: 0 not, 1 bold, 2 dim, 32 green, 33 yellow, 36 cyan.
func (p *progress) paint(code int, text string) string {
	if !p.color || code == 0 {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", code, text)
}

// sparkline draws values in one line of block characters.
func sparkline(values []float64, width int) string {
	if len(values) == 0 {
		return ""
	}
	if len(values) > width {
		cells := make([]float64, width)
		for i := range cells {
			a, b := i*len(values)/width, (i+1)*len(values)/width
			for _, v := range values[a:b] {
				cells[i] += v / float64(b-a)
			}
		}
		values = cells
	}
	lo, hi := values[0], values[0]
	for _, v := range values {
		lo, hi = min(lo, v), max(hi, v)
	}
	var s strings.Builder
	for _, v := range values {
		k := 0
		if hi > lo {
			k = int((v - lo) / (hi - lo) * 7.999)
		}
		s.WriteRune([]rune("▁▂▃▄▅▆▇█")[k])
	}
	return s.String()
}

// eta is how long n of total steps say the rest will take.
func eta(start time.Time, n, total int) string {
	if n == 0 {
		return "?"
	}
	d := time.Duration(float64(time.Since(start)) / float64(n) * float64(total-n))
	return d.Round(time.Second).String()
}

// shellWord quotes s for a command that the user may paste.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("/._-+=:,@%", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') &&
			(r < 'a' || r > 'z')
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
