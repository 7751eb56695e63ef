// Package report makes a self-contained page from a run directory: the file report.html, or the same page over HTTP
// while the run is going on. It reads only config.yaml, metrics.jsonl, episodes.jsonl and eval*.json, so it works for
// finished and unfinished runs. If a checkpoint has a tokenizer, the page shows episodes token by token.
//
// The texts of episodes may be hostile. So html/template escapes all of them, a Content-Security-Policy allows only the
// page's own script by its hash, and the page loads nothing from other addresses.
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

	"github.com/zerosearch-go/zerosearch/rl/health"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Run is a run directory and everything that was read from it so far. It may be used by several goroutines at once.
type Run struct {
	dir string

	mu         sync.Mutex
	configText string         // config.yaml, with secrets hidden
	config     map[string]any // its values
	metrics    tail
	rows       []health.Step
	episodes   tail
	count      int           // episodes read
	first      *stepEpisodes // of the first step, nil before there is one
	last       *stepEpisodes // of the latest step
	kept       keptSteps     // for browsing
	damaged    int           // lines that could not be read
	evals      []evaluation
	tok        *tokenizer.Tokenizer
	tokTried   string // the folders that were last searched for a tokenizer
	version    int    // number of changes
}

// Open reads a run directory. It is an error if it has neither metrics nor episodes.
func Open(dir string) (*Run, error) {
	r := watch(dir)
	if _, err := r.refresh(); err != nil {
		return nil, err
	}
	if len(r.rows) == 0 && r.count == 0 {
		return nil,
			fmt.Errorf("reading the run %s: it has no metrics.jsonl with a step in it: give the --out of train or sft",
				dir)
	}
	return r, nil
}

// Watch opens a run directory that may hold nothing yet.
func Watch(dir string) *Run { return watch(dir) }

func watch(dir string) *Run {
	return &Run{dir: dir, metrics: tail{path: filepath.Join(dir, "metrics.jsonl")},
		episodes: tail{path: filepath.Join(dir, "episodes.jsonl")}}
}

// refresh reads what was added to the files since the last call. version changes if the page changes.
func (r *Run) refresh() (version int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := [2]int64{r.metrics.at, r.episodes.at}
	if err := errors.Join(r.readConfig(), r.metrics.read(r.readRow, func() { r.rows = nil }),
		r.episodes.read(r.readEpisode, func() {
			r.first, r.last, r.count, r.kept = nil, nil, 0,
				keptSteps{}
		})); err != nil {
		return r.version, fmt.Errorf("reading the run %s: %w", r.dir, err)
	}
	if before != [2]int64{r.metrics.at, r.episodes.at} || r.version == 0 {
		r.version++
		r.readEvals()
		r.findTokenizer()
	}
	return r.version, nil
}

// secret matches lines of config.yaml whose values must not be shown on a page.
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
		values = nil // the page shows the text only
	}
	r.configText, r.config = hidden, values
	r.version++
	return nil
}

// option is the value of an option in config.yaml as text, "" if it is not set.
func (r *Run) option(name string) string {
	if v, ok := r.config[name]; ok && v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

func (r *Run) readRow(line []byte) {
	m, err := health.Parse(line)
	if err != nil {
		r.damaged++
		return
	}
	r.rows = append(r.rows, m)
}

// findTokenizer looks for the policy's tokenizer in the last checkpoint, and then in the model that the run started
// from. Without a tokenizer the page shows text and no tokens.
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

// evaluation is the output of `eval --json` in a file: scores by data source.
type evaluation struct {
	File    string           `json:"-"`
	Model   string           `json:"model"`
	Engine  string           `json:"engine"`
	Mode    string           `json:"search_mode"`
	Sources []map[string]any `json:"sources"`
}

// readEvals reads eval*.json of the run directory; files in another format are ignored.
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
