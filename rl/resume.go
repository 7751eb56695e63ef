package rl

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/track"
)

// resume goes on from the checkpoint that --resume names: it restores weights, moments, step and state.
func (t *Trainer) resume() error {
	c := &t.Config.Schedule
	dir := c.Resume
	if dir == "auto" {
		dir, _, _ = track.Last(c.Out) // "": nothing was saved yet, begin
	}
	if dir == "" {
		t.state.Run = t.fingerprint()
		return nil
	}
	if err := clearHalves(c.Out); err != nil {
		return fmt.Errorf("resuming %s: %w", dir, err)
	}
	st, err := ReadState(dir)
	if err != nil {
		return err
	}
	if st.Step >= c.TotalSteps {
		return fmt.Errorf("resuming %s: all %d steps are done: raise --total-steps to go on", dir, c.TotalSteps)
	}
	now := t.fingerprint()
	if st.Run == nil { // of another program: the seed is all that is known
		st.Run = map[string]string{"seed": fmt.Sprint(st.Seed)}
	}
	if changed := changes(st.Run, now); len(changed) > 0 {
		if !c.Force {
			return fmt.Errorf("resuming %s: not as it was: %s: take it back, or add --force to go on with it", dir, strings.Join(changed, "; "))
		}
		t.Notes = append(t.Notes, fmt.Sprintf("resuming with --force: %s", strings.Join(changed, "; ")))
	}
	if err := t.clearLater(dir, st.Step); err != nil {
		return err
	}
	st.Run = now
	t.state, t.From = st, st.Step
	return t.restore(dir)
}

// clearHalves removes what a killed process left of a checkpoint that it was writing or removing.
func clearHalves(out string) error {
	halves, err := filepath.Glob(filepath.Join(out, "checkpoints", ".*"))
	for _, h := range halves {
		if err == nil {
			err = os.RemoveAll(h)
		}
	}
	return err
}

// clearLater refuses to go on from the middle of a run whose later checkpoints would outlive what replaces them; --force removes them.
func (t *Trainer) clearLater(dir string, step int) error {
	c := &t.Config.Schedule
	own, err := filepath.Abs(track.Checkpoint(c.Out, step))
	if err != nil {
		return err
	}
	if at, err := filepath.Abs(dir); err != nil || at != own {
		return err
	}
	for _, later := range track.Steps(c.Out) {
		if later <= step {
			continue
		}
		if !c.Force {
			return fmt.Errorf("resuming %s: %s has later checkpoints, up to step %d: go on from the last with --resume auto, choose another --out, or remove them with --force",
				dir, c.Out, slices.Max(track.Steps(c.Out)))
		}
		if err := removeDir(track.Checkpoint(c.Out, later)); err != nil {
			return fmt.Errorf("removing a later checkpoint: %w", err)
		}
	}
	return nil
}

// fingerprint is every setting that a result depends on, by flag name, as text. Files and folders are told apart by content, wherever
// they lie. Flags that change no result of a step, or that a run may outgrow (--total-steps), carry the tag resume:"free".
func (t *Trainer) fingerprint() map[string]string {
	out := map[string]string{}
	c := reflect.ValueOf(&t.Config).Elem()
	for i := range c.NumField() {
		group := c.Field(i)
		for k := range group.NumField() {
			f := group.Type().Field(k)
			name := f.Tag.Get("name")
			if name == "" || f.Tag.Get("resume") == "free" || strings.Contains(name, "api-key") {
				continue
			}
			v := group.Field(k)
			if v.Kind() == reflect.Pointer {
				if v.IsNil() {
					continue
				}
				v = v.Elem()
			}
			if v.IsZero() {
				continue
			}
			out[name] = fmt.Sprint(v.Interface())
			if hold := f.Tag.Get("placeholder"); strings.Contains(hold, "DIR") || strings.Contains(hold, "FILE") || name == "simulation-llm" {
				out[name] = content(v.String())
			}
			if name == "reward" {
				out[name] = movable(v.String())
			}
		}
	}
	delete(out, "corpus") // counts only where it is searched
	if t.corpus != "" {
		out["corpus"] = contentMark + t.corpus
	}
	delete(out, "data")
	if t.Data != nil {
		out["data"] = t.Data.Train.Digest()
	}
	return out
}

// movable is the name of a reward without the folders of the files that it names: a program may lie elsewhere.
func movable(name string) string {
	before, command, is := strings.Cut(name, "exec:")
	if !is {
		return name
	}
	words := strings.Fields(command)
	for i, w := range words {
		if st, err := os.Stat(w); err == nil && st.Mode().IsRegular() {
			words[i] = filepath.Base(w)
		}
	}
	return before + "exec:" + strings.Join(words, " ")
}

// changes lists the settings that differ, in order.
func changes(was, now map[string]string) (out []string) {
	keys := maps.Clone(was)
	maps.Copy(keys, now)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		a, before := was[k]
		b, after := now[k]
		switch {
		case a == b || k == "data" && !after:
		case strings.HasPrefix(a, contentMark) || strings.HasPrefix(b, contentMark) || k == "data":
			out = append(out, fmt.Sprintf("--%s holds something else", k))
		case !before:
			out = append(out, fmt.Sprintf("--%s is %s, was not given", k, b))
		case !after:
			out = append(out, fmt.Sprintf("--%s was %s, is not given", k, a))
		default:
			out = append(out, fmt.Sprintf("--%s was %s, is %s", k, a, b))
		}
	}
	return out
}

// contentMark begins the name of a file's or folder's content.
const contentMark = "content:"

// content names what the file or model folder at path holds, by the sizes and both ends of its files; other text stays as it is.
func content(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return path
	}
	h := sha256.New()
	if !st.IsDir() {
		ends(h, path)
		return contentMark + hex.EncodeToString(h.Sum(nil)[:8])
	}
	if dir, err := track.ModelDir(path); err == nil {
		path = dir
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return path
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "config.json", name == "adapter_config.json", name == "tokenizer.json", strings.HasSuffix(name, ".safetensors"):
			fmt.Fprintln(h, name)
			ends(h, filepath.Join(path, name))
		}
	}
	return contentMark + hex.EncodeToString(h.Sum(nil)[:8])
}

// ends hashes a file's size, its first and its last MiB.
func ends(h io.Writer, path string) {
	const most = 1 << 20
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return
	}
	fmt.Fprintln(h, st.Size())
	io.CopyN(h, f, most)
	if _, err := f.Seek(max(most, st.Size()-most), io.SeekStart); err == nil {
		io.Copy(h, f)
	}
}
