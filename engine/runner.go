package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// ModelOptions say how much room a model gets. The zero value is a sound default.
type ModelOptions struct {
	KVType kernels.DType // of keys and values, F32 or BF16. 0: F32 for a model in F32, else BF16

	// KVPages is the size of the cache in pages of kernels.PageSize tokens. 0: KVBytes' worth; if that is 0 too, what
	// MaxSequences sequences of MaxContext tokens need; if that is left to its default, what 16 need, but no more
	// than 1 GiB and at least one.
	KVPages int
	KVBytes int64

	// longest sequence, prompt and generated. 0: the model's own limit, but at most 4096; never more than the pages
	// hold
	MaxContext     int
	MaxSequences   int // sequences in one step. 0: 256
	MaxBatchTokens int // tokens in one step, which bounds the workspace. 0: 512
}

// AddModel makes room for m under a name. The model remains the caller's; it must not be closed before the engine.
// Not inside Do.
func (e *Engine) AddModel(name string, m *model.Model, o ModelOptions) error {
	return e.Do(context.Background(), func() error {
		e.mu.Lock()
		_, dup := e.runners[name]
		e.mu.Unlock()
		if dup {
			return fmt.Errorf("adding the model %s: there is one of this name", name)
		}
		r, err := newRunner(e.dev, name, m, o, e.o)
		if err != nil {
			return fmt.Errorf("adding the model %s: %w", name, err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.runners[name], e.lanes[r.lane] = r, r
		e.sched.lanes = append(e.sched.lanes, r.lane)
		e.publish()
		return nil
	})
}

// RemoveModel takes a model out of the engine and frees what the engine allocated for it; the model itself stays its
// owner's, who may close it then. It may be called from any goroutine, but not inside Do, and works as Do does:
// requests that came before are finished first, those that come later are refused. If ctx ends before its turn comes,
// the model stays.
func (e *Engine) RemoveModel(ctx context.Context, name string) error {
	return e.Do(ctx, func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		r := e.runners[name]
		if r == nil {
			return fmt.Errorf("removing the model %s: there is no such model in the engine", name)
		}
		delete(e.runners, name)
		delete(e.stats, name)
		delete(e.lanes, r.lane)
		e.sched.remove(r.lane)
		r.close()
		return nil
	})
}

// errRemoved is the error of a request that had found its model just before RemoveModel took it away.
var errRemoved = errors.New("the model was removed from the engine")

// RemoveAdapter frees the pages that were computed with an adapter, whose owner may close it then. It works as
// RemoveModel does, but for requests that come later: they are the caller's to prevent.
func (e *Engine) RemoveAdapter(ctx context.Context, model string, a *model.Adapter) error {
	return e.Change(ctx, model, a, func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if r := e.runners[model]; r != nil && a != nil {
			r.recs.drop(func(x *recorded) bool { return x.adapter == a.ID() })
		}
		return nil
	})
}

// runner is a model with its memory: what the loop needs to run a plan.
type runner struct {
	name    string
	m       *model.Model
	dev     kernels.Device
	ws      *model.Workspace
	kv      kernels.KV
	s       *sampler
	lane    *lane
	recs    recordings
	jobs    map[*job]bool // under way
	context int           // longest sequence
	queued  [2]queuedPass // reused in turns
	turn    int           // of queued
	stats   ModelStats
	note    func(text string) // Options.Note; may be nil
}

func newRunner(dev kernels.Device, name string, m *model.Model, o ModelOptions, eo Options) (_ *runner, err error) {
	pages, err := o.fill(m)
	if err != nil {
		return nil, err
	}
	n := &runner{name: name, m: m, dev: dev, jobs: map[*job]bool{}, note: eo.Note,
		context: min(o.MaxContext, pages*kernels.PageSize),
		lane:    newLane(name, pages, o.MaxBatchTokens, o.MaxSequences)}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	n.recs = newRecordings(dev, pages, n.lane.maxSeq, kernels.PagesFor(n.context))
	if n.kv, err = dev.NewKV(m.KVSpec(pages+n.recs.padPages(), o.KVType)); err != nil {
		return nil, fmt.Errorf("a cache of %d pages of %d tokens: %w: use fewer", pages, kernels.PageSize, err)
	}
	if n.ws, err = m.NewWorkspace(o.MaxBatchTokens, model.WorkspaceOptions{Positions: n.recs.positions(n.context),
		Batch: engineBatch(o, pages)}); err != nil {
		return nil, err
	}
	if n.s, err = newSampler(dev, m, o.MaxBatchTokens, n.lane.maxSeq, eo.LogitsBytes); err != nil {
		return nil, err
	}
	for i := range n.queued {
		n.queued[i] = queuedPass{r: n, host: make([]byte, 8*o.MaxBatchTokens)}
	}
	n.stats = ModelStats{Name: name, Pages: pages, KVBytes: n.kv.Bytes(), WorkspaceBytes: n.ws.Bytes() + n.s.bytes,
		Context: n.context}
	return n, nil
}

// engineBatch is the size of the largest pass, of filled options.
func engineBatch(o ModelOptions, pages int) kernels.BatchSpec {
	n := min(o.MaxSequences, o.MaxBatchTokens)
	longest := kernels.PagesFor(min(o.MaxContext, pages*kernels.PageSize))
	return kernels.BatchSpec{Tokens: o.MaxBatchTokens, Segments: n, Pages: n * longest, Rows: o.MaxBatchTokens}
}

// defaultKVBytes bounds a cache whose size was not chosen.
const defaultKVBytes = 1 << 30

// fill replaces zeros by defaults and says how many pages there will be.
func (o *ModelOptions) fill(m *model.Model) (pages int, err error) {
	if o.KVPages < 0 || o.KVBytes < 0 || o.MaxContext < 0 || o.MaxSequences < 0 || o.MaxBatchTokens < 0 {
		return 0, fmt.Errorf("negative sizes: %+v", *o)
	}
	if o.KVType == 0 {
		if o.KVType = kernels.BF16; m.DType == kernels.F32 {
			o.KVType = kernels.F32
		}
	}
	if o.KVType != kernels.F32 && o.KVType != kernels.BF16 {
		return 0, fmt.Errorf("keys and values cannot be %v: use f32 or bf16", o.KVType)
	}
	if o.MaxContext == 0 {
		o.MaxContext = min(m.Config.MaxPos, 4096)
	}
	o.MaxContext = min(o.MaxContext, m.Config.MaxPos)
	if o.MaxBatchTokens == 0 {
		o.MaxBatchTokens = 512
	}
	page, one := int64(kernels.PageSize)*m.Config.KVBytes(o.KVType), kernels.PagesFor(o.MaxContext)
	switch {
	case o.KVPages > 0:
		pages = o.KVPages
	case o.KVBytes > 0:
		pages = int(o.KVBytes / page)
	case o.MaxSequences > 0:
		pages = o.MaxSequences * one
	default:
		pages = max(one, min(16*one, int(defaultKVBytes/page)))
	}
	if o.MaxSequences == 0 {
		o.MaxSequences = 256
	}
	if pages < 1 {
		return 0, fmt.Errorf("%d bytes do not hold a page of keys and values (%d tokens of %d bytes)",
			o.KVBytes, kernels.PageSize, m.Config.KVBytes(o.KVType))
	}
	return pages, nil
}

// reset forgets all sequences and pages.
func (r *runner) reset() {
	l := r.lane
	fresh := newLane(l.name, l.cache.Total(), l.maxTokens, l.maxSeq)
	l.cache, l.waiting, l.running, l.underway = fresh.cache, nil, nil, 0
}

func (r *runner) close() {
	r.recs.drop(func(*recorded) bool { return true })
	if r.s != nil {
		r.s.close()
	}
	if r.ws != nil {
		r.ws.Close()
	}
	if r.kv != nil {
		r.kv.Free()
	}
}
