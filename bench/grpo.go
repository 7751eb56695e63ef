package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/bench/peers"
	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/algo"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/update"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// GRPOTest is a GRPO step to measure. Every response has its full length, so that all programs and machines do the same
// amount of work.
type GRPOTest struct {
	Questions, N int  // N rollouts of each question
	Response     int  // new tokens in each turn
	Turns        int  // between two turns the simulator (the starting weights) generates a search result
	Prompt       int  // tokens of a question's prompt
	Observation  int  // tokens of a search result
	Given        bool // the search results are given, as from a search engine: no simulator runs
	MiniBatch    int  // trajectories in an optimizer step; 0: all
	LoRAR        int  // rank of the adapter that is trained; 0: all weights
	NoReference  bool // no KL term
	Recompute    bool
	MicroBatch   int           // tokens; 0: 4096
	SimDType     kernels.DType // of the simulator's weights; 0: the policy's
	Peers        []peers.Step  // programs to measure in alternation with ours
	Pairs        int           // alternating pairs of measurements; 0: 1
	NoWarmup     bool          // the first step is measured too: for models whose steps take minutes

	// Ranks more than 1: the step is measured with one rank and with so many, each with the same number of threads:
	// with the processes of Group, or, if it is nil, with goroutines.
	Ranks int
	Group dist.Group
}

// GRPO measures steps of GRPO: rollouts and searches through the engine, rewards, the reference's log-probs, the
// update. If a peer fails, GRPO returns the measured rows and the error.
func GRPO(ctx context.Context, o Options, t GRPOTest) (*Report, error) {
	o = o.withDefaults()
	if err := positive("questions, rollouts, turns or tokens",
		[]int{t.Questions, t.N, t.Response, t.Turns, t.Prompt, t.Observation}); err != nil {
		return nil, err
	}
	if t.N < 2 {
		return nil, errors.New("a group of one rollout has no baseline: use --n 2 or more")
	}
	if t.Ranks > t.Questions {
		return nil, fmt.Errorf("%d ranks have no work with %d questions: use more --questions", t.Ranks, t.Questions)
	}
	var peers error
	rep, err := o.eachDevice(func(d kernels.Device, _ *Limits) ([]Row, error) {
		row, err := t.alone(ctx, o, d, &peers)
		if err != nil || t.Ranks < 2 {
			return []Row{row}, err
		}
		if t.Group != nil {
			if err := t.Group.Barrier(); err != nil { // the others wait until one rank is measured
				return []Row{row}, err
			}
		}
		ranked, err := t.efficiency(ctx, o, d, threadsOf(d), row)
		return []Row{row, ranked}, err
	})
	return rep, cmp.Or(err, peers)
}

// alone measures one rank, and peers beside it.
func (t GRPOTest) alone(ctx context.Context, o Options, d kernels.Device, peers *error) (Row, error) {
	r, err := newGRPORun(ctx, o, t, d, nil)
	if err != nil {
		return Row{}, err
	}
	defer r.close()
	row, err := r.measure()
	if err == nil && *peers == nil {
		*peers = r.beside(d, &row)
	}
	return row, err
}

// threadsOf is the number of threads of a CPU.
func threadsOf(d kernels.Device) int {
	if c, ok := d.(*cpu.Device); ok {
		return c.Threads()
	}
	return 1
}

// grpoRun is a policy, its frozen starting weights, an engine and an updater.
type grpoRun struct {
	ctx     context.Context
	o       Options
	t       GRPOTest
	ranks   dist.Group // nil: alone
	name    string
	policy  *model.Model
	adapter *model.Adapter // nil: all weights are trained
	start   *model.Model   // reference, and simulator if it is of the same type: a frozen copy, or the base itself
	sim     *model.Model   // nil: no simulator
	tok     *tokenizer.Tokenizer
	eng     *engine.Engine
	updater update.Updater
	closers []func()
	step    int
	diff    float64 // largest LogprobDiff of the updates
	parts   map[string][]float64
}

func newGRPORun(ctx context.Context, o Options, t GRPOTest, d kernels.Device, g dist.Group) (_ *grpoRun, err error) {
	r := &grpoRun{ctx: ctx, o: o, t: t, ranks: g, parts: map[string][]float64{}}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.policy, r.name, err = o.openModel(d, t.LoRAR == 0); err != nil {
		return nil, err
	}
	r.closers = append(r.closers, r.policy.Close)
	if r.t.longest() > r.policy.Config.MaxPos {
		return nil, fmt.Errorf("an episode has %d tokens, the model at most %d: use shorter responses or fewer turns",
			r.t.longest(), r.policy.Config.MaxPos)
	}
	if r.start = r.policy; t.LoRAR > 0 {
		if r.adapter, err = newLoRA(r.policy, t.LoRAR, o.Seed); err != nil {
			return nil, err
		}
		r.closers = append(r.closers, r.adapter.Close)
	} else if t.simulates() && (t.SimDType == 0 || t.SimDType == o.DType) || !t.NoReference {
		if r.start, err = r.policy.Clone(model.Options{}); err != nil {
			return nil, err
		}
		r.closers = append(r.closers, r.start.Close)
	}
	if err = r.openSimulator(); err != nil {
		return nil, err
	}
	if o.Model != "" {
		if _, serr := os.Stat(filepath.Join(o.Model, "tokenizer.json")); serr == nil {
			if r.tok, err = tokenizer.Open(o.Model); err != nil {
				return nil, err
			}
		}
	}
	if err = r.openUpdater(d); err != nil {
		return nil, err
	}
	return r, r.openEngine(d)
}

// openSimulator opens the simulator: the starting weights in SimDType.
func (r *grpoRun) openSimulator() (err error) {
	switch t := cmp.Or(r.t.SimDType, r.policy.DType); {
	case !r.t.simulates():
	case t == r.policy.DType:
		r.sim = r.start
	default:
		if r.sim, err = r.policy.Clone(model.Options{DType: t}); err == nil {
			r.closers = append(r.closers, r.sim.Close)
		}
	}
	return err
}

func (r *grpoRun) openUpdater(d kernels.Device) (err error) {
	u := &r.updater
	if u.Estimator, err = (algo.Estimator{Name: algo.EstGRPO}).Validate(); err != nil {
		return err
	}
	if u.Policy, err = (algo.Policy{ClipLow: 0.2, ClipHigh: 0.2, DualClip: 3, KLCoef: 0.001}).Validate(); err != nil {
		return err
	}
	o := train.Options{MaxGradNorm: 1, WeightDecay: 0.01, MicroBatchTokens: r.t.MicroBatch, KVType: r.o.kvType(),
		Recompute: r.t.Recompute, Ranks: r.group()}
	u.Ranks = r.group()
	if u.Trainer, err = train.New(d, r.policy, r.adapter, o); err != nil {
		return err
	}
	r.closers = append(r.closers, u.Trainer.Close)
	if !r.t.NoReference {
		if u.Reference, err = train.NewScorer(d, r.start, nil, o); err != nil {
			return err
		}
		r.closers = append(r.closers, u.Reference.Close)
	}
	return nil
}

// openEngine makes an engine with room for all episodes at once, for the policy and, if it has separate weights, for
// the simulator.
func (r *grpoRun) openEngine(d kernels.Device) error {
	r.eng = engine.New(d, engine.Options{})
	kv := r.o.kvType()
	err := r.eng.AddModel("policy", r.policy, r.t.room(kv, r.t.longest()))
	if err != nil || r.sim == nil || r.sim == r.policy {
		return err
	}
	return r.eng.AddModel("simulator", r.sim, r.t.room(kv, r.t.Prompt+r.t.Observation))
}

// costs are the minimal costs of each phase of a step.
func (r *grpoRun) costs() []ops.Cost {
	shape := func(m *model.Model) forwardShape { return forwardShape{c: m.Config, t: m.DType, kv: r.o.kvType()} }
	sim := r.sim
	if sim == nil {
		sim = r.policy
	}
	return r.t.costs(shape(r.policy), shape(sim))
}

func (r *grpoRun) close() {
	if r.eng != nil {
		r.eng.Close()
	}
	for i := len(r.closers) - 1; i >= 0; i-- {
		r.closers[i]()
	}
	r.closers = nil
}

// measure runs the steps.
func (r *grpoRun) measure() (row Row, err error) {
	t := r.t
	row = Row{Op: fmt.Sprintf("grpo%dx%d", t.Questions, t.N), Of: r.name, DType: r.o.DType.String(), fixed: "s",
		Split: map[string]float64{},
		Shape: ops.Shape{"prompt": t.Prompt, "gen": t.Response, "batch": t.Questions * t.N, "questions": t.Questions,
			"rollouts": t.N, "turns": t.Turns}}
	if t.Turns > 1 {
		row.Shape["observation"] = t.Observation
	}
	row.sampled = float64(t.Questions * t.N * t.Turns * t.Response)
	row.inPhases(r.costs()...)
	r.o.Say("%s", row.Op)
	warm := 1
	if t.NoWarmup {
		warm = 0
	}
	w, m := measure.NewWatch(), measure.WatchMemory()
	row.samples, err = measure.Timed(r.ctx, warm, r.o.Reps, r.once)
	row.Foreign = w.Foreign()
	row.PeakRSS, row.PeakAnonymous = m.Stop()
	row.LogprobDiff = &r.diff
	if err != nil {
		return row, fmt.Errorf("measuring %s: %w", row.Op, err)
	}
	for name, s := range r.parts {
		_, _, row.Split[name] = measure.Stats(s[warm:])
	}
	return row, nil
}

// once runs one step.
func (r *grpoRun) once() error {
	r.step++
	began := time.Now()
	trajs, searching, err := r.rollOut()
	if err != nil {
		return err
	}
	rolled := time.Now()
	r.score(trajs)
	judged := time.Now()
	referred := judged
	err = r.eng.Change(r.ctx, "policy", r.adapter, func() error {
		st, err := r.updater.Update(trajs, update.MiniBatches(len(trajs), r.t.MiniBatch), func(miniBatch int) float64 {
			if miniBatch == 0 {
				referred = time.Now() // the reference comes before the first mini-batch
			}
			return 1e-6
		})
		r.diff = max(r.diff, st.LogprobDiff)
		return err
	})
	if err != nil {
		return err
	}
	acting := rolled.Sub(began).Seconds()
	for name, s := range map[string]float64{"rollouts": acting * (1 - searching), "search": acting * searching,
		"reward":    judged.Sub(rolled).Seconds(),
		"reference": referred.Sub(judged).Seconds(), "update": time.Since(referred).Seconds()} {
		r.parts[name] = append(r.parts[name], s)
	}
	return nil
}

// rollOut runs all episodes at once. searching is the fraction of the episodes' time that they waited for the
// simulator. Policy and simulator alternate on one device, so only fractions can be measured.
func (r *grpoRun) rollOut() (trajs []update.Trajectory, searching float64, err error) {
	trajs = make([]update.Trajectory, r.t.Questions*r.t.N)
	var mu sync.Mutex
	var acted, searched time.Duration
	g, ctx := errgroup.WithContext(r.ctx)
	for i := range trajs {
		if dist.Owner(r.group(), i/r.t.N) != r.group().Rank() {
			continue
		}
		g.Go(func() error {
			a, s, err := r.episode(ctx, &trajs[i], i)
			mu.Lock()
			defer mu.Unlock()
			acted, searched = acted+a, searched+s
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, 0, err
	}
	trajs, err = r.share(trajs)
	return trajs, searched.Seconds() / max(1e-9, (acted+searched).Seconds()), err
}

// episode generates all turns of the policy, with search results between them.
func (r *grpoRun) episode(ctx context.Context, t *update.Trajectory, i int) (acted, searched time.Duration, err error) {
	t.Group = i / r.t.N
	t.IDs = r.text(uint64(t.Group), r.t.Prompt)
	t.Prompt = len(t.IDs)
	t.Mask, t.Old = make([]bool, len(t.IDs)), make([]float32, len(t.IDs))
	add := func(ids []int32, logprobs []float32) {
		t.IDs = append(t.IDs, ids...)
		for k := range ids {
			t.Mask = append(t.Mask, logprobs != nil)
			if logprobs != nil {
				t.Old = append(t.Old, logprobs[k])
			} else {
				t.Old = append(t.Old, 0)
			}
		}
	}
	for turn := range r.t.Turns {
		if turn > 0 {
			began := time.Now()
			ids, err := r.result(ctx, i, turn)
			if err != nil {
				return acted, searched, err
			}
			add(ids, nil)
			searched += time.Since(began)
		}
		began := time.Now()
		res, err := r.generate(ctx, "policy", r.adapter, t.IDs, r.t.Response, i, turn)
		if err != nil {
			return acted, searched, err
		}
		add(res.IDs, res.Logprobs)
		acted += time.Since(began)
	}
	return acted, searched, nil
}

// result is the search result before a turn.
func (r *grpoRun) result(ctx context.Context, i, turn int) ([]int32, error) {
	query := uint64(1000 + i)
	if r.t.Given {
		return r.text(query<<8+uint64(turn), r.t.Observation), nil
	}
	name := "simulator"
	if r.sim == r.policy {
		name = "policy" // the base without adapters
	}
	res, err := r.generate(ctx, name, nil, r.text(query, r.t.Prompt), r.t.Observation, i, turn)
	return res.IDs, err
}

// generate generates exactly n tokens.
func (r *grpoRun) generate(ctx context.Context, name string, a *model.Adapter, prompt []int32, n, i,
	turn int) (engine.Result, error) {
	return r.eng.Generate(ctx, engine.Request{Model: name, Adapter: a, Prompt: prompt, MaxTokens: n, EOS: []int32{},
		Temperature: 1,
		Stream:      engine.Stream(r.o.Seed, uint64(r.step), uint64(i), uint64(turn))})
}

// text returns n ids that differ in every step.
func (r *grpoRun) text(key uint64, n int) []int32 {
	out := make([]int32, n)
	for k := range out {
		out[k] = int32(engine.Stream(r.o.Seed, uint64(r.step), key, uint64(k)) % uint64(r.policy.Config.Vocab))
	}
	return out
}

// score scores the episodes against an answer, as training does, and then replaces the rewards by values that differ
// within each group, so that no group has zero variance.
func (r *grpoRun) score(trajs []update.Trajectory) {
	for i := range trajs {
		t := &trajs[i]
		if r.tok != nil {
			text := r.tok.Decode(t.IDs[t.Prompt:], false)
			_ = reward.Score(text, true, []string{"an answer"})
		}
		t.Reward = float64(i%r.t.N) / float64(r.t.N-1)
	}
}

// beside measures r's steps alternately with those of every peer. r has been warmed up.
func (r *grpoRun) beside(d kernels.Device, row *Row) error {
	for _, p := range r.t.Peers {
		c := peers.Contest{Name: row.Op, Peer: p.Name, DType: row.DType, Unit: "t/s", Warm: true,
			Ours: func(ctx context.Context) (float64, error) {
				s, err := measure.Once(ctx, r.once)
				return row.sampled / s, err
			},
			Theirs: func(ctx context.Context) (float64, error) {
				s, err := p.Run(ctx, row.sampled)
				return row.sampled / s, err
			}}
		x, err := c.Run(r.ctx, max(1, r.t.Pairs), r.o.Say)
		if err != nil {
			return err
		}
		x.Threads = threadsOf(d)
		row.Peers = append(row.Peers, x)
	}
	return nil
}
