package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/eval"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// evalFolder keeps an evaluation: config.yaml; settings.json, what its numbers depend on; episodes.jsonl (of a baseline: episodes-METHOD.jsonl)
// in the order of the questions, and while it runs the same name with .partial, an episode as soon as it ends; at the end eval.json,
// results.jsonl (a line a question and method) and table.md.
type evalFolder struct {
	dir  string
	part *os.File
	done int // episodes kept of the method that runs
	want int
}

// free are flags that change no episode, or whose contents are compared.
var free = []string{"sources", "limit", "per-source", "method", "out", "episodes", "output", "bootstrap", "confidence", "compare",
	"threads", "concurrency", "device", "sim-device"}

// checkFolder refuses an --out that cannot be, before anything is loaded.
func (c *evalCmd) checkFolder() error {
	f := evalFolder{dir: c.Out}
	if _, _, run := rundir.Last(c.Out); run || exists(f.path("metrics.jsonl")) {
		return f.unopened(errors.New("the folder holds a training run: choose another --out, as in " + filepath.Join(c.Out, "eval")))
	}
	return nil
}

func (f *evalFolder) unopened(err error) error {
	return fmt.Errorf("opening the evaluation %s: %w", f.dir, err)
}

// openFolder makes --out, or goes on with what is there if it came from the same contents and settings as now.
func (c *evalCmd) openFolder(w *world, now fingerprint.Parts) (*evalFolder, error) {
	f := &evalFolder{dir: c.Out}
	text, err := os.ReadFile(f.path("settings.json"))
	switch was := (fingerprint.Parts{}); {
	case err == nil:
		if err := json.Unmarshal(text, &was); err != nil {
			return nil, f.unopened(errors.New("settings.json is damaged: choose another --out"))
		}
		if _, earlier := was["checkpoint"]; earlier {
			return nil, f.unopened(errors.New("an earlier version made it, which did not keep what the weights were: choose another --out"))
		}
		if diff := differences(was, now); len(diff) > 0 {
			return nil, f.unopened(fmt.Errorf("it was made with other settings (%s): choose another --out", strings.Join(diff, "; ")))
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, f.unopened(err)
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return nil, f.unopened(err)
	}
	if text, err = json.MarshalIndent(now, "", "  "); err == nil {
		err = disk.WriteFile(f.path("settings.json"), append(text, '\n'))
	}
	if err == nil {
		if text, err = w.resolved(); err == nil {
			err = disk.WriteFile(f.path("config.yaml"), text)
		}
	}
	if err != nil {
		return nil, f.unopened(err)
	}
	return f, nil
}

func (f *evalFolder) path(name string) string { return filepath.Join(f.dir, name) }

// fingerprint is what the episodes come from: settings, the model and its adapter, the questions, what is searched.
func (c *evalCmd) fingerprint(w *world, a *agent, questions []data.Question) (fingerprint.Parts, error) {
	out := w.settings(free...)
	out["data"] = fingerprint.Mark + (&data.Set{Questions: questions}).Digest()
	if err := modelContents(out, c.Model, c.Adapter, c.ChatTemplate); err != nil {
		return nil, err
	}
	searched, err := roles.SearchParts(&c.Search, a.engines)
	out.Merge(searched)
	return out, err
}

// differences lists what was otherwise.
func differences(was, now fingerprint.Parts) (out []string) {
	for _, d := range fingerprint.Compare(was, now) {
		if d.Part == "data" {
			out = append(out, "the questions were others")
		} else {
			out = append(out, strings.TrimPrefix(d.String(), "--"))
		}
	}
	return out
}

// episodes is the file of a method.
func (f *evalFolder) episodes(m eval.Method) string {
	if m == eval.Agent {
		return f.path("episodes.jsonl")
	}
	return f.path("episodes-" + string(m) + ".jsonl")
}

// begin gives the episodes of a method that are there, nil where there is none, and opens the file for the others.
func (f *evalFolder) begin(m eval.Method, questions []data.Question) ([]*episode.Episode, error) {
	done := make([]*episode.Episode, len(questions))
	f.done, f.want = 0, len(questions)
	for _, name := range []string{f.episodes(m), f.episodes(m) + ".partial"} {
		err := wholeLines(name, func(line []byte) error {
			e := new(episode.Episode)
			if err := json.Unmarshal(line, e); err != nil {
				return err
			}
			if e.Group < 0 || e.Group >= len(done) || questions[e.Group].ID != e.QuestionID {
				return fmt.Errorf("an episode of question %s does not belong here", e.QuestionID)
			}
			if done[e.Group] == nil {
				f.done++
			}
			done[e.Group] = e
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("going on with %s: %w: remove the file to begin again", name, err)
		}
	}
	if f.done == f.want {
		return done, nil
	}
	var err error
	if f.part, err = os.OpenFile(f.episodes(m)+".partial", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		return nil, fmt.Errorf("opening the evaluation %s: %w", f.dir, err)
	}
	return done, nil
}

// wholeLines reads the lines of a file that may not be there, and cuts off a last one that was not finished.
func wholeLines(name string, each func(line []byte) error) error {
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 1<<20)
	for n, whole := 1, int64(0); ; n++ {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			if len(line) > 0 {
				return os.Truncate(name, whole)
			}
			return nil
		}
		if err == nil {
			err = each(line)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		whole += int64(len(line))
	}
}

// append keeps an episode that has ended. One whose search failed is not kept: it is tried again when the evaluation goes on.
func (f *evalFolder) append(e *episode.Episode) error {
	if e.Status == episode.SearchFailed {
		return nil
	}
	line, err := e.Line()
	if err == nil {
		if _, err = f.part.Write(line); err == nil {
			f.done++
		}
	}
	if err != nil {
		return fmt.Errorf("keeping the episodes in %s: %w", f.dir, err)
	}
	return nil
}

// end puts the episodes of a method in order, once all of them are there.
func (f *evalFolder) end(m eval.Method, all []*episode.Episode) error {
	var err error
	if f.part != nil {
		err, f.part = f.part.Close(), nil
	}
	if err == nil && f.done == f.want {
		var text []byte
		if text, err = lines(all); err == nil {
			err = disk.WriteFile(f.episodes(m), text)
		}
		if err == nil {
			err = os.Remove(f.episodes(m) + ".partial")
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("keeping the episodes in %s: %w", f.dir, err)
	}
	return nil
}

// finish writes the result.
func (f *evalFolder) finish(out *evaluation, boot eval.Bootstrap, results [][]eval.Result) error {
	var object, rows, table bytes.Buffer
	err := encode(&object, out)
	for _, rs := range results {
		for _, r := range rs {
			err = errors.Join(err, encode(&rows, r))
		}
	}
	out.markdown(&table, boot)
	for name, text := range map[string]*bytes.Buffer{"eval.json": &object, "results.jsonl": &rows, "table.md": &table} {
		err = errors.Join(err, disk.WriteFile(f.path(name), text.Bytes()))
	}
	if err != nil {
		return fmt.Errorf("writing the evaluation: %w", err)
	}
	return nil
}

func encode(b *bytes.Buffer, v any) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// interrupted says how to go on.
func (f *evalFolder) interrupted(w *world) error {
	f.part.Close()
	w.log.line("interrupted: %d of %d episodes are done and kept. To go on:", f.done, f.want)
	w.log.line("  zerosearch eval --config %s", shellWord(f.path("config.yaml")))
	return errInterrupted
}
