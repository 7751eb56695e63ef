package cuda

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// choices are the algorithms that the library's heuristic chose in this or an earlier process: a run that is repeated
// or resumed has the same ones. They are checked again in every process. The file is a cache: where it cannot be read
// or written, nothing is kept.
type choices struct {
	path string
	on   string // the library and the GPU that they are for
	all  map[string]map[string]gpu.Algorithm
}

// keepChoices keeps them in a file.
func (d *Device) keepChoices(path string) {
	if d.library == nil {
		return
	}
	p := d.props
	on := fmt.Sprintf("%s on %s, %d.%d, %d multiprocessors", d.library.Version(), p.Name, p.Major, p.Minor, p.SMs)
	d.library.choices = &choices{path: path, on: on}
}

// load reads the file; it holds those of other libraries and GPUs too.
func (c *choices) load() {
	c.all = map[string]map[string]gpu.Algorithm{}
	if text, err := os.ReadFile(c.path); err != nil || json.Unmarshal(text, &c.all) != nil || c.all == nil {
		c.all = map[string]map[string]gpu.Algorithm{}
	}
	if c.all[c.on] == nil {
		c.all[c.on] = map[string]gpu.Algorithm{}
	}
}

func choiceName(s shape, rows int) string {
	return fmt.Sprintf("%v %dx%d, %d rows", s.op, s.n, s.k, rows)
}

func (c *choices) get(s shape, rows int) (a gpu.Algorithm, ok bool) {
	if c == nil {
		return a, false
	}
	if c.all == nil {
		c.load()
	}
	a, ok = c.all[c.on][choiceName(s, rows)]
	return a, ok
}

// put adds a to the file, and keeps what another process has added.
func (c *choices) put(s shape, rows int, a gpu.Algorithm) {
	if c == nil {
		return
	}
	c.load()
	c.all[c.on][choiceName(s, rows)] = a
	text, err := json.MarshalIndent(c.all, "", " ")
	if err == nil && os.MkdirAll(filepath.Dir(c.path), 0o755) == nil {
		_ = disk.WriteFile(c.path, append(text, '\n'))
	}
}
