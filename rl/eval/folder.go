package eval

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// Folder is the output folder of an evaluation. It holds these files:
//
//	config.yaml                 the configuration
//	settings.json               the fingerprint of everything that the results depend on
//	episodes.jsonl              the agent's episodes in the order of the questions (of a baseline: episodes-METHOD.jsonl)
//	episodes.jsonl.partial      the episodes that have ended so far, while the evaluation runs
//	eval.json                   the result, as of eval --json; written at the end
//	results.jsonl               one line for each question and method; written at the end
//	table.md                    tables; written at the end
type Folder struct {
	Dir string
	// Done is the number of finished episodes of the present method, Want the number of its questions.
	Done, Want int

	part *os.File
}

// CheckFolder is an error if the folder holds a training run. It is meant to be called before a model is loaded.
func CheckFolder(dir string) error {
	f := Folder{Dir: dir}
	if _, _, run := rundir.Last(dir); run || exists(f.path("metrics.jsonl")) {
		return f.openError(errors.New("the folder holds a training run: choose another --out, as in " +
			filepath.Join(dir, "eval")))
	}
	return nil
}

func (f *Folder) openError(err error) error {
	return fmt.Errorf("opening the evaluation %s: %w", f.Dir, err)
}

// OpenFolder creates dir, or continues an evaluation that is in it. It is an error if that evaluation has another
// fingerprint than now. config is the text of config.yaml.
func OpenFolder(dir string, now fingerprint.Parts, config []byte) (*Folder, error) {
	f := &Folder{Dir: dir}
	text, err := os.ReadFile(f.path("settings.json"))
	switch was := (fingerprint.Parts{}); {
	case err == nil:
		if err := json.Unmarshal(text, &was); err != nil {
			return nil, f.openError(errors.New("settings.json is damaged: choose another --out"))
		}
		if _, earlier := was["checkpoint"]; earlier {
			return nil,
				f.openError(errors.New("an earlier version made it, which did not record the fingerprint of the " +
					"weights: choose another --out"))
		}
		if diff := differences(was, now); len(diff) > 0 {
			return nil,
				f.openError(fmt.Errorf("it was made with other settings (%s): choose another --out",
					strings.Join(diff, "; ")))
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, f.openError(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, f.openError(err)
	}
	if text, err = json.MarshalIndent(now, "", "  "); err == nil {
		err = disk.WriteFile(f.path("settings.json"), append(text, '\n'))
	}
	if err == nil {
		err = disk.WriteFile(f.path("config.yaml"), config)
	}
	if err != nil {
		return nil, f.openError(err)
	}
	return f, nil
}

func (f *Folder) path(name string) string { return filepath.Join(f.Dir, name) }

// differences lists the parts in which two fingerprints differ.
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

// episodes is the path of a method's file of episodes.
func (f *Folder) episodes(m Method) string {
	if m == Agent {
		return f.path("episodes.jsonl")
	}
	return f.path("episodes-" + string(m) + ".jsonl")
}

// Begin returns the finished episodes of a method, [questions], nil for a question without one, and opens the file for
// the remaining episodes.
func (f *Folder) Begin(m Method, questions []data.Question) ([]*episode.Episode, error) {
	done := make([]*episode.Episode, len(questions))
	f.Done, f.Want = 0, len(questions)
	for _, name := range []string{f.episodes(m), f.episodes(m) + ".partial"} {
		err := disk.CompleteLines(name, func(line []byte) error {
			e := new(episode.Episode)
			if err := json.Unmarshal(line, e); err != nil {
				return err
			}
			if e.Group < 0 || e.Group >= len(done) || questions[e.Group].ID != e.QuestionID {
				return fmt.Errorf("an episode of question %s does not belong here", e.QuestionID)
			}
			if done[e.Group] == nil {
				f.Done++
			}
			done[e.Group] = e
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("going on with %s: %w: remove the file to begin again", name, err)
		}
	}
	if f.Done == f.Want {
		return done, nil
	}
	var err error
	if f.part, err = os.OpenFile(f.episodes(m)+".partial", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		return nil, fmt.Errorf("opening the evaluation %s: %w", f.Dir, err)
	}
	return done, nil
}

// Append writes a finished episode to the file. An episode whose search failed is not written, so it is run again when
// the evaluation is continued.
func (f *Folder) Append(e *episode.Episode) error {
	if e.Status == episode.SearchFailed {
		return nil
	}
	line, err := e.Line()
	if err == nil {
		if _, err = f.part.Write(line); err == nil {
			f.Done++
		}
	}
	if err != nil {
		return fmt.Errorf("keeping the episodes in %s: %w", f.Dir, err)
	}
	return nil
}

// End writes the episodes of a method in the order of the questions, if all of them are finished.
func (f *Folder) End(m Method, all []*episode.Episode) error {
	var err error
	if f.part != nil {
		err, f.part = f.part.Close(), nil
	}
	if err == nil && f.Done == f.Want {
		var text []byte
		if text, err = Lines(all); err == nil {
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
		return fmt.Errorf("keeping the episodes in %s: %w", f.Dir, err)
	}
	return nil
}

// Finish writes the results: eval.json, results.jsonl and table.md.
func (f *Folder) Finish(out *Evaluation, boot Bootstrap, results [][]Result) error {
	var object, rows, table bytes.Buffer
	err := encode(&object, out)
	for _, rs := range results {
		for _, r := range rs {
			err = errors.Join(err, encode(&rows, r))
		}
	}
	out.Markdown(&table, boot)
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

// Close closes the file of episodes. A later evaluation continues with the episodes in it.
func (f *Folder) Close() {
	if f.part != nil {
		f.part.Close()
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
