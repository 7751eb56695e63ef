package cpu

import (
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// maxAttnTile is the largest number of rows of a tile of attention.
const maxAttnTile = 32

// attnKernels are the inner loops of attention for one path and one cache type. The plain Go ones document the others.
//
// Their matmuls differ from those of linear layers in the left operand A, which is row-major, because softmax reads and
// writes rows. The right operand is in panels and the chains are the same.
type attnKernels struct {
	mr     int  // rows of a tile at most
	amx    bool // accumulation as in num.DotAMX; values are multiplied a full page at a time
	size   int  // bytes of an element of A: 2 on paths that multiply BF16; else 4, rounded to BF16 if the cache is BF16
	scores [maxAttnTile + 1]func(*attnTile)
	values [maxAttnTile + 1]func(*attnTile)
	// softmax computes p = exp(scale*s - m) from the scores s, where m is the largest scale*s. p is rounded to the
	// element type of A, and p[len(s):n] is zero. It returns m and the sum (16 lanes) of the unrounded p. s and p have
	// room for multiples of 32 elements. Memory at ahead may be prefetched.
	softmax     func(p unsafe.Pointer, n int, s []float32, ahead unsafe.Pointer, scale float32) (m, sum float32)
	softmaxRows func(*attnSoftmax)                // softmax for all rows of a tile; nil: row by row
	narrow      func(dst []uint16, src []float32) // to BF16; denormals may become 0. nil: use rowKernels.narrow
	fold        func(o, part []float32, old, new float32)
	foldRows    func(*attnFold) // fold for all rows of a tile; nil: row by row
	divide      func(y, o []float32, by float32)
	// probs replaces s by p = exp(scale*s - lse), and dp by ds = scale*p*(dp - delta).
	probs     func(s, dp []float32, scale, lse, delta float32)
	probsRows func(*attnProbs) // probs for all rows of a block; nil: row by row
	// transpose and transposePage (nil: plain Go only) transpose blocks for the backward.
	transpose     func(dst []float32, ldd int, src []float32, lds, rows, cols int)
	transposePage func(keys, values, k, v []uint32, dim int)
	// AMX only. columns packs t rows of 32 columns as a tile of A, padding the last block with zeros.
	columns func(dst []uint32, src []float32, ld, t int)
	pairs   func(*attnPairs)
	over    func(*attnOver)
}

// attnTile is a matmul of rows of A with panels. Assembly refers to the fields by name.
//
//	scores: for each panel i of n: C[rows][32 columns from 32i] = A[rows][steps] b[i][steps][32]
//	values: C[rows][32 columns] = sum over panels i, in order, of A[rows][steps of i] b[i][steps of i][32], from C if chain
type attnTile struct {
	rows  int
	a     unsafe.Pointer
	lda   int             // bytes from row to row
	b     *unsafe.Pointer // n panels, off bytes from where they point to
	off   int
	n     int
	steps int // of each panel
	last  int // values: of the last one
	c     unsafe.Pointer
	ldc   int // bytes from row to row
	chain int // 0 or 1
	// addresses to prefetch: n pointers, plus aheadOff bytes; as many bytes of each as of b
	ahead    *unsafe.Pointer
	aheadOff int
}

// attnSoftmax turns rows of scores into probabilities, with m and the sum of each row: see attnKernels. Scores are
// scaled in place. Rows have room for multiples of 64 elements. Assembly refers to the fields by name.
type attnSoftmax struct {
	rows  int
	s     unsafe.Pointer // float32, lds bytes from row to row
	lds   int
	p     unsafe.Pointer // n elements of A, ldp bytes from row to row
	ldp   int
	n     int
	scale float32
	sees  [maxAttnTile]int     // the keys that each row sees
	m, l  [maxAttnTile]float32 // results
}

// run computes the probabilities of all rows.
func (t *attnSoftmax) run(k *attnKernels, ahead *[partitionPages]unsafe.Pointer) {
	if k.softmaxRows != nil {
		k.softmaxRows(t)
		return
	}
	for i := range t.rows {
		s := unsafe.Slice((*float32)(unsafe.Add(t.s, i*t.lds)), t.sees[i])
		t.m[i], t.l[i] = k.softmax(unsafe.Add(t.p, i*t.ldp), t.n, s, ahead[i%partitionPages], t.scale)
	}
}

// attnFold merges rows of outputs with those of one more partition: o = o*old + part*new. Assembly refers to the fields
// by name.
type attnFold struct {
	rows, cols int
	o, part    unsafe.Pointer // float32 of rows, ldo and ldpart bytes from row to row
	ldo        int
	ldpart     int
	factors    *float32 // old and new of each row
}

// run merges rows.
func (t *attnFold) run(k *attnKernels) {
	if k.foldRows != nil {
		k.foldRows(t)
		return
	}
	f := unsafe.Slice(t.factors, 2*t.rows)
	for i := range t.rows {
		o, part := unsafe.Add(t.o, i*t.ldo), unsafe.Add(t.part, i*t.ldpart)
		k.fold(unsafe.Slice((*float32)(o), t.cols), unsafe.Slice((*float32)(part), t.cols), f[2*i], f[2*i+1])
	}
}

// run computes any number of rows in tiles of about equal height.
func (t attnTile) run(mr int, tiles *[maxAttnTile + 1]func(*attnTile)) {
	rows, a, c := t.rows, t.a, t.c
	nt := (rows + mr - 1) / mr
	for i := range nt {
		lo, hi := rows*i/nt, rows*(i+1)/nt
		t.rows, t.a, t.c = hi-lo, unsafe.Add(a, lo*t.lda), unsafe.Add(c, lo*t.ldc)
		tiles[t.rows](&t)
	}
}

var (
	attnPlainF32 = attnKernels{
		mr: 4, size: 4, scores: plainTiles(scoresWith(stepsF32)), values: plainTiles(valuesWith(stepsF32)),
		softmax: softmaxF32, fold: fold2, divide: divide, probs: probs, transpose: transpose,
	}
	attnPlainBF16 = attnKernels{
		mr: 4, size: 4, scores: plainTiles(scoresWith(stepsBF16)), values: plainTiles(valuesWith(stepsBF16)),
		softmax: softmaxWide, fold: fold2, divide: divide, probs: probs, transpose: transpose,
	}
)

func plainTiles(f func(*attnTile)) (all [maxAttnTile + 1]func(*attnTile)) {
	for i := range all {
		all[i] = f
	}
	return all
}

// attn returns the kernels for a cache. AMX needs D to be a multiple of 32.
func (d *Device) attn(s kernels.KVSpec) *attnKernels {
	if d.amxAttn != nil && s.Type == kernels.BF16 && s.HeadDim%num.BlockAMX == 0 {
		return d.amxAttn
	}
	return attnOf(d.isa, s.Type)
}

// row writes x as a row of A of n elements, padded with zeros.
func (k *attnKernels) row(r *rowKernels, a unsafe.Pointer, t kernels.DType, n int, x []float32) {
	switch {
	case k.size == 2:
		y := unsafe.Slice((*uint16)(a), n)
		if k.narrow != nil {
			k.narrow(y[:len(x)], x)
		} else {
			r.narrow(y[:len(x)], x)
		}
		clear(y[len(x):])
	case t == kernels.BF16:
		y := unsafe.Slice((*float32)(a), n)
		r.round(y[:len(x)], x)
		clear(y[len(x):])
	default:
		packF32(a, n, x)
	}
}

// stepsF32 continues the chains c of a row by steps of a and a panel b, and returns the bytes of a that it took.
func stepsF32(c *[panelCols]float32, a, b unsafe.Pointer, steps int) int {
	for s := range steps {
		x := *at[float32](a, 4*s)
		for j, w := range at[[panelCols]float32](b, 4*panelCols*s) {
			c[j] = num.FMA32(x, w, c[j])
		}
	}
	return 4 * steps
}

// stepsBF16: see tileBF16.
func stepsBF16(c *[panelCols]float32, a, b unsafe.Pointer, steps int) int {
	for s := range steps {
		x := at[[2]float32](a, 8*s)
		for j, u := range at[[panelCols]uint32](b, 4*panelCols*s) {
			v := float32(x[1]*float(u&0xffff0000)) + c[j]
			c[j] = float32(x[0]*float(u<<16)) + v
		}
	}
	return 8 * steps
}

type chainSteps32 func(c *[panelCols]float32, a, b unsafe.Pointer, steps int) int

func scoresWith(f chainSteps32) func(*attnTile) {
	return func(t *attnTile) {
		for r := range t.rows {
			for i, b := range unsafe.Slice(t.b, t.n) {
				var c [panelCols]float32
				f(&c, unsafe.Add(t.a, r*t.lda), unsafe.Add(b, t.off), t.steps)
				*at[[panelCols]float32](t.c, r*t.ldc+4*panelCols*i) = c
			}
		}
	}
}

func valuesWith(f chainSteps32) func(*attnTile) {
	return func(t *attnTile) {
		for r := range t.rows {
			var c [panelCols]float32
			y := at[[panelCols]float32](t.c, r*t.ldc)
			if t.chain != 0 {
				c = *y
			}
			a := unsafe.Add(t.a, r*t.lda)
			for i, b := range unsafe.Slice(t.b, t.n) {
				steps := t.steps
				if i == t.n-1 {
					steps = t.last
				}
				a = unsafe.Add(a, f(&c, a, unsafe.Add(b, t.off), steps))
			}
			*y = c
		}
	}
}

func packF32(a unsafe.Pointer, n int, x []float32) {
	y := unsafe.Slice((*float32)(a), n)
	clear(y[copy(y, x):])
}

func softmaxF32(p unsafe.Pointer, n int, s []float32, _ unsafe.Pointer, scale float32) (m, sum float32) {
	y := unsafe.Slice((*float32)(p), n)
	for i, x := range s {
		y[i] = x * scale
	}
	m = maximum(y[:len(s)])
	var a lanes16
	for i, x := range y[:len(s)] {
		y[i] = exp(x - m)
		a[i%16] += y[i]
	}
	clear(y[len(s):])
	return m, a.sum()
}

func softmaxWide(p unsafe.Pointer, n int, s []float32, _ unsafe.Pointer, scale float32) (m, sum float32) {
	m, sum = softmaxF32(p, n, s, nil, scale)
	y := unsafe.Slice((*float32)(p), n)
	num.RoundBF16Slice(y, y)
	return m, sum
}

// maximum is the largest element that is a number, -Inf if there is none.
func maximum(x []float32) float32 {
	m := negInf
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

var negInf = float(0xff800000)

// words sees float32 as the words of a panel.
func words(x []float32) []uint32 { return unsafe.Slice((*uint32)(ptr(x)), len(x)) }

func fold2(o, part []float32, old, new float32) {
	for i, x := range part {
		o[i] = float32(o[i]*old) + float32(x*new)
	}
}

func divide(y, o []float32, by float32) {
	for i, x := range o {
		y[i] = x / by
	}
}

func probs(s, dp []float32, scale, lse, delta float32) {
	for i, x := range s {
		p := exp(float32(x*scale) - lse)
		s[i], dp[i] = p, scale*p*(dp[i]-delta)
	}
}
