package rl

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// Verification is what came of repeating steps of a run and comparing them with what the run recorded.
type Verification struct {
	Run  string `json:"run"`
	From int    `json:"from"` // step of the checkpoint that the repetition began with; 0: the start
	Step int    `json:"step"` // the last step that was repeated
	// Path is the kernel path of the repetition, RecordedPath that of the run, "" where it is not known.
	Path         string `json:"kernel_path"`
	RecordedPath string `json:"recorded_kernel_path"`
	// SimPath and RecordedSimPath are those of the simulator, where it has, or had, a device of its own.
	SimPath         string `json:"sim_kernel_path,omitempty"`
	RecordedSimPath string `json:"recorded_sim_kernel_path,omitempty"`
	// Exact: every bit must be the same. Otherwise the paths are others: episodes are not sampled again but scored,
	// within tolerances.
	Exact bool `json:"exact"`
	// Searches are repeated, or recorded: answered with the documents that the run recorded, where an engine may answer
	// otherwise today.
	Searches string `json:"searches"`
	// What was compared.
	Episodes int `json:"episodes"`
	Turns    int `json:"turns"`
	Logprobs int `json:"logprobs"`
	Metrics  int `json:"metrics"`
	Tensors  int `json:"tensors"` // of checkpoints, optimizer included
	// Checkpoints are the steps whose weights were compared.
	Checkpoints []int `json:"checkpoints"`
	// Difference is the first one, nil if there is none.
	Difference *Mismatch `json:"difference"`
}

// Verify repeats a step of the run in the folder run, whose configuration is c, with all steps between the checkpoint
// before it and it, and compares episodes, log-probs, rewards, metrics and, where the step was saved, weights. step 0
// is the last one that was saved and whose predecessor was; if there is none, the last one whose predecessor was.
// Nothing is written into run.
func Verify(ctx context.Context, dev kernels.Device, c config.Config, run string, step int) (_ *Verification, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("verifying %s: %w", run, err)
		}
	}()
	v := &verifier{dir: run, Verification: Verification{Run: run, Searches: "repeated", Checkpoints: []int{}}}
	v.Path, v.SimPath = roles.KernelPaths(&c.Search, dev)
	if err := v.choose(step); err != nil {
		return nil, err
	}
	after, err := v.readAfter(&c)
	if err != nil {
		return nil, err
	}
	v.Exact = sameBits(v.Path, v.RecordedPath, c.Policy.DType) && (v.SimPath == "" && v.RecordedSimPath == "" ||
		sameBits(cmp.Or(v.SimPath, v.Path), cmp.Or(v.RecordedSimPath, v.RecordedPath), cmp.Or(c.Search.SimDType, c.Policy.DType)))
	if err := v.readEpisodes(); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "zerosearch-verify-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	c.Schedule.Out, c.Schedule.Resume, c.Data.EvalEvery = tmp, "", 0
	v.t = &Trainer{Config: c}
	if !c.Search.Repeatable() {
		v.Searches = "recorded"
		v.t.searches = v.recordedSearches(&c)
	}
	if err := v.t.open(ctx, dev); err != nil {
		return nil, err
	}
	defer v.t.Close()
	if err := v.begin(ctx, after); err != nil {
		return nil, err
	}
	if v.t.Out, err = rundir.Create(tmp, 0, false); err != nil {
		return nil, err
	}
	defer v.t.Out.Close()
	if err := v.compareStart(ctx); err != nil {
		return nil, err
	}
	if !v.Exact {
		v.t.recorded = v.score
	}
	for s := v.From + 1; s <= v.Step && v.Difference == nil; s++ {
		if err := v.repeat(ctx, s); err != nil {
			return nil, err
		}
	}
	return &v.Verification, nil
}

// sameBits reports whether two kernel paths compute the same bits: see docs/numbers.md.
func sameBits(a, b, dtype string) bool {
	if a == b || b == "" {
		return true
	}
	differs := func(path string) bool { return path == "amx" || path == "ref" }
	return dtype == kernels.BF16.String() && !differs(a) && !differs(b)
}

// verifier is a verification under way.
type verifier struct {
	Verification
	dir  string
	t    *Trainer
	took map[int][]recordedLine // episodes of the steps, in the order of the file
}

// recordedLine is a line of episodes.jsonl.
type recordedLine struct {
	text []byte
	*episode.Episode
}

// choose finds the step and the checkpoint before it.
func (v *verifier) choose(step int) error {
	saved := rundir.Steps(v.dir)
	before := func(s int) (from int) { // the last checkpoint before s
		for _, c := range saved {
			if c < s {
				from = c
			}
		}
		return from
	}
	done, err := recordedSteps(v.dir)
	switch {
	case err != nil:
		return err
	case len(done) == 0:
		return errors.New("it has no steps of training: give the --out of a train run")
	case step != 0 && !slices.Contains(done, step):
		return fmt.Errorf("step %d is not in metrics.jsonl, which ends with step %d", step, done[len(done)-1])
	}
	for _, s := range done {
		if step == 0 && before(s) == s-1 && (slices.Contains(saved, s) || !slices.Contains(saved, v.Step)) {
			v.Step = s
		}
	}
	v.Step = cmp.Or(step, v.Step)
	v.From = before(v.Step)
	return nil
}

// recordedSteps are those in metrics.jsonl.
func recordedSteps(dir string) (steps []int, err error) {
	err = eachLine(filepath.Join(dir, "metrics.jsonl"), func(n int, line []byte) error {
		var at struct{ Step int }
		if err := json.Unmarshal(line, &at); err != nil {
			return fmt.Errorf("line %d is damaged", n)
		}
		steps = append(steps, at.Step)
		return nil
	})
	slices.Sort(steps)
	return steps, err
}

// metricsOf reads the line of a step as it is written.
func metricsOf(dir string, step int) (map[string]string, error) {
	out := map[string]string{}
	return out, eachLine(filepath.Join(dir, "metrics.jsonl"), func(n int, line []byte) error {
		values := map[string]json.RawMessage{}
		if err := json.Unmarshal(line, &values); err != nil {
			return fmt.Errorf("line %d is damaged: %w", n, err)
		}
		if string(values["step"]) == strconv.Itoa(step) {
			if len(out) > 0 {
				return fmt.Errorf("line %d is the second one of step %d", n, step)
			}
			for k, v := range values {
				out[k] = string(v)
			}
		}
		return nil
	})
}

// eachLine reads the whole lines of a file.
func eachLine(path string, each func(n int, line []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return nil // a last line without an end was never finished
		}
		if err == nil {
			err = each(n, line)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
}

// readAfter reads the first checkpoint from the step on: it knows how the step was computed. Without one, that before
// it must do.
func (v *verifier) readAfter(c *config.Config) (rundir.State, error) {
	at := v.From
	for _, s := range slices.Backward(rundir.Steps(v.dir)) {
		if s >= v.Step {
			at = s
		}
	}
	if at == 0 {
		return rundir.State{}, nil
	}
	st, err := rundir.ReadState(rundir.Checkpoint(v.dir, at))
	if err != nil {
		return st, err
	}
	if st.Total > 0 {
		c.Schedule.TotalSteps = st.Total
	}
	v.RecordedPath, v.RecordedSimPath = st.Path, st.SimPath
	return st, nil
}

// readEpisodes reads those of the steps to be repeated.
func (v *verifier) readEpisodes() (err error) {
	v.took, err = episodesOf(v.dir, v.From+1, v.Step)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it has no episodes.jsonl: a run of train --replay or sft has no rollouts to repeat")
	}
	return err
}

// episodesOf reads the episodes of some steps.
func episodesOf(dir string, first, last int) (map[int][]recordedLine, error) {
	out := map[int][]recordedLine{}
	return out, eachLine(filepath.Join(dir, "episodes.jsonl"), func(n int, line []byte) error {
		var step int
		if k, _ := fmt.Sscanf(string(line[:min(len(line), 40)]), `{"step":%d,`, &step); k != 1 {
			return fmt.Errorf("line %d is damaged: it does not begin with a step", n)
		}
		if step < first || step > last {
			return nil
		}
		e := new(episode.Episode)
		if err := json.Unmarshal(line, e); err != nil {
			return fmt.Errorf("line %d is damaged: %w", n, err)
		}
		out[step] = append(out[step], recordedLine{bytes.TrimSuffix(line, []byte("\n")), e})
		return nil
	})
}

// recordedSearches answer as the run's were answered.
func (v *verifier) recordedSearches(c *config.Config) search.Searcher {
	r := &search.Recorded{Curriculum: c.Search.NoiseCurriculum(), NoiseRate: c.Search.NoiseRate}
	for _, lines := range v.took {
		for _, e := range lines {
			for k, t := range e.Turns {
				failure := ""
				if k == len(e.Turns)-1 && e.Status == episode.SearchFailed {
					failure = e.Err
				}
				d := search.Documents{Docs: t.Documents, Engine: t.Engine, Quality: search.Quality(t.Quality)}
				r.Add(episode.SearchStream(seedOf(c, e.Episode), k), t.Content, d, t.Observation, failure)
			}
		}
	}
	return r
}

// seedOf is the seed of an episode of training.
func seedOf(c *config.Config, e *episode.Episode) uint64 {
	return engine.Stream(c.Schedule.Seed, config.PurposeTrain, uint64(e.Step), uint64(e.Group), uint64(e.Attempt),
		uint64(e.Rollout))
}

// begin compares what the run came from with what is here, and goes to where the repetition begins.
func (v *verifier) begin(ctx context.Context, after rundir.State) error {
	now, err := v.t.fingerprint()
	if err != nil {
		return err
	}
	if was := after.Run; was != nil {
		if v.t.searches != nil {
			was = searchless(was)
		}
		if changed, _ := rundir.Changes(was, now); len(changed) > 0 {
			return fmt.Errorf("what the run came from is not as it was: %s", fingerprint.Sentence(changed))
		}
	}
	if v.t.searches != nil {
		v.t.Meter = nil // what was searched cost the run, not us
	}
	v.t.Data.Eval = nil
	v.t.state.Run = now
	if v.From == 0 {
		return nil
	}
	dir := rundir.Checkpoint(v.dir, v.From)
	if v.t.state, err = rundir.ReadState(dir); err != nil {
		return err
	}
	return v.t.restore(ctx, dir)
}

// searchless are parts without those of engines that are not opened.
func searchless(p fingerprint.Parts) fingerprint.Parts {
	out := fingerprint.Parts{}
	for k, v := range p {
		if k != "remote-model" && k != "corpus" && k != "search-episodes" && k != "simulation-llm" && !strings.HasPrefix(k,
			"simulation-llm.") {
			out[k] = v
		}
	}
	return out
}

// compareStart compares the checkpoint that the repetition begins with with what was read from it: its weights are
// those of the optimizer's file, rounded.
func (v *verifier) compareStart(ctx context.Context) error {
	if v.From == 0 {
		return nil
	}
	defer func(n int) { v.Tensors = n }(v.Tensors) // those are counted that were computed again
	return v.compareCheckpoint(ctx, v.From)
}

// savedAs is the type of the weights in a checkpoint: --save-dtype may change from one resume to the next.
func savedAs(dir string) (kernels.DType, bool) {
	for _, name := range []string{"model.safetensors", "adapter_model.safetensors"} {
		f, err := safetensors.Open(filepath.Join(dir, name))
		if err != nil {
			continue // of the other kind, or compareTensors says what is wrong
		}
		defer f.Close()
		for _, n := range f.Names() {
			x, _ := f.Tensor(n)
			dtype, err := kernels.ParseDType(strings.ToLower(fmt.Sprint(x.DType)))
			return dtype, err == nil
		}
	}
	return 0, false
}

// compareOrder finds the first of a step's episodes, each of which is there, that stands in another place.
func (v *verifier) compareOrder(was, now []recordedLine) {
	for i, e := range was {
		if n := now[i]; v.Exact && (e.Attempt != n.Attempt || e.Group != n.Group || e.Rollout != n.Rollout) {
			v.Difference = mismatchOf(n.Episode, "line", "in another place", fmt.Sprintf("line %d of the step", i+1))
			return
		}
	}
}

// repeat does a step again and compares it.
func (v *verifier) repeat(ctx context.Context, step int) error {
	if err := v.t.Step(ctx, step); err != nil {
		return fmt.Errorf("step %d: %w", step, err)
	}
	if v.Difference != nil { // found while scoring
		return nil
	}
	again, err := episodesOf(v.t.Out.Dir, step, step)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	v.compareEpisodes(v.took[step], again[step])
	if v.Difference == nil {
		err = v.compareMetrics(step)
	}
	if v.Difference == nil && err == nil && slices.Contains(rundir.Steps(v.dir), step) {
		err = v.compareCheckpoint(ctx, step)
	}
	return err
}
