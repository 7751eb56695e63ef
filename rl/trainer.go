package rl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/internal/usage"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/algo"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/update"
)

// Trainer is a reinforcement-learning run. New builds one from a Config; the demo and tests may fill one in themselves.
type Trainer struct {
	Config    config.Config
	Engine    *engine.Engine
	Policy    *roles.LoadedModel
	Data      *rollout.Questions
	Worker    rollout.Worker
	Meter     *search.Meter // of the searches in steps; nil: nothing is counted
	Updater   update.Updater
	Reward    reward.Reward
	Schedule  train.Schedule
	SaveDType kernels.DType
	Out       *rundir.Run // nil: nothing is written
	From      int         // steps done before this process
	Notes     []string    // what the user should know about how the run began

	// OnStart is told how the policy answers the held-out questions before the first step, if there are any.
	OnStart func(m rundir.Metrics)
	OnStep  func(step int, m rundir.Metrics, groups [][]*episode.Episode)
	// OnNote is told what is worth knowing while a run is under way, such as why a GPU's passes are not recorded; it
	// may be called from another goroutine. It may be nil.
	OnNote func(text string)

	state        rundir.State
	simulating   *engine.Engine     // of the simulator's device; the Engine where it is the policy's, or nil
	cast         *roles.Cast        // who plays which role
	models       roles.Opener       // of the roles beside the policy
	critic       *roles.LoadedModel // under the value head
	criticRate   train.Schedule
	from         fingerprint.Parts // what the searches, or a replay's trajectories, came from
	closers      []func()
	skippedSteps int             // steps in a row in which every mini-batch was skipped
	stop         context.Context // ends when the run is told to stop; nil: never

	// Of options.
	scorer      reward.Scorer       // nil: the one that Algo.Reward names
	searches    search.Searcher     // nil: the engine that Search.Mode names; of a verification: recorded documents
	environment episode.Environment // nil: a search engine
	trackers    []Tracker
	onProgress  func(Progress) // may be nil
	opened      int            // models

	ranks        dist.Group // nil: one
	alarms       alarms
	toldBelow    bool           // that an update is too small for bf16
	stopped      *Stopped       // by the last step; nil: the run goes on
	saved        *savedRollout  // of the next step; nil: it is made
	rolledOut    int            // the step whose rollout the run directory holds
	beforeUpdate int            // see RolloutSaved
	zeros        bool           // zeros in the configuration are meant
	folder       *rundir.Folder // of Out

	// Of a verification: episodes that are not sampled again.
	recorded func(ctx context.Context, questions []data.Question, only []int, step, attempt int) ([][]*episode.Episode,
		error)
}

// Sampled is how many ids were drawn, the simulator's included.
func (t *Trainer) Sampled() (n int64) {
	if t.Engine == nil { // a replay
		return 0
	}
	n = t.Engine.Sampled()
	if s := t.simulating; s != nil && s != t.Engine {
		n += s.Sampled()
	}
	return n
}

// The names of models in the engines.
const (
	policyName    = "policy"
	simulatorName = "simulator"
)

// Run does all steps that are not done. When ctx ends, it stops after the update under way, or before it, with its
// rollout saved, if it has not begun. When a threshold of Schedule.StopWhen is crossed, the error is a *Stopped. last
// is the last step done; it is saved.
func (t *Trainer) Run(ctx context.Context) (last int, err error) {
	defer func() { err = config.Error(err) }()
	if err := t.complete(ctx); err != nil {
		return t.From, err
	}
	t.stop = ctx
	if err := t.openAlarms(); err != nil {
		return t.From, err
	}
	if err := t.evaluateStart(ctx); err != nil {
		return t.From, err
	}
	total := max(t.Config.Schedule.TotalSteps, t.From)
	for step := t.From + 1; step <= total; step++ {
		if err := t.Step(context.WithoutCancel(ctx), step); err != nil {
			err = t.halted(step, err)
			if errors.Is(err, rollout.ErrStopped) || errors.Is(err, errBeforeUpdate) {
				err = cmp.Or(ctx.Err(), context.Canceled)
			}
			return step - 1, err
		}
		if t.skippedSteps == train.MaxSkippedSteps {
			return step, fmt.Errorf("step %d: for %d steps no mini-batch gave a finite loss and gradient "+
				"(the run's folder skipped says why): the weights have diverged: go on from a checkpoint before step "+
				"%d with a "+
				"lower --lr (--resume DIR --force)", step, t.skippedSteps, step-t.skippedSteps+1)
		}
		stop, err := dist.Any(t.group(), ctx.Err() != nil)
		if err != nil {
			return step, err
		}
		if stop || t.stopped != nil || t.due(step) {
			if err := t.save(step); err != nil {
				return step, err
			}
		}
		switch {
		case step == total:
		case stop:
			return step, cmp.Or(ctx.Err(), context.Canceled)
		case t.stopped != nil:
			return step, t.stopped
		}
	}
	return total, nil
}

// halted is the error of a run that ends in the middle of a step. If that is because the search engine is gone while
// nothing was learned in the step yet, the step before is saved, so that no work is lost.
func (t *Trainer) halted(step int, err error) error {
	var gone *search.Unavailable
	last := step - 1
	if errors.As(err, &gone) && t.saves() && last >= 1 && t.state.Step == last {
		if failed := t.saveBefore(step); failed != nil {
			return fmt.Errorf("step %d: %w (step %d could not be saved: %v)", step, err, last, failed)
		}
		return fmt.Errorf("step %d: %w: step %d is saved: see that the engine answers, then go on with --resume auto",
			step, err, last)
	}
	return fmt.Errorf("step %d: %w", step, err)
}

// Step is one step of training: roll out, score, learn, record.
func (t *Trainer) Step(ctx context.Context, step int) error {
	began, cpu := time.Now(), usage.CPU()
	s, took := t.takeRollout(step)
	began = began.Add(-took)
	var err error
	if s == nil {
		if s, err = t.rollouts(ctx, step); err != nil {
			return err
		}
		if err := t.informationGain(ctx, s); err != nil {
			return fmt.Errorf("measuring the information gain: %w", err)
		}
		t.saveRollout(step, s, time.Since(began))
	}
	rolled := time.Now()
	if err := t.stopBeforeUpdate(step); err != nil {
		return err
	}

	trajs := t.trajectories(s.Groups)
	var st update.Stats
	if len(trajs) > 0 {
		err := t.change(ctx, func() (err error) {
			st, err = t.update(trajs, step)
			return err
		})
		if err != nil {
			return t.dumpFailedBatch(step, s, err)
		}
		noteAdvantages(s.Groups, st.Advantages)
		t.noteBelowBF16(step, st)
	}
	t.state.Step, t.state.Skipped = step, t.state.Skipped+len(st.Skips)
	if len(st.Skips) > 0 && st.Steps == 0 && !st.CriticAlone {
		t.skippedSteps++
	} else if st.Steps > 0 {
		t.skippedSteps = 0
	}
	if err := update.SaveSkips(t.runDir(), step, st.Skips); err != nil {
		return err
	}

	t.state.Drawn = s.Drawn
	if search.CurriculumKind(t.Config.Search.Curriculum) == search.Adaptive && len(s.Counted) > 0 {
		t.state.Success = search.Smooth(t.state.Success, rollout.MeanF1(s.Counted))
	}

	m := t.metrics(s, st, step)
	m["timing_s/gen"], m["timing_s/update_actor"] = rolled.Sub(began).Seconds(),
		time.Since(rolled).Seconds()-st.Value.Seconds
	if err := t.evaluate(ctx, step, m); err != nil {
		return err
	}
	if err := t.addCost(m); err != nil {
		return err
	}
	machineUse(m, usage.CPU()-cpu, time.Since(began)-took)
	m["timing_s/step"] = time.Since(began).Seconds()
	m["perf/throughput"] = m["perf/total_num_tokens"] / m["timing_s/step"]
	if err := t.record(step, m, s); err != nil {
		return err
	}
	if err := t.track(step, m); err != nil {
		return err
	}
	if t.stopped, err = t.agreeToStop(step, t.checkAlarms(step, m)); err != nil {
		return err
	}
	if t.OnStep != nil {
		t.OnStep(step, m, s.Groups)
	}
	return nil
}

// worker is the Worker as a step uses it: its searches are counted, and its curriculum knows the policy's success.
func (t *Trainer) worker() *rollout.Worker {
	r := t.Worker
	r.Runner.Searcher = t.Meter.Wrap(r.Runner.Searcher)
	if t.stop != nil && !t.Config.Search.Repeatable() {
		r.Runner.Searcher = rollout.LimitAfterStop(r.Runner.Searcher, t.Config.Search.Mode,
			cmp.Or(t.Config.Search.Timeout, rollout.MaxWaitAfterStop), t.stop)
	}
	r.Success = t.state.Success
	return &r
}

// change runs f, which changes what is trained. A replay has no engine.
func (t *Trainer) change(ctx context.Context, f func() error) error {
	if t.Engine == nil {
		return f()
	}
	return t.Engine.Change(ctx, policyName, t.Policy.Adapter, f)
}

// update learns from the trajectories of a step.
func (t *Trainer) update(trajs []update.Trajectory, step int) (update.Stats, error) {
	if v := t.Updater.Values; v != nil {
		v.LR, v.Alone = t.criticLR(step), step <= t.Config.Critic.WarmupSteps
	}
	t.Updater.OnTrajectory = func(done, total int) { t.progress(step, PhaseUpdate, done, total) }
	return t.Updater.Update(trajs, update.MiniBatches(len(trajs), t.Config.Algo.MiniBatch),
		func(int) float64 { return t.lr(step) })
}

func (t *Trainer) criticLR(step int) float64 {
	return t.Config.Critic.LR * t.criticRate.Multiplier(step)
}

func (t *Trainer) lr(step int) float64 { return t.Config.Optim.LR * t.Schedule.Multiplier(step) }

// trajectories flattens groups for the update, in order. What is learned from is an episode's score, less the penalty
// for its length.
func (t *Trainer) trajectories(groups [][]*episode.Episode) (out []update.Trajectory) {
	a := &t.Config.Algo
	for i, g := range groups {
		for _, e := range g {
			tk := e.Tokens()
			out = append(out, update.Trajectory{IDs: tk.IDs, Prompt: tk.Prompt, Mask: tk.Mask, Old: tk.Logprobs,
				Group: i, Turn: turnsOf(e),
				Reward: e.Reward + algo.Overlong(e.PolicyTokens(), t.Config.OverlongLimit(), a.OverlongBuffer,
					a.OverlongFactor)})
		}
	}
	t.addInfoGain(groups, out)
	return out
}

// turnsOf numbers the turn of every id of an episode; the prompt is counted to the first.
func turnsOf(e *episode.Episode) []int {
	out := make([]int, len(e.PromptIDs))
	for k := range e.Turns {
		for range e.Turns[k].IDs {
			out = append(out, k)
		}
	}
	return out
}

// record writes the step's lines.
func (t *Trainer) record(step int, m rundir.Metrics, s *rollout.Sampled) error {
	if t.Out == nil {
		return nil
	}
	for _, e := range s.All {
		line, err := e.Line()
		if err != nil {
			return err
		}
		if err := t.Out.Episode(line); err != nil {
			return err
		}
	}
	if err := t.Out.Metrics(step, m); err != nil {
		return err
	}
	return t.distributions(step, s.Counted)
}

// dumpFailedBatch keeps the episodes of a step whose update failed.
func (t *Trainer) dumpFailedBatch(step int, s *rollout.Sampled, err error) error {
	if t.Out == nil {
		return err
	}
	if werr := t.record(step, rundir.Metrics{}, s); werr == nil {
		err = fmt.Errorf("%w (the batch is in %s/episodes.jsonl, step %d)", err, t.Out.Dir, step)
	}
	return err
}

// runDir is the run directory; "" if nothing is written.
func (t *Trainer) runDir() string {
	if t.Out == nil {
		return ""
	}
	return t.Out.Dir
}
