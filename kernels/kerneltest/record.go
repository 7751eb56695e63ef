package kerneltest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
)

const recordRule = "Replay queues the recorded operations again, on what is in their operands then: after SetBatch " +
	"the bits are those of direct calls"

// testRecord records a decode pass of a small model and replays it over other layouts.
func testRecord(t *testing.T, e *env) {
	if _, ok := e.d.(kernels.Recorder); !ok {
		t.Skip("this device is no Recorder")
	}
	for i, c := range []struct{ weights, cache kernels.DType }{
		{kernels.F32, kernels.F32}, {kernels.BF16, kernels.BF16}, {kernels.Q8, kernels.BF16},
	} {
		t.Run(fmt.Sprintf("%v/%v", c.weights, c.cache), func(t *testing.T) {
			direct := decodePasses(t, e.d, c.weights, c.cache, 0)
			replayed := decodePasses(t, e.d, c.weights, c.cache, 100*(i+1))
			for i := range direct {
				if !bytes.Equal(direct[i], replayed[i]) {
					t.Fatalf("result %d (two a pass): ids or log-probs differ from those of direct calls\nrule: %s", i,
						recordRule)
				}
			}
		})
	}
	t.Run("rules", func(t *testing.T) { testRecordRules(t, e.d) })
}

// record records p's step, which must not run meanwhile.
func (p *decodePass) record() kernels.Recording {
	t, d := p.s.t, p.s.d
	t.Helper()
	fetch := func() (ids []int32, logp []float32) {
		ids, logp = make([]int32, p.draws), make([]float32, p.draws)
		for _, err := range []error{kernels.Download(d, ids, p.ids), kernels.Download(d, logp, p.logp)} {
			if err != nil {
				t.Fatalf("Download: %v", err)
			}
		}
		return ids, logp
	}
	d.Zero(p.logp)
	ids, _ := fetch()
	r, err := d.(kernels.Recorder).Record(p.step)
	if err != nil {
		t.Fatalf("Record: %v", err)
	}
	if i, logp := fetch(); !slices.Equal(i, ids) || slices.Max(logp) != 0 || slices.Min(logp) != 0 {
		t.Fatalf("a pass that was recorded wrote ids or log-probs: %v, %v\nrule: what is recorded does not run", i,
			logp)
	}
	return r
}

// testRecordRules checks panics, and recordings beside each other.
func testRecordRules(t *testing.T, d kernels.Device) {
	execute(t, d, layouts[0], func(s *caseRun) {
		x, y := s.inout("x", 1, 3, []float32{1, 2, 3}, bound{}), s.inout("y", 1, 3, []float32{4, 5, 6}, bound{})
		z := s.in("z", 1, 3, []float32{1, 10, 100})
		func() {
			defer func() {
				if p := recover(); p != "stop" {
					t.Errorf("Record: %v\nrule: a panic passes through Record", p)
				}
			}()
			d.(kernels.Recorder).Record(func() {
				d.Zero(x)
				panic("stop")
			})
		}()
		record := func(f func()) kernels.Recording {
			r, err := d.(kernels.Recorder).Record(f)
			if err != nil {
				t.Fatalf("Record: %v", err)
			}
			return r
		}
		once, twice := record(func() { d.Axpy(x, 1, z) }), record(func() { d.Axpy(y, 2, z) })
		nothing := record(func() {})
		once.Replay()
		twice.Replay()
		once.Free()
		twice.Replay()
		nothing.Replay()
		twice.Free()
		nothing.Free()
		for _, c := range []struct {
			t    kernels.Tensor
			want []float32
		}{{x, []float32{2, 12, 103}}, {y, []float32{8, 45, 406}}} {
			got := make([]float32, 3)
			if err := kernels.Download(d, got, c.t); err != nil {
				t.Fatalf("Download: %v", err)
			}
			if !slices.Equal(got, c.want) {
				t.Fatalf("%v, want %v: additions were replayed once and twice\nrule: %s", got, c.want, recordRule)
			}
		}
	})
}

// The model of decodePass, and how many layouts there are.
const (
	decodeWidth, decodeInner, decodeIDs = 32, 48, 70
	decodeContext, decodePages          = 320, 50
	decodeLayouts                       = 6
)

var decodeHeads = heads{4, 2, 16}

// decodePass is one layer of a model with embedding and output, and a batch of decode steps, one of them of three
// tokens.
type decodePass struct {
	s     *caseRun
	kv    kernels.KV
	batch kernels.Batch
	draws int

	embed, o, down, head                       kernels.Weight
	qkv, gateUp                                []kernels.Weight
	norm, table                                kernels.Tensor
	x, n, q, k, v, y, gate, up, act, h, wanted kernels.Tensor
	logits, ids, logp                          kernels.Tensor
}

func newDecodePass(s *caseRun, wt, cache kernels.DType) *decodePass {
	const c, f = decodeWidth, decodeInner
	// more than is needed
	hd, spec := decodeHeads, kernels.BatchSpec{Tokens: 9, Segments: 6, Pages: decodePages + 3, Rows: 8}
	p := &decodePass{s: s, draws: 5}
	p.kv = s.cache(kernels.KVSpec{Layers: 2, Pages: decodePages, KVHeads: hd.g, HeadDim: hd.d, Type: cache})
	var err error
	if p.batch, err = s.d.NewBatch(spec); err != nil {
		s.t.Fatalf("NewBatch(%+v): %v", spec, err)
	}
	s.frees = append(s.frees, p.batch.Free)
	scale := func(name string, n int) []float32 { return normal(name, n, 0.2) }
	p.embed, p.o = s.weight(decodeIDs, c, wt, normal("embed", decodeIDs*c, 1)),
		s.weight(c, hd.h*hd.d, wt, scale("o", c*hd.h*hd.d))
	p.down, p.head = s.weight(c, f, wt, scale("down", c*f)), s.weight(decodeIDs, c, wt, scale("head", decodeIDs*c))
	p.qkv, p.gateUp = s.group(c, wt, hd.h*hd.d, hd.g*hd.d, hd.g*hd.d), s.group(c, wt, f, f)
	p.norm, p.table = s.vec("norm", 1, c, normal("norm", c, 1)),
		s.in("table", decodeContext, hd.d, angles(decodeContext, hd.d))
	zeros := func(dt kernels.DType, rows int, cols ...int) (all []kernels.Tensor) {
		wide := 0
		for _, n := range cols {
			wide += n
		}
		t := s.put("", dt, rows, wide, s.layout, make([]byte, rows*wide*dt.Size()), true, bound{})
		for _, n := range cols {
			all = append(all, t.ColRange(0, n))
			t = t.ColRange(n, t.Cols-n)
		}
		return all
	}
	const t, b = 7, 6 // of every layout
	p.x, p.n, p.h = zeros(kernels.F32, t, c)[0], zeros(s.d.Operand(wt), t, c)[0], zeros(kernels.F32, t, c)[0]
	qkv, gu := zeros(kernels.F32, t, hd.h*hd.d, hd.g*hd.d, hd.g*hd.d), zeros(kernels.F32, t, f, f)
	p.q, p.k, p.v, p.gate, p.up = qkv[0], qkv[1], qkv[2], gu[0], gu[1]
	p.y, p.act = zeros(kernels.F32, t, hd.h*hd.d)[0], zeros(s.d.Operand(wt), t, f)[0]
	p.wanted, p.logits = zeros(kernels.F32, b, c)[0], zeros(kernels.F32, b, decodeIDs)[0]
	p.ids = s.put("ids", kernels.I32, p.draws, 1, s.packed(), make([]byte, 4*p.draws), true, bound{})
	p.logp = s.vecOut("logp", p.draws, 1, make([]float32, p.draws), bound{})
	return p
}

// step queues a pass over the batch as it is set.
func (p *decodePass) step() {
	d, b, hd, none := p.s.d, p.batch, decodeHeads, kernels.Tensor{}
	d.Embed(p.x, p.embed, b)
	d.RMSNorm(p.n, p.x, p.norm, 1e-5, none)
	d.MatMuls(p.n, []kernels.Product{{Y: p.q, W: p.qkv[0]}, {Y: p.k, W: p.qkv[1]}, {Y: p.v, W: p.qkv[2]}})
	d.RoPE(p.q, hd.h, b, p.table, false)
	d.RoPE(p.k, hd.g, b, p.table, false)
	d.KVWrite(p.kv, 1, p.k, p.v, b)
	d.Attention(p.y, p.q, none, p.kv, 1, b, 0.25)
	d.MatMul(p.x, p.y, p.o, kernels.Epilogue{Add: true})
	d.RMSNorm(p.n, p.x, p.norm, 1e-5, none)
	d.MatMuls(p.n, []kernels.Product{{Y: p.gate, W: p.gateUp[0]}, {Y: p.up, W: p.gateUp[1]}})
	d.SwiGLU(p.act, p.gate, p.up)
	d.MatMul(p.x, p.act, p.down, kernels.Epilogue{Add: true})
	d.RMSNorm(p.h, p.x, p.norm, 1e-5, none)
	d.Gather(p.wanted, p.h, b.Rows())
	d.MatMul(p.logits, p.wanted, p.head, kernels.Epilogue{})
	d.Sample(p.ids, kernels.LogProbs{Logp: p.logp}, p.logits.RowRange(0, p.draws), b, 0)
}

// other is work on more rows than step has, or than a device had before.
func (p *decodePass) other(rows int) {
	x := p.s.in("other x", rows, decodeWidth, normal("other x", rows*decodeWidth, 1))
	y := p.s.out("other y", rows, decodeIDs, bound{})
	p.s.d.MatMul(y, x, p.head, kernels.Epilogue{})
	ids := p.s.put("other ids", kernels.I32, rows, 1, p.s.packed(), nil, true, bound{})
	p.s.d.Sample(ids, kernels.LogProbs{}, y,
		p.s.draws(slices.Repeat([]kernels.Sampling{{InvTemp: 1, Never: []int32{3}}}, rows)), 0)
}

// decodePasses runs passes over all layouts after each other without waiting, and returns the ids and log-probs of
// each. In every other pass the rows are fed the ids of the pass before. With others, all but the first are replays,
// and work on so many rows goes on between them.
func decodePasses(t *testing.T, d kernels.Device, wt, cache kernels.DType, others int) (results [][]byte) {
	execute(t, d, layouts[2], func(s *caseRun) {
		p := newDecodePass(s, wt, cache)
		spec := p.kv.Spec()
		n, w := spec.Pages*kernels.PageSize, spec.KVHeads*spec.HeadDim
		slots := make([]int32, n)
		for i := range slots {
			slots[i] = int32(i)
		}
		d.KVWrite(p.kv, 1, s.in("k", n, w, normal("k", n*w, 1)), s.in("v", n, w, normal("v", n*w, 1)),
			s.slots(p.kv, slots))
		var tickets []kernels.Ticket
		var recording kernels.Recording
		for i := range decodeLayouts {
			l := decodeLayout(i)
			var fed []kernels.SampledInput
			if i%2 == 1 {
				for r := range p.draws {
					fed = append(fed, kernels.SampledInput{Row: l.Rows[r], From: int32(r)})
				}
			}
			d.SetBatch(p.batch, &l, p.kv, p.ids, fed)
			if recording == nil {
				p.step()
			} else {
				recording.Replay()
			}
			ids, logp := make([]int32, p.draws), make([]float32, p.draws)
			tickets = append(tickets, kernels.Fetch(d, ids, p.ids), kernels.Fetch(d, logp, p.logp))
			results = append(results, raw(ids), raw(logp))
			switch {
			case others > 0 && i == 0:
				recording = p.record()
			case others > 0 && i == 2:
				p.other(others)
			}
		}
		for _, x := range tickets {
			if err := x.Wait(); err != nil {
				t.Fatalf("Wait: %v", err)
			}
		}
		if recording != nil {
			recording.Free()
		}
	})
	return results
}

// decodeLayout is the i-th batch: the same lengths, other starts, pages, ids, wanted rows and draws. The first has one
// of the longest sequences.
func decodeLayout(i int) kernels.Layout {
	starts := [decodeLayouts][]int{{40, 255, 97, 319, 0}, {319, 3, 250, 64, 256}, {0, 0, 0, 0, 0},
		{319, 319, 317, 319, 319}, {12, 31, 254, 32, 255},
		{256, 255, 29, 0, 300}}[i]
	random := source(fmt.Sprint("layout", i))
	free := random.Perm(decodePages)
	var l kernels.Layout
	for at, n := range []int{1, 1, 3, 1, 1} {
		s := kernels.Segment{Row: len(l.IDs), Len: n, Start: starts[at]}
		for range (s.Start + n + kernels.PageSize - 1) / kernels.PageSize {
			s.Pages, free = append(s.Pages, int32(free[0])), free[1:]
		}
		for p := s.Start; p < s.Start+n; p++ {
			l.IDs, l.Pos = append(l.IDs, int32(random.IntN(decodeIDs))), append(l.Pos, int32(p))
			l.Slots = append(l.Slots, s.Pages[p/kernels.PageSize]*kernels.PageSize+int32(p%kernels.PageSize))
		}
		l.Segs, l.Rows = append(l.Segs, s), append(l.Rows, int32(len(l.IDs)-1))
		r := kernels.Sampling{InvTemp: 0.8, Stream: random.Uint64(), Pos: int32(s.Start + n), Greedy: at == i%5,
			Adjust: adjustments(decodeIDs, 9*i, at)}
		if (at+i)%2 == 0 {
			r.TopK, r.Never = 5+i, every(2+at, decodeIDs)
		}
		l.Draws = append(l.Draws, r)
	}
	random.Shuffle(len(l.Rows), func(a, b int) { l.Rows[a], l.Rows[b] = l.Rows[b], l.Rows[a] })
	l.Rows = append(l.Rows, 2) // wanted, and not drawn
	return l
}
