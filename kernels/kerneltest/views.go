package kerneltest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
)

const batchRule = "a batch is the layout that was set last, with the ids that were fed, whatever room it has; " +
	"Sample draws by draws [first, first+B)"

// testBatch sets one batch, which has room to spare, again and again, and reads it as tensors and in operations.
func testBatch(t *testing.T, e *env) {
	const v, c, pages = 300, 6, 9
	body := func(s *caseRun) {
		room := kernels.BatchSpec{Tokens: 90, Segments: 7, Pages: 40, Rows: 50}
		b, err := s.d.NewBatch(room)
		if err != nil {
			t.Fatalf("NewBatch: %v", err)
		}
		s.frees = append(s.frees, b.Free)
		w, logits := s.weight(v, c, kernels.F32, normal("w", v*c, 1)), s.in("logits", 40, v, normal("logits", 40*v, 1))
		kv := s.cache(kernels.KVSpec{Layers: 1, Pages: pages, KVHeads: 1, HeadDim: c, Type: kernels.F32})
		for i, n := range []int{70, 1, 0, 33, 80, 7} {
			l := setBatch(s, b, kv, n, v, i%3 == 0)
			if b.Tokens() != n || b.Spec() != room || b.Bytes() <= 0 {
				t.Fatalf("a batch of %d tokens of %+v has %d of %+v in %d bytes", n, room, b.Tokens(), b.Spec(),
					b.Bytes())
			}
			s.list("ids", b.IDs(), l.IDs)
			s.list("positions", b.Pos(), l.Pos)
			s.list("slots", b.Slots(), l.Slots)
			s.list("rows", b.Rows(), l.Rows)
			y := s.out(fmt.Sprintf("y %d", i), n, c, rel(e.tol.F32))
			s.d.Embed(y, w, b)
			s.d.Gather(s.out(fmt.Sprintf("rows %d", i), len(l.Rows), c, bound{}), y, b.Rows())
			s.d.RoPE(y, 1, b, s.in("table", 30, c, angles(30, c)), false)
			s.d.KVWrite(kv, 0, y, y, b)
			s.d.Attention(s.out(fmt.Sprintf("attended %d", i), n, c, rel(e.tol.F32)), y, kernels.Tensor{}, kv, 0, b,
				0.5)
			scores := kernels.LogProbs{Logp: s.vecOut(fmt.Sprintf("logp %d", i), n, 1, nil, abs(e.tol.LogProb))}
			s.d.LogProb(scores, y, w, b.IDs(), 1)
			for from := 0; from < len(l.Draws); from += 7 {
				m := min(7, len(l.Draws)-from)
				ids := s.put(fmt.Sprintf("drawn %d from %d", i, from), kernels.I32, m, 1, s.packed(), nil, true,
					bound{})
				s.d.Sample(ids, kernels.LogProbs{}, logits.RowRange(from, m), b, from)
			}
		}
	}
	want, got := execute(t, e.ref, layouts[1], body), execute(t, e.d, layouts[1], body)
	for i := range want {
		near(t, batchRule, want[i], got[i])
	}
}

// setBatch sets b to a layout of n tokens and returns it, with the ids that were fed where that was asked for.
func setBatch(s *caseRun, b kernels.Batch, kv kernels.KV, n, v int, fed bool) *kernels.Layout {
	name, slots := fmt.Sprint(n), kv.Spec().Pages*kernels.PageSize
	l := kernels.Layout{IDs: below("ids"+name, n, v), Pos: below("pos"+name, n, 30)}
	l.Segs = []kernels.Segment{{Len: n, Pages: []int32{3, 1, 7}}}
	for _, i := range source("slots" + name).Perm(slots)[:n] {
		l.Slots = append(l.Slots, int32(i))
	}
	if n > 1 {
		l.Rows = below("rows"+name, n/2, n)
	}
	for i := range l.Rows {
		adjust := []kernels.Adjustment{{ID: int32(v - 1 - i), Add: 50}}
		l.Draws = append(l.Draws, kernels.Sampling{Greedy: true, InvTemp: 1, Adjust: adjust})
	}
	given := new(kernels.Layout)
	given.CopyFrom(&l)
	if !fed {
		s.d.SetBatch(b, given, kv, kernels.Tensor{}, nil)
		return &l
	}
	given.IDs[0], given.IDs[n-1] = 0, 0 // do not count
	l.IDs[0], l.IDs[n-1] = 17, int32(v-1)
	sampled := s.ints("sampled", []int32{int32(v - 1), 5, 17})
	s.d.SetBatch(b, given, kv, sampled, []kernels.SampledInput{{Row: int32(n - 1), From: 0}, {Row: 0, From: 2}})
	return &l
}

// list fails unless a tensor of a batch holds want.
func (s *caseRun) list(name string, x kernels.Tensor, want []int32) {
	s.t.Helper()
	if x.Rows != len(want) || x.Cols != 1 || x.Type != kernels.I32 {
		s.t.Fatalf("%s of a batch are %v, want i32[%d, 1]", name, x, len(want))
	}
	got := make([]int32, len(want))
	if err := kernels.Download(s.d, got, x); err != nil {
		s.t.Fatalf("Download: %v", err)
	}
	if !slices.Equal(got, want) {
		s.t.Fatalf("%s of a batch are %v, want %v\nrule: %s", name, got, want, batchRule)
	}
}

// testColumns multiplies with weights that share their input, made together, into columns of one matrix, and back from
// them.
func testColumns(t *testing.T, e *env) {
	for _, wt := range e.tol.weights() {
		for _, sh := range []shape{{0, 8, 33}, {1, 32, 33}, {9, 33, 7}, {35, 7, 64}, {5, 1, 1}} {
			t.Run(fmt.Sprintf("%v/%v", wt, sh), func(t *testing.T) {
				body := func(together bool) func(s *caseRun) {
					return func(s *caseRun) { columns(s, sh, wt, together, rel(e.tol.Chain)) }
				}
				want, got := execute(t, e.ref, layouts[0], body(false)), execute(t, e.d, layouts[2], body(true))
				for i := range want {
					near(t, "MatMuls into columns that follow each other writes those columns, each as the product "+
						"with its weight",
						want[i], got[i])
				}
				alone := execute(t, e.d, layouts[2], body(false))
				sameBits(t, "weights made together give the bits of weights made one by one", alone, got)
			})
		}
	}
}

func columns(s *caseRun, sh shape, wt kernels.DType, together bool, b bound) {
	ns := []int{sh.n, 5, sh.n + 3}
	total := 2*sh.n + 8
	var ws []kernels.Weight
	if together {
		all, err := kernels.NewWeights(s.d, sh.k, wt, ns...)
		if err != nil {
			s.t.Fatalf("NewWeights: %v", err)
		}
		for i, w := range all {
			s.frees = append(s.frees, w.Free)
			s.d.PackHost(w, 0, raw(normal(fmt.Sprint("w", i), ns[i]*sh.k, 1)), kernels.F32)
		}
		ws = all
	} else {
		for i, n := range ns {
			ws = append(ws, s.weight(n, sh.k, wt, normal(fmt.Sprint("w", i), n*sh.k, 1)))
		}
	}
	// One column before, between the second and the third, and behind stays as it was.
	y := s.inout("y", sh.t, total+3, normal("y", sh.t*(total+3), 1), b)
	x, dy := s.in("x", sh.t, sh.k, normal("x", sh.t*sh.k, 1)), s.in("dy", sh.t, total, normal("dy", sh.t*total, 1))
	to := make([]kernels.Product, 3)
	for i, at := range []int{1, 1 + ns[0], 2 + ns[0] + ns[1]} {
		to[i] = kernels.Product{Y: y.ColRange(at, ns[i]), W: ws[i]}
	}
	to[1].Bias = s.vec("bias", 1, ns[1], normal("bias", ns[1], 1))
	s.d.MatMuls(x, to)
	from := 0
	for i, w := range ws {
		dx := s.out(fmt.Sprint("dx", i), sh.t, sh.k, b)
		s.d.MatMulDX(dx, dy.ColRange(from, ns[i]), w, false, 0)
		s.d.Unpack(s.out(fmt.Sprint("w", i), ns[i], sh.k, bound{}), w, 0)
		from += ns[i]
	}
}

// testTransfers uploads to and fetches from any place of a buffer, any number of bytes.
func testTransfers(t *testing.T, e *env) {
	const n = 300
	for _, r := range [][2]int{{0, 1}, {1, 1}, {3, 61}, {64, 7}, {5, 0}, {1, n - 1}, {257, 43}} {
		off, size := r[0], r[1]
		t.Run(fmt.Sprintf("%d+%d", off, size), func(t *testing.T) {
			execute(t, e.d, layouts[0], func(s *caseRun) {
				src := bytes.Repeat([]byte{3, 1, 4, 1, 5, 9, 2}, n)[:size]
				image := bytes.Repeat(canary, n)[:n]
				x := s.put("x", kernels.U8, 1, n, s.layout, image, true, bound{})
				part := kernels.Tensor{Buf: x.Buf, Off: off, Rows: 1, Cols: size, Stride: size, Type: kernels.U8}
				kernels.Upload(s.d, part, src)
				copy(image[off:], src)
				for name, look := range map[string]struct {
					at   kernels.Tensor
					want []byte
				}{"the buffer": {x, image}, "the part": {part, src}} {
					got := make([]byte, len(look.want))
					if err := kernels.Download(s.d, got, look.at); err != nil {
						t.Fatalf("Download: %v", err)
					}
					if !bytes.Equal(got, look.want) {
						t.Fatalf("%s after an Upload to bytes [%d, %d) is %v, want %v\nrule: Upload and Fetch move "+
							"the bytes of the tensor and no others",
							name, off, off+size, got, look.want)
					}
				}
			})
		})
	}
}
