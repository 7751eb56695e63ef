package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// ModelTests are what Model measures, through the engine, as llama-bench and llama-batched-bench define it: a prompt of
// so many tokens (pp512); so many new tokens one after the other, starting from a context of Depth tokens, in one
// sequence (tg128) or in several at once (tg128@b8).
type ModelTests struct {
	Prompt []int // tokens; zeros are left out
	Gen    []int // new tokens; zeros are left out
	Batch  []int // sequences at once; none: 1
	Depth  int   // tokens already in the context of Gen's sequences, rounded up to whole pages
	UBatch int   // tokens in one pass; 0: 512
	// Requests is the number of requests with mixed lengths, from 0.5 to 1.5 times Gen's; max(Batch) of them run at
	// once (mixed128@b64). The difference to tg128@b64, whose sequences all begin and end together, is the overhead of
	// continuous batching. 0: none.
	Requests int
}

// openModel loads the model, or makes random weights of a shape; name is the model's name in tables.
func (o Options) openModel(d kernels.Device, trainable bool) (m *model.Model, name string, err error) {
	mo := model.Options{DType: o.DType, Trainable: trainable}
	switch {
	case o.Model != "" && o.Shape != "":
		return nil, "", errors.New("--model and --shape are both given: choose one")
	case o.Model != "":
		m, err = model.Load(d, o.Model, mo)
		return m, filepath.Base(filepath.Clean(o.Model)), err
	case o.Shape == "":
		return nil, "", errors.New("there is nothing to measure: give --model DIR, or --shape NAME for random weights")
	}
	c, err := ops.LookupModel(o.Shape)
	if err != nil {
		return nil, "", fmt.Errorf("reading --shape: %w", err)
	}
	o.Say("making random weights of %s", o.Shape)
	m, err = model.NewRandom(d, c, mo, o.Seed)
	return m, o.Shape, err
}

// engineName is the measured model's name in the engine.
const engineName = "model"

// Model measures prompt processing and generation of a model.
func Model(ctx context.Context, o Options, t ModelTests) (*Report, error) {
	o = o.withDefaults()
	if len(t.Batch) == 0 {
		t.Batch = []int{1}
	}
	t.Depth = kernels.PagesFor(t.Depth) * kernels.PageSize
	zero := func(n int) bool { return n == 0 }
	t.Prompt, t.Gen = slices.DeleteFunc(slices.Clone(t.Prompt), zero), slices.DeleteFunc(slices.Clone(t.Gen), zero)
	if err := positive("tokens and sequences", t.Prompt, t.Gen, t.Batch); err != nil {
		return nil, err
	}
	if len(t.Prompt)+len(t.Gen) == 0 {
		return nil, errors.New("there is nothing to measure: give -p or -n")
	}
	return o.eachDevice(func(d kernels.Device, _ *Limits) ([]Row, error) {
		m, name, err := o.openModel(d, false)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		r, err := newModelRun(ctx, o, t, d, m)
		if err != nil {
			return nil, err
		}
		defer r.eng.Close()
		err = r.all()
		for i := range r.rows {
			r.rows[i].Of, r.rows[i].DType = name, o.DType.String()
		}
		return r.rows, err
	})
}

// modelRun is one model in an engine.
type modelRun struct {
	ctx  context.Context
	o    Options
	t    ModelTests
	m    *model.Model
	kv   kernels.DType
	eng  *engine.Engine
	rng  *rand.Rand
	rows []Row
}

func newModelRun(ctx context.Context, o Options, t ModelTests, d kernels.Device, m *model.Model) (*modelRun, error) {
	r := &modelRun{ctx: ctx, o: o, t: t, m: m, kv: o.kvType(), rng: rand.New(rand.NewPCG(o.Seed, 1))}
	longest := kernels.PageSize
	for _, n := range t.Prompt {
		longest = max(longest, n+1)
	}
	sequences := 1
	for _, n := range t.Gen {
		longest = max(longest, t.Depth+1+n)
		if t.Requests > 0 {
			longest = max(longest, 1+n+n/2)
		}
	}
	for _, b := range t.Batch {
		sequences = max(sequences, b)
	}
	if longest > m.Config.MaxPos {
		return nil, fmt.Errorf("the longest test has %d tokens, the model at most %d: use smaller -p, -n or -d",
			longest, m.Config.MaxPos)
	}
	r.eng = engine.New(d, engine.Options{})
	pages := (longest/kernels.PageSize + 2) * sequences
	err := r.eng.AddModel(engineName, m, engine.ModelOptions{KVType: r.kv, KVPages: pages, MaxContext: longest,
		MaxSequences:   sequences,
		MaxBatchTokens: max(t.UBatch, 512, sequences)})
	if err != nil {
		r.eng.Close()
		return nil, err
	}
	return r, nil
}

// all runs the tests.
func (r *modelRun) all() error {
	for _, n := range r.t.Prompt {
		if err := r.prompt(n); err != nil {
			return err
		}
	}
	for _, b := range r.t.Batch {
		for _, n := range r.t.Gen {
			if err := r.generate(n, b); err != nil {
				return err
			}
			if r.t.Requests > 0 && b == slices.Max(r.t.Batch) { // the engine runs at most max(Batch) at once
				if err := r.mixed(n, b); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// prompt measures the time to the first token of a prompt that is not in the prefix cache.
func (r *modelRun) prompt(n int) error {
	row := Row{Op: fmt.Sprintf("pp%d", n), Shape: ops.Shape{"prompt": n, "gen": 0, "batch": 1}, work: float64(n),
		cost: passCost(r.m.Config, r.m.DType, r.kv, 1, 0, n, 1)}
	return r.add(row, func() error {
		_, err := r.request(r.ids(n), 1)
		return err
	})
}

// generate measures the time of n new tokens in each of batch sequences.
func (r *modelRun) generate(n, batch int) error {
	name := fmt.Sprintf("tg%d", n)
	if batch > 1 {
		name += fmt.Sprintf("@b%d", batch)
	}
	row := Row{Op: name, Shape: ops.Shape{"prompt": 0, "gen": n, "batch": batch}, work: float64(n * batch)}
	if r.t.Depth > 0 {
		row.Op += fmt.Sprintf("@d%d", r.t.Depth)
		row.Shape["depth"] = r.t.Depth
	}
	row.cost.Type = r.m.DType
	for i := range n { // a pass a token
		c := passCost(r.m.Config, r.m.DType, r.kv, batch, r.t.Depth+i, 1, 1)
		row.cost.FLOPs, row.cost.Bytes = row.cost.FLOPs+c.FLOPs, row.cost.Bytes+c.Bytes
	}
	prompts := measure.Many(batch, func() []int32 { return r.ids(r.t.Depth + 1) })
	if r.t.Depth > 0 { // the context, which stays in the cache
		for _, p := range prompts {
			if _, err := r.request(p, 1); err != nil {
				return err
			}
		}
	}
	return r.add(row, func() error { return r.each(prompts, n) })
}

// mixed measures the time of all requests of mixed lengths, which are sent to the engine at once.
func (r *modelRun) mixed(n, batch int) error {
	lengths, all := make([]int, r.t.Requests), 0
	for i := range lengths {
		lengths[i] = max(1, n/2+r.rng.IntN(n+1))
		all += lengths[i]
	}
	row := Row{Op: fmt.Sprintf("mixed%d@b%d", n, batch), Shape: ops.Shape{"prompt": 0, "gen": n, "batch": batch,
		"requests": r.t.Requests}, work: float64(all)}
	return r.add(row, func() error {
		var g errgroup.Group
		for _, n := range lengths {
			prompt := r.ids(1)
			g.Go(func() error {
				_, err := r.request(prompt, n)
				return err
			})
		}
		return g.Wait()
	})
}

// together generates n tokens in each of batch sequences that begin with one token.
func (r *modelRun) together(batch, n int) error {
	return r.each(measure.Many(batch, func() []int32 { return r.ids(1) }), n)
}

// each continues all prompts at once by n tokens; all but the last token of a prompt must be in the prefix cache.
func (r *modelRun) each(prompts [][]int32, n int) error {
	var g errgroup.Group
	for _, p := range prompts {
		g.Go(func() error {
			res, err := r.request(p, n)
			if err == nil && (len(res.IDs) != n || res.CachedTokens != len(p)-1) {
				err = fmt.Errorf("generated %d of %d tokens, found %d of %d in the cache", len(res.IDs), n,
					res.CachedTokens, len(p)-1)
			}
			return err
		})
	}
	return g.Wait()
}

// request generates exactly n tokens.
func (r *modelRun) request(prompt []int32, n int) (engine.Result, error) {
	return r.eng.Generate(r.ctx, engine.Request{Model: engineName, Prompt: prompt, MaxTokens: n, EOS: []int32{},
		Temperature: 1, Stream: 1})
}

func (r *modelRun) ids(n int) []int32 {
	return measure.Many(n, func() int32 { return int32(r.rng.IntN(r.m.Config.Vocab)) })
}

// add measures f.
func (r *modelRun) add(row Row, f func() error) (err error) {
	r.o.Say("%s", row.Op)
	w := measure.NewWatch()
	if row.samples, err = measure.Timed(r.ctx, 1, r.o.Reps, f); err != nil {
		return fmt.Errorf("measuring %s: %w", row.Op, err)
	}
	row.Foreign = w.Foreign()
	r.rows = append(r.rows, row)
	return nil
}

func positive(what string, lists ...[]int) error {
	for _, l := range lists {
		for _, n := range l {
			if n < 1 || n > 1<<20 {
				return fmt.Errorf("%d is not a number of %s", n, what)
			}
		}
	}
	return nil
}
