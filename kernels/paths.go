package kernels

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// Path is one implementation of a device's operations: a set of instructions, or plain Go.
type Path struct {
	Name string
	// Missing is what this machine or build lacks to run the path; "" means that it runs here.
	Missing string
}

// Paths lists the implementations of one kind of device, best first. A new device runs the path that is in use at that
// moment; existing devices keep theirs. Make a Paths with NewPaths. Safe for concurrent use.
type Paths struct {
	mu   sync.Mutex
	list []Path
	used int
}

// NewPaths uses the first path of list that runs on this machine, or the one that the environment variable env names.
// If env names a path that is unknown or does not run here, NewPaths returns an error, so that the wrong path is
// never measured or tested; the Paths that it returns then use the best path.
func NewPaths(env string, list ...Path) (*Paths, error) {
	p := &Paths{list: list, used: -1}
	for i, x := range list {
		if x.Missing == "" {
			p.used = i
			break
		}
	}
	if p.used < 0 {
		panic(fmt.Sprintf("kernels: none of the paths %v runs here", list))
	}
	if name := os.Getenv(env); name != "" {
		if _, err := p.Use(name); err != nil {
			return p, fmt.Errorf("environment variable %s: %w", env, err)
		}
	}
	return p, nil
}

// List returns all paths, best first.
func (p *Paths) List() []Path { return append([]Path(nil), p.list...) }

// Used is the name of the path that the next device will run.
func (p *Paths) Used() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.list[p.used].Name
}

// Use makes later devices run the named path. undo restores the path that was in use before.
func (p *Paths) Use(name string) (undo func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range p.list {
		if x.Name != name {
			continue
		}
		if x.Missing != "" {
			return nil, fmt.Errorf("path %q needs %s: use one of %s", name, x.Missing, p.names())
		}
		old := p.used
		p.used = i
		return func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.used = old
		}, nil
	}
	return nil, fmt.Errorf("unknown path %q: use one of %s", name, p.names())
}

func (p *Paths) names() string {
	var s []string
	for _, x := range p.list {
		if x.Missing == "" {
			s = append(s, x.Name)
		}
	}
	return strings.Join(s, ", ")
}
