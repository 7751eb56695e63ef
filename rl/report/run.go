// Package report turns a run directory into one page that needs nothing else: report.html, and the same page live over HTTP. It is made of
// config.yaml, metrics.jsonl, episodes.jsonl and eval*.json alone, so that it works on any run, while it goes on or long after; the
// tokenizer of a checkpoint, where there is one, cuts episodes into their tokens.
//
// Whatever episodes hold is hostile until escaped: the page is made by html/template, its scripts are named by their hashes in a
// Content-Security-Policy, and nothing in it is loaded from anywhere.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"

	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Run is a run directory as far as it has been read. It may be used by several goroutines at once.
type Run struct {
	dir string

	mu         sync.Mutex
	configText string         // config.yaml, secrets taken out
	config     map[string]any // its values
	metrics    tail
	rows       []row
	episodes   tail
	count      int // episodes read
	first      *stepEpisodes
	last       *stepEpisodes
	damaged    int // lines that could not be read
	evals      []evaluation
	tok        *tokenizer.Tokenizer
	tokTried   string // where tok was looked for last
	version    int    // counts changes
}

// row is a line of metrics.jsonl.
type row struct {
	step   int
	values map[string]float64
}

// Open reads what is in dir so far. A folder without metrics is an error.
func Open(dir string) (*Run, error) {
	r := watch(dir)
	if _, err := r.refresh(); err != nil {
		return nil, err
	}
	if len(r.rows) == 0 && r.count == 0 {
		return nil, fmt.Errorf("reading the run %s: it has no metrics.jsonl with a step in it: give the --out of train or sft", dir)
	}
	return r, nil
}

// Watch opens a run directory that may hold nothing yet.
func Watch(dir string) *Run { return watch(dir) }

func watch(dir string) *Run {
	return &Run{dir: dir, metrics: tail{path: filepath.Join(dir, "metrics.jsonl")}, episodes: tail{path: filepath.Join(dir, "episodes.jsonl")}}
}

// refresh reads on. The number changes with what has been read.
func (r *Run) refresh() (version int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := [2]int64{r.metrics.at, r.episodes.at}
	if err := errors.Join(r.readConfig(), r.metrics.read(r.readRow, func() { r.rows = nil }),
		r.episodes.read(r.readEpisode, func() { r.first, r.last, r.count = nil, nil, 0 })); err != nil {
		return r.version, fmt.Errorf("reading the run %s: %w", r.dir, err)
	}
	if before != [2]int64{r.metrics.at, r.episodes.at} || r.version == 0 {
		r.version++
		r.readEvals()
		r.findTokenizer()
	}
	return r.version, nil
}

// secret are names of options whose values do not belong on a page.
var secret = regexp.MustCompile(`(?mi)^([ \t]*[\w-]*(?:key|secret|password|token)[ \t]*:[ \t]*)\S.*$`)

func (r *Run) readConfig() error {
	text, err := os.ReadFile(filepath.Join(r.dir, "config.yaml"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	hidden := secret.ReplaceAllString(string(text), "${1}(hidden)")
	if hidden == r.configText {
		return nil
	}
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(hidden), &values); err != nil {
		values = nil // shown as it is
	}
	r.configText, r.config = hidden, values
	r.version++
	return nil
}

// option is a value of the configuration as text, "" where it has none.
func (r *Run) option(name string) string {
	if v, ok := r.config[name]; ok && v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

func (r *Run) readRow(line []byte) {
	var values map[string]*float64
	if json.Unmarshal(line, &values) != nil || values["step"] == nil {
		r.damaged++
		return
	}
	m := row{int(*values["step"]), map[string]float64{}}
	for name, v := range values {
		if v != nil && name != "step" { // null: it was not finite
			m.values[name] = *v
		}
	}
	r.rows = append(r.rows, m)
}

// findTokenizer looks for the policy's tokenizer: in the last checkpoint, else where the run began. Without one the page shows text only.
func (r *Run) findTokenizer() {
	if r.tok != nil {
		return
	}
	var places []string
	if dir, _, ok := rundir.Last(r.dir); ok {
		places = append(places, dir)
	}
	if model := r.option("model"); model != "" {
		if dir, err := rundir.ModelDir(model); err == nil {
			places = append(places, dir)
		}
	}
	if key := strings.Join(places, "\n"); key == r.tokTried {
		return
	} else {
		r.tokTried = key
	}
	for _, dir := range places {
		if t, err := tokenizer.Open(dir); err == nil {
			r.tok = t
			return
		}
	}
}

// evaluation is a file that `eval --json` printed: scores by data source.
type evaluation struct {
	File    string           `json:"-"`
	Model   string           `json:"model"`
	Engine  string           `json:"engine"`
	Mode    string           `json:"search_mode"`
	Sources []map[string]any `json:"sources"`
}

// readEvals reads eval*.json of the run directory; files of another shape are passed over.
func (r *Run) readEvals() {
	r.evals = nil
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return
	}
	for _, f := range entries {
		if ok, _ := filepath.Match("eval*.json", f.Name()); !ok {
			continue
		}
		text, err := os.ReadFile(filepath.Join(r.dir, f.Name()))
		e := evaluation{File: f.Name()}
		if err == nil && json.Unmarshal(text, &e) == nil && len(e.Sources) > 0 {
			r.evals = append(r.evals, e)
		}
	}
}
