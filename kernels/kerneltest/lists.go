package kerneltest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// scribbler is a device whose caller overwrites every list of the host as soon as the call that was given it returns,
// with zeros: what reads them late computes something else, but accesses no memory that is not its own.
type scribbler struct {
	kernels.Device
	draws map[kernels.Batch][]kernels.Sampling
}

func (d *scribbler) Upload(dst kernels.Tensor, src []byte) {
	src = slices.Clone(src)
	d.Device.Upload(dst, src)
	clear(src)
}

func (d *scribbler) PackHost(w kernels.Weight, row0 int, data []byte, src kernels.DType) {
	data = slices.Clone(data)
	d.Device.PackHost(w, row0, data, src)
	clear(data)
}

func (d *scribbler) SetBatch(b kernels.Batch, l *kernels.Layout, kv kernels.KV, ids kernels.Tensor,
	fed []kernels.SampledInput) {
	mine, fed := new(kernels.Layout), slices.Clone(fed)
	mine.CopyFrom(l)
	for i := range mine.Draws {
		r := &mine.Draws[i]
		r.Never, r.Adjust = slices.Clone(r.Never), slices.Clone(r.Adjust)
	}
	d.draws[b] = slices.Clone(mine.Draws) // what these point to must stay until the draw
	d.Device.SetBatch(b, mine, kv, ids, fed)
	for _, list := range [][]int32{mine.IDs, mine.Pos, mine.Slots, mine.Rows} {
		clear(list)
	}
	for _, s := range mine.Segs {
		clear(s.Pages)
	}
	clear(mine.Segs)
	clear(mine.Draws)
	clear(fed)
}

func (d *scribbler) Sample(ids kernels.Tensor, out kernels.LogProbs, logits kernels.Tensor, b kernels.Batch,
	first int) {
	d.Device.Sample(ids, out, logits, b, first)
	for _, r := range d.draws[b][first : first+logits.Rows] {
		clear(r.Never)
		clear(r.Adjust)
	}
}

func (d *scribbler) KVCopy(kv kernels.KV, dst, src []int32) {
	dst, src = slices.Clone(dst), slices.Clone(src)
	d.Device.KVCopy(kv, dst, src)
	clear(dst)
	clear(src)
}

func (d *scribbler) MatMuls(x kernels.Tensor, to []kernels.Product) {
	to = slices.Clone(to)
	d.Device.MatMuls(x, to)
	clear(to)
}

func (d *scribbler) MatMulDWs(dw []kernels.Tensor, dy, x kernels.Tensor, op kernels.DType) {
	dw = slices.Clone(dw)
	d.Device.MatMulDWs(dw, dy, x, op)
	clear(dw)
}

// testLists runs operations with lists of the host once with lists that stay, and once with a scribbler.
func testLists(t *testing.T, e *env) {
	for _, c := range []testCase{
		{name: "embed", body: func(s *caseRun) {
			const n, v, c = 70, 40, 12
			w := s.weight(v, c, kernels.BF16, normal("w", v*c, 1))
			l := kernels.Layout{IDs: below("ids", n, v), Pos: below("pos", n, 30), Rows: below("rows", 9, n)}
			b, err := s.d.NewBatch(l.Spec())
			if err != nil {
				s.t.Fatalf("NewBatch: %v", err)
			}
			s.frees = append(s.frees, b.Free)
			s.d.SetBatch(b, &l, nil, s.ints("sampled", []int32{7, 31}),
				[]kernels.SampledInput{{Row: 5, From: 1}, {Row: 69, From: 0}})
			y := s.out("y", n, c, bound{})
			s.d.Embed(y, w, b)
			s.d.RoPE(y, 2, b, s.in("table", 30, 6, angles(30, 6)), false)
			s.d.Gather(s.out("rows", 9, c, bound{}), y, b.Rows())
		}},
		{name: "attention", body: func(s *caseRun) {
			hd := heads{4, 2, 16}
			a := newAttention(s, kernels.F32, hd, batches[3].seqs)
			first := a.segs[0].Pages
			s.d.KVCopy(a.kv, []int32{first[1]}, []int32{a.segs[1].Pages[0]})
			s.d.Attention(s.out("y", a.rows, hd.h*hd.d, bound{}), a.q, kernels.Tensor{}, a.kv, 1, a.batch, a.scale)
		}},
		{name: "sample", body: func(s *caseRun) {
			const n, v = 9, 257
			rules := make([]kernels.Sampling, n)
			for i := range rules {
				rules[i] = kernels.Sampling{InvTemp: 1, TopP: 0.9, Stream: streamOf((float64(i) + 0.5) / n)}
				rules[i].Adjust = adjustments(v, 60, i)
				if i%2 == 1 {
					rules[i].Never = every(2, v)
				}
			}
			ids := s.put("ids", kernels.I32, n, 1, s.packed(), nil, true, bound{})
			logits := s.in("logits", n, v, normal("logits", n*v, 2))
			s.d.Sample(ids, kernels.LogProbs{Logp: s.vecOut("logp", n, 1, nil, bound{})}, logits, s.draws(rules), 0)
		}},
		{name: "products", body: matmulLow(shape{9, 40, 33}, kernels.BF16, kernels.F32, 4, bound{})},
		{name: "dws", body: matmulDWs(shape{33, 16, 96}, kernels.F32, bound{})},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := func(d kernels.Device) []output {
				return execute(t, d, layouts[1], func(s *caseRun) {
					busy(s)
					c.body(s)
				})
			}
			want, got := run(e.d), run(&scribbler{e.d, map[kernels.Batch][]kernels.Sampling{}})
			sameBits(t,
				"what a call is given on the host is read before the call returns (the lists of a Sampling: before "+
					"Sample does)", want, got)
		})
	}
}

// busy queues work that takes a while, so that what is queued behind it begins late.
func busy(s *caseRun) {
	const n = 96
	x, w := s.in("", n, n, normal("busy", n*n, 1)), s.weight(n, n, kernels.F32, normal("busy", n*n, 1))
	s.d.MatMul(s.out("busy", n, n, bound{}), x, w, kernels.Epilogue{})
}

// testTickets fetches several times, with work in between, and waits in other orders, in other goroutines.
func testTickets(t *testing.T, e *env) {
	const n = 1000
	execute(t, e.d, layouts[1], func(s *caseRun) {
		busy(s)
		x, y := s.vecOut("x", 1, n, normal("x", n, 1), bound{}), s.vecOut("y", 1, n, normal("y", n, 1), bound{})
		room := bytes.Repeat(canary, 3*n+2)
		dst := func(i int) []byte { return room[4*(1+i*n):][:4*n] }
		tickets := []kernels.Ticket{s.d.Fetch(dst(0), x), s.d.Fetch(dst(1), y)}
		s.d.Zero(x)
		s.d.Copy(x, y)
		s.d.Zero(y)
		tickets = append(tickets, s.d.Fetch(dst(2), x))
		s.d.Zero(x)
		for _, i := range []int{1, 2, 0} {
			err := make(chan error, 1)
			go func() { err <- tickets[i].Wait() }()
			if err := <-err; err != nil {
				t.Fatalf("Wait: %v", err)
			}
			want := raw(normal([]string{"x", "y", "y"}[i], n, 1))
			if got := dst(i); !bytes.Equal(got, want) {
				t.Fatalf("what fetch %d of 3 brought differs\nrule: Fetch copies what the work queued before it "+
					"left; tickets may be "+
					"waited for in any order by any goroutine", i+1)
			}
		}
		if !bytes.Equal(room[:4], canary) || !bytes.Equal(room[4*(3*n+1):], canary) {
			t.Fatalf("Fetch wrote around its destination")
		}
	})
}
