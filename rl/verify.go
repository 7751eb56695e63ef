package rl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/verify"
)

// Verify repeats a step of the run in the folder run, whose configuration is c, with all steps between the checkpoint
// before it and it, and compares episodes, log-probs, rewards, metrics and, where the step was saved, weights. step 0
// is the last one that was saved and whose predecessor was; if there is none, the last one whose predecessor was.
// Nothing is written into run.
func Verify(ctx context.Context, dev kernels.Device, c config.Config, run string, step int) (_ *verify.Verification,
	err error) {
	defer func() {
		if err != nil {
			err = config.Error(fmt.Errorf("verifying %s: %w", run, err))
		}
	}()
	v := &verifier{Comparer: verify.Comparer{Verification: verify.Verification{Run: run, Searches: "repeated",
		Checkpoints: []int{}}}}
	v.NearWeight = v.nearTo
	v.Path, v.SimPath = roles.KernelPaths(&c.Search, dev)
	if err := v.choose(step); err != nil {
		return nil, err
	}
	after, err := v.readAfter(&c)
	if err != nil {
		return nil, err
	}
	v.Exact = verify.SameBits(v.Path, v.RecordedPath, c.Policy.DType) && (v.SimPath == "" && v.RecordedSimPath == "" ||
		verify.SameBits(cmp.Or(v.SimPath, v.Path), cmp.Or(v.RecordedSimPath, v.RecordedPath),
			cmp.Or(c.Search.SimDType, c.Policy.DType))) && after.Ranks < 2
	if err := v.readEpisodes(); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "zerosearch-verify-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	c.Schedule.Out, c.Schedule.Resume, c.Data.EvalEvery = tmp, "", 0
	v.t = &Trainer{Config: c, zeros: true} // the run had these values, zeros too
	if !c.Search.Repeatable() {
		v.Searches = "recorded"
		v.t.searches = v.recordedSearches(&c)
	}
	checked, err := v.t.check()
	if err != nil {
		return nil, err
	}
	if err := v.t.open(ctx, dev, checked); err != nil {
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

// verifier is a verification under way.
type verifier struct {
	verify.Comparer
	t    *Trainer
	took map[int][]verify.Line // episodes of the steps, in the order of the file
}

// choose finds the step and the checkpoint before it.
func (v *verifier) choose(step int) error {
	saved := rundir.Steps(v.Run)
	before := func(s int) (from int) { // the last checkpoint before s
		for _, c := range saved {
			if c < s {
				from = c
			}
		}
		return from
	}
	done, err := verify.RecordedSteps(v.Run)
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

// readAfter reads the first checkpoint from the step on: it knows how the step was computed. Without one, that before
// it must do.
func (v *verifier) readAfter(c *config.Config) (rundir.State, error) {
	at := v.From
	for _, s := range slices.Backward(rundir.Steps(v.Run)) {
		if s >= v.Step {
			at = s
		}
	}
	if at == 0 {
		return rundir.State{}, nil
	}
	st, err := rundir.ReadState(rundir.Checkpoint(v.Run, at))
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
	v.took, err = verify.EpisodesOf(v.Run, v.From+1, v.Step)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it has no episodes.jsonl: a run of train --replay or sft has no rollouts to repeat")
	}
	return err
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
			return fmt.Errorf("the inputs of the run have changed: %s", fingerprint.Sentence(changed))
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
	dir := rundir.Checkpoint(v.Run, v.From)
	if v.t.state, err = rundir.ReadState(dir); err != nil {
		return err
	}
	return v.t.restore(ctx, dir)
}

// searchless are parts without those of engines that are not opened.
func searchless(p fingerprint.Parts) fingerprint.Parts {
	out := fingerprint.Parts{}
	for k, v := range p {
		if k != "remote-model" && k != "corpus" && k != "search-episodes" && k != "simulation-llm" &&
			!strings.HasPrefix(k, "simulation-llm.") && !strings.HasPrefix(k, "embedding-model.") {
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
	return v.again(ctx, v.From)
}

// repeat does a step again and compares it.
func (v *verifier) repeat(ctx context.Context, step int) error {
	if err := v.t.Step(ctx, step); err != nil {
		return fmt.Errorf("step %d: %w", step, err)
	}
	if v.Difference != nil { // found while scoring
		return nil
	}
	again, err := verify.EpisodesOf(v.t.Out.Dir, step, step)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	v.CompareEpisodes(v.took[step], again[step])
	if v.Difference == nil {
		err = v.CompareMetrics(step, v.t.Out.Dir)
	}
	if v.Difference == nil && err == nil && slices.Contains(rundir.Steps(v.Run), step) {
		err = v.again(ctx, step)
	}
	return err
}

// again saves a step's checkpoint once more, aside, and compares it with the run's.
func (v *verifier) again(ctx context.Context, step int) error {
	was, now := rundir.Checkpoint(v.Run, step), v.t.Out.Checkpoint(step)
	if dtype, ok := verify.SavedAs(was); ok {
		v.t.SaveDType = dtype
	}
	if err := v.t.Engine.Do(ctx, func() error { return v.t.saveAs(step) }); err != nil {
		return err
	}
	defer os.RemoveAll(now)
	return v.CompareCheckpoint(step, was, now, step > v.From)
}
