package rl

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/update"
)

// ReplayPlan is the mapping `replay:` of a configuration: which trajectories make an optimizer step, in which order, at
// which learning rate.
type ReplayPlan struct {
	// MiniBatches lists trajectories by their place in the file, from 0. Every mini-batch is one step of the replay.
	MiniBatches [][]int `yaml:"mini_batches,omitempty"`
	// LR is the learning rate of each step; empty: as the schedule has it.
	LR []float64 `yaml:"lr,omitempty"`
}

// Replay learns from recorded trajectories: the updates of a run without its rollouts. It needs no tokenizer and no
// search engine.
type Replay struct {
	Trainer
	plan ReplayPlan
	file string
	all  []*episode.Episode // in the order of the file
	rows []update.Row       // a row an episode: advantages and the reference's log-probs
	traj []update.Trajectory
	step []int // steps recorded in the file, in order
}

// NewReplay reads file, an episodes.jsonl, and opens what c names. Without a plan every recorded step is one step of
// the replay, with the mini-batches and learning rate that training gave it. Close it when done.
func NewReplay(ctx context.Context, dev kernels.Device, c config.Config, file string, plan ReplayPlan,
	options ...Option) (_ *Replay, err error) {
	defer func() { err = config.Error(err) }()
	c.Search.Mode, c.Search.SimDType = "none", ""
	if err := c.CheckGiven(); err != nil {
		return nil, err
	}
	r := &Replay{plan: plan, file: file}
	for _, o := range options {
		o(&r.Trainer)
	}
	if c.Algo.UsesCritic() && len(plan.MiniBatches) > 0 {
		return nil, fmt.Errorf("replaying %s: a plan of mini-batches is the policy's alone, and --algo %s has a "+
			"critic: leave mini_batches out", file, c.Algo.Algo)
	}
	if _, average, _ := c.Policy.EMADecay(); (average || c.Algo.KLTarget > 0) && len(plan.MiniBatches) > 0 {
		return nil, fmt.Errorf("replaying %s: a plan of mini-batches measures the KL once, at sampling, so that "+
			"--reference ema:DECAY and --kl-target have nothing to follow: leave them or mini_batches out", file)
	}
	if c.Algo.InfoGain > 0 && len(plan.MiniBatches) > 0 {
		return nil,
			fmt.Errorf("replaying %s: --info-gain compares the rollouts of a group, which a plan of mini-batches "+
				"takes apart: leave it or mini_batches out", file)
	}
	if err := r.read(&c); err != nil {
		return nil, err
	}
	r.Config = c
	if err := r.lockFolder(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.Close()
			err = fmt.Errorf("replaying %s: %w", file, err)
		}
	}()
	if r.Schedule, err = train.NewSchedule(c.Optim.LRSchedule, c.Optim.WarmupRatio, c.Schedule.TotalSteps); err != nil {
		return nil, err
	}
	if err := r.resolve(ctx, dev, &c); err != nil {
		return nil, err
	}
	kv, err := r.openPolicy(ctx, dev)
	if err != nil {
		return nil, err
	}
	o := r.Config.TrainOptions(kv)
	o.Longest, o.Sequences = r.largest()
	if err := r.openUpdater(ctx, dev, o); err != nil {
		return nil, err
	}
	r.Updater.ImportanceCap = 0 // the ratio is that to the recorded log-probs, which may be another policy's
	r.Notes = append(r.Notes, r.models.Notes...)
	if r.from, err = await.Call(ctx, r.parts); err != nil {
		return nil, err
	}
	if err := r.resume(ctx); err != nil {
		return nil, err
	}
	return r, r.beginRun()
}

// largest is the ids of the longest episode, and the most episodes that are learned from, or scored, together.
func (r *Replay) largest() (longest, together int) {
	steps := map[int]int{}
	for _, e := range r.all {
		steps[e.Step]++
		longest, together = max(longest, len(e.Tokens().IDs)), max(together, steps[e.Step])
	}
	for _, miniBatch := range r.plan.MiniBatches {
		together = max(together, len(miniBatch))
	}
	return longest, together
}

// parts are the trajectories and what is made of them.
func (r *Replay) parts() (fingerprint.Parts, error) {
	p := fingerprint.Parts{}
	if len(r.plan.MiniBatches) > 0 {
		p.Content("replay.plan of mini-batches", fmt.Sprint(r.plan))
	}
	return p, p.File("replay", r.file)
}

// read loads the episodes, takes the temperature of their sampling into c, and checks the plan.
func (r *Replay) read(c *config.Config) error {
	f, err := os.Open(r.file)
	if err != nil {
		return fmt.Errorf("replaying: %w", err)
	}
	defer f.Close()
	temperature := 0.0
	for e, err := range episode.Read(r.file, f) {
		if err != nil {
			return err
		}
		if e.Status == "" { // made by another program
			e.Status = episode.Answered
		}
		if t := e.Temperature; t > 0 && temperature > 0 && t != temperature {
			return fmt.Errorf("replaying %s: episodes sampled at temperatures %v and %v: replay them apart", r.file,
				temperature, t)
		} else if t > 0 {
			temperature = t
		}
		if !slices.Contains(r.step, e.Step) {
			r.step = append(r.step, e.Step)
		}
		r.all = append(r.all, e)
	}
	if len(r.all) == 0 {
		return fmt.Errorf("replaying %s: no episodes: give the episodes.jsonl of a run", r.file)
	}
	if temperature > 0 {
		c.Rollout.Temperature = temperature
	}
	slices.Sort(r.step)
	if err := r.plan.check(len(r.all)); err != nil {
		return fmt.Errorf("replaying %s: %w", r.file, err)
	}
	return nil
}

func (p ReplayPlan) check(n int) error {
	for i, miniBatch := range p.MiniBatches {
		if len(miniBatch) == 0 {
			return fmt.Errorf("mini-batch %d of the plan is empty", i)
		}
		for _, k := range miniBatch {
			if k < 0 || k >= n {
				return fmt.Errorf("mini-batch %d of the plan names trajectory %d: the file has 0 to %d", i, k, n-1)
			}
		}
	}
	if len(p.LR) > 0 && len(p.LR) != len(p.MiniBatches) {
		return fmt.Errorf("the plan has %d learning rates for %d mini-batches: give one each", len(p.LR),
			len(p.MiniBatches))
	}
	for _, lr := range p.LR {
		if !(lr >= 0) || math.IsInf(lr, 0) {
			return fmt.Errorf("a learning rate of the plan is %v: give finite numbers that are not negative", lr)
		}
	}
	return nil
}

// Steps is the number of the last step.
func (r *Replay) Steps() int {
	if n := len(r.plan.MiniBatches); n > 0 {
		return n
	}
	return r.step[len(r.step)-1]
}

// Run does all updates, or stops after the one under way when ctx ends. last is the last step done; it is saved.
func (r *Replay) Run(ctx context.Context) (last int, err error) {
	defer func() { err = config.Error(err) }()
	update := r.recorded
	if len(r.plan.MiniBatches) > 0 {
		update = r.planned
		if err := r.prepare(); err != nil {
			return r.From, fmt.Errorf("replaying %s: %w", r.file, err)
		}
	}
	last = r.From
	for step := r.From + 1; step <= r.Steps(); step++ {
		began := time.Now()
		m, err := update(step)
		if err != nil {
			return last, fmt.Errorf("replaying %s, step %d: %w", r.file, step, err)
		}
		if m == nil {
			continue // the file has no such step
		}
		last = step
		m["timing_s/update_actor"], m["timing_s/step"] = time.Since(began).Seconds(), time.Since(began).Seconds()
		m["perf/throughput"] = m["perf/total_num_tokens"] / m["timing_s/step"]
		if r.Out != nil {
			if err := r.Out.Metrics(step, m); err != nil {
				return last, err
			}
		}
		if err := r.track(step, m); err != nil {
			return last, err
		}
		if r.OnStep != nil {
			r.OnStep(step, m, nil)
		}
		every := r.Config.Schedule.SaveEvery
		if step == r.Steps() || ctx.Err() != nil || every > 0 && step%every == 0 {
			if err := r.saveStep(step); err != nil {
				return last, err
			}
		}
		if ctx.Err() != nil && step < r.Steps() {
			return last, ctx.Err()
		}
	}
	return last, nil
}

func (r *Replay) saveStep(step int) error {
	if r.Out == nil {
		return nil
	}
	if err := r.Out.Sync(); err != nil {
		return fmt.Errorf("saving the logs: %w", err)
	}
	r.state.Step = step
	return r.saveAs(step)
}

// recorded does the update of a recorded step as training did it.
func (r *Replay) recorded(step int) (rundir.Metrics, error) {
	var all []*episode.Episode
	for _, e := range r.all {
		if e.Step == step {
			all = append(all, e)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	s := rollout.NewSampled(all, r.Config.Algo.Resamples())
	trajs := r.trajectories(s.Groups)
	var st update.Stats
	if len(trajs) > 0 {
		err := recordedLogprobs(trajs)
		if err == nil {
			st, err = r.update(trajs, step)
		}
		if err != nil {
			return nil, err
		}
	}
	r.state.Skipped += len(st.Skips)
	return r.metrics(s, st, step), update.SaveSkips(r.runDir(), step, st.Skips)
}

// prepare computes advantages, over the episodes of each recorded step, and the reference's log-probs.
func (r *Replay) prepare() error {
	r.rows, r.traj = make([]update.Row, len(r.all)), make([]update.Trajectory, len(r.all))
	for _, step := range r.step {
		var at []int
		var trajs []update.Trajectory
		for i, e := range r.all {
			if e.Step == step {
				at, trajs = append(at, i), append(trajs, r.trajectories([][]*episode.Episode{{e}})[0])
				trajs[len(trajs)-1].Group = e.Group
			}
		}
		if err := recordedLogprobs(trajs); err != nil {
			return err
		}
		rows, err := r.Updater.Prepare(trajs)
		if err != nil {
			return err
		}
		for k, i := range at {
			r.rows[i], r.traj[i] = rows[k], trajs[k]
		}
	}
	return nil
}

// planned does one mini-batch of the plan.
func (r *Replay) planned(step int) (rundir.Metrics, error) {
	lr := r.lr(step)
	if len(r.plan.LR) > 0 {
		lr = r.plan.LR[step-1]
	}
	var st update.Stats
	var rows []update.Row
	for _, i := range r.plan.MiniBatches[step-1] {
		rows = append(rows, r.rows[i])
	}
	r.Updater.Describe(&st, rows)
	if err := r.Updater.OptimizerStep(&st, r.traj, r.rows, r.plan.MiniBatches[step-1], true, lr); err != nil {
		return nil, err
	}
	r.state.Skipped += len(st.Skips)
	if err := update.SaveSkips(r.runDir(), step, st.Skips); err != nil {
		return nil, err
	}
	var of []*episode.Episode
	for _, i := range r.plan.MiniBatches[step-1] {
		of = append(of, r.all[i])
	}
	m := r.metrics(&rollout.Sampled{All: of, Counted: of}, st, step)
	m["actor/lr"] = lr
	return m, nil
}

// recordedLogprobs checks that the log-probs of sampling are there: without them there is no ratio.
func recordedLogprobs(trajs []update.Trajectory) error {
	for i, t := range trajs {
		if t.Old == nil {
			return fmt.Errorf("trajectory %d carries no logprobs: record them when sampling", i)
		}
	}
	return nil
}
