//go:build !nogpu && (linux || windows)

package cublaslt

import (
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/driver"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// GPU is a GPU of the driver with a handle of the library. Descriptors are made once for each shape; the workspace
// has one address and size for all products, so that they can be recorded and so that no choice of the library
// depends on free memory.
type GPU struct {
	*driver.GPU
	lib       *Library
	t         *table
	handle    uintptr
	descs     [2][2]uintptr // indexed by whether A and B are transposed
	pref      uintptr
	layouts   map[layout]uintptr
	workspace gpu.Ptr
	bytes     int // of workspace

	// The memory that a call points to. It is allocated once, so that its address does not change.
	args        [16]uintptr
	alpha, beta float32
	algorithm   gpu.Algorithm
}

var (
	_ gpu.GPU        = (*GPU)(nil)
	_ gpu.Multiplier = (*GPU)(nil)
)

// layout describes a matrix in memory.
type layout struct{ kind, rows, cols, ld int }

// Alignment is the alignment of all operands, in bytes.
const Alignment = 16

// workspaceBytes returns the size of the workspace that NVIDIA recommends: 32 MiB from Hopper on, else 4 MiB.
func workspaceBytes(major int) int {
	if major >= 9 {
		return 32 << 20
	}
	return 4 << 20
}

// On makes a handle of the library for g. Closing the GPU that it returns closes g too. After an error g stays usable.
func (l *Library) On(g *driver.GPU) (*GPU, error) {
	x := &GPU{GPU: g, lib: l, t: l.t, layouts: map[layout]uintptr{}, bytes: workspaceBytes(g.Props().Major)}
	err := func() error {
		defer g.Current()()
		if err := l.t.check(l.t.call(l.t.Create, uintptr(unsafe.Pointer(&x.handle))), "opening cuBLAS"); err != nil {
			return err
		}
		return x.describe()
	}()
	if err == nil {
		x.workspace, err = g.Alloc(int64(x.bytes))
	}
	if err != nil {
		x.release()
		return nil, fmt.Errorf("%s, cuBLAS %s: %w", l.Path, l.Version(), err)
	}
	return x, nil
}

// describe makes the descriptors that all products share.
func (g *GPU) describe() (err error) {
	for a := range g.descs {
		for b := range g.descs[a] {
			if g.descs[a][b], err = g.t.desc(int32(a), int32(b)); err != nil {
				return err
			}
		}
	}
	g.pref, err = g.t.preference(uint64(g.bytes))
	return err
}

// desc makes the descriptor of a product of BF16 matrices with sums in F32; transA and transB are
// 1 if that matrix is transposed, else 0.
func (t *table) desc(transA, transB int32) (d uintptr, err error) {
	s := t.call(t.MatmulDescCreate, uintptr(unsafe.Pointer(&d)), computeF32, typeF32)
	if err := t.check(s, "describing a product"); err != nil {
		return 0, err
	}
	s = t.call(t.MatmulDescSetAttribute, d, descTransA, uintptr(unsafe.Pointer(&transA)), 4)
	if err := t.check(s, "describing the transposition of A"); err != nil {
		return d, err
	}
	s = t.call(t.MatmulDescSetAttribute, d, descTransB, uintptr(unsafe.Pointer(&transB)), 4)
	return d, t.check(s, "describing the transposition of B")
}

// preference limits the algorithms that the library may choose: no split-K, the given workspace, operands aligned to
// Alignment.
func (t *table) preference(workspace uint64) (p uintptr, err error) {
	if err := t.check(t.call(t.MatmulPreferenceCreate, uintptr(unsafe.Pointer(&p))), "making preferences"); err != nil {
		return 0, err
	}
	note := func(attribute int, s status) {
		if err == nil {
			err = t.check(s, "setting preference %d", attribute)
		}
	}
	set := t.MatmulPreferenceSetAttribute
	var reductions, align uint32 = 0, Alignment
	note(prefWorkspace, t.call(set, p, prefWorkspace, uintptr(unsafe.Pointer(&workspace)), 8))
	note(prefReductions, t.call(set, p, prefReductions, uintptr(unsafe.Pointer(&reductions)), 4))
	for a := prefAlignA; a <= prefAlignD; a++ {
		note(a, t.call(set, p, uintptr(a), uintptr(unsafe.Pointer(&align)), 4))
	}
	return p, err
}

// Library returns the library's file and its version.
func (g *GPU) Library() string { return g.lib.Path + ", " + g.Version() }

// Version returns the library's name and version, such as "cuBLAS 13.10.0".
func (g *GPU) Version() string { return "cuBLAS " + g.lib.Version() }

// Close releases the handle, and then g.
func (g *GPU) Close() error {
	if g.handle != 0 {
		g.GPU.Sync()
	}
	g.release()
	return g.GPU.Close()
}

func (g *GPU) release() {
	if g.workspace != 0 {
		g.Free(g.workspace)
		g.workspace = 0
	}
	defer g.Current()()
	for _, l := range g.layouts {
		g.t.call(g.t.MatrixLayoutDestroy, l)
	}
	clear(g.layouts)
	for a := range g.descs {
		for b, d := range g.descs[a] {
			if d != 0 {
				g.t.call(g.t.MatmulDescDestroy, d)
			}
			g.descs[a][b] = 0
		}
	}
	if g.pref != 0 {
		g.t.call(g.t.MatmulPreferenceDestroy, g.pref)
	}
	if g.handle != 0 {
		g.t.call(g.t.Destroy, g.handle)
	}
	g.pref, g.handle = 0, 0
}

// layout returns the descriptor of a matrix, which it makes at the first call.
func (g *GPU) layout(kind, rows, cols, ld int) (uintptr, error) {
	key := layout{kind, rows, cols, ld}
	if l, ok := g.layouts[key]; ok {
		return l, nil
	}
	l, err := g.t.layout(key)
	if err == nil {
		g.layouts[key] = l
	}
	return l, err
}

func (t *table) layout(x layout) (l uintptr, err error) {
	s := t.call(t.MatrixLayoutCreate, uintptr(unsafe.Pointer(&l)), uintptr(x.kind), uintptr(x.rows), uintptr(x.cols),
		uintptr(x.ld))
	return l, t.check(s, "describing a matrix [%d, %d]", x.rows, x.cols)
}

// matrices returns the descriptors of A, B and D.
type matrices struct{ desc, a, b, d uintptr }

func (g *GPU) matrices(m *gpu.Mul) (x matrices, err error) {
	i, j := 0, 0
	ar, ac, br, bc := m.M, m.K, m.K, m.N
	if m.TransA {
		i, ar, ac = 1, m.K, m.M
	}
	if m.TransB {
		j, br, bc = 1, m.N, m.K
	}
	x.desc = g.descs[i][j]
	if x.a, err = g.layout(typeBF16, ar, ac, m.LDA); err != nil {
		return x, err
	}
	if x.b, err = g.layout(typeBF16, br, bc, m.LDB); err != nil {
		return x, err
	}
	x.d, err = g.layout(typeF32, m.M, m.N, m.LDD)
	return x, err
}

// result is a cublasLtMatmulHeuristicResult_t.
type result struct {
	algorithm gpu.Algorithm
	workspace uint64
	state     status
	waves     float32
	reserved  [4]int32
}

// mostAlgorithms is the number of algorithms that the heuristic is asked for.
const mostAlgorithms = 8

// Algorithms asks the library's heuristic for the algorithms of m, the fastest first.
func (g *GPU) Algorithms(m *gpu.Mul) (all []gpu.Algorithm, err error) {
	defer g.Current()()
	x, err := g.matrices(m)
	if err != nil {
		return nil, err
	}
	var found [mostAlgorithms]result
	var n int32
	s := g.t.call(g.t.MatmulAlgoGetHeuristic, g.handle, x.desc, x.a, x.b, x.d, x.d, g.pref, mostAlgorithms,
		uintptr(unsafe.Pointer(&found)), uintptr(unsafe.Pointer(&n)))
	if err := g.t.check(s, "choosing an algorithm for %v", m); err != nil {
		return nil, err
	}
	for i := range found[:n] {
		r := &found[i]
		if r.state != success || r.workspace > uint64(g.bytes) {
			continue
		}
		a := r.algorithm
		if err := g.t.whole(&a); err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: cuBLAS has no algorithm for %v", gpu.ErrRefused, m)
	}
	return all, nil
}

// whole sets an algorithm to sum over all k at once, without split-K.
func (t *table) whole(a *gpu.Algorithm) error {
	var splits int32
	var scheme uint32
	var written uintptr
	get, set := t.MatmulAlgoConfigGetAttribute, t.MatmulAlgoConfigSetAttribute
	s := t.call(get, uintptr(unsafe.Pointer(a)), configSplits, uintptr(unsafe.Pointer(&splits)), 4,
		uintptr(unsafe.Pointer(&written)))
	if err := t.check(s, "reading the number of splits"); err != nil {
		return err
	}
	s = t.call(get, uintptr(unsafe.Pointer(a)), configReduction, uintptr(unsafe.Pointer(&scheme)), 4,
		uintptr(unsafe.Pointer(&written)))
	if err := t.check(s, "reading the reduction scheme"); err != nil {
		return err
	}
	if splits <= 1 && scheme == 0 {
		return nil
	}
	splits, scheme = 1, 0
	s = t.call(set, uintptr(unsafe.Pointer(a)), configSplits, uintptr(unsafe.Pointer(&splits)), 4)
	if err := t.check(s, "setting the number of splits"); err != nil {
		return err
	}
	s = t.call(set, uintptr(unsafe.Pointer(a)), configReduction, uintptr(unsafe.Pointer(&scheme)), 4)
	return t.check(s, "setting the reduction scheme")
}

// Check asks the library whether the algorithm can compute m, and compares the workspace that it needs with ours.
func (g *GPU) Check(m *gpu.Mul, a *gpu.Algorithm) error {
	defer g.Current()()
	x, err := g.matrices(m)
	if err != nil {
		return err
	}
	var r result
	s := g.t.call(g.t.MatmulAlgoCheck, g.handle, x.desc, x.a, x.b, x.d, x.d, uintptr(unsafe.Pointer(a)),
		uintptr(unsafe.Pointer(&r)))
	if err := g.t.check(s, "checking an algorithm for %v", m); err != nil {
		return err
	}
	if r.workspace > uint64(g.bytes) {
		return fmt.Errorf("%w: %v needs %d bytes of workspace, and there are %d", gpu.ErrRefused, m, r.workspace,
			g.bytes)
	}
	return nil
}

// Multiply queues m. It makes the context of the GPU current at every call; otherwise the library would use the context
// of another GPU.
func (g *GPU) Multiply(m *gpu.Mul, a *gpu.Algorithm) error {
	defer g.Current()()
	x, err := g.matrices(m)
	if err != nil {
		return err
	}
	g.alpha, g.beta, g.algorithm = m.Alpha, m.Beta, *a
	g.args = [16]uintptr{g.handle, x.desc, uintptr(unsafe.Pointer(&g.alpha)), uintptr(m.A), x.a, uintptr(m.B), x.b,
		uintptr(unsafe.Pointer(&g.beta)), uintptr(m.D), x.d, uintptr(m.D), x.d, uintptr(unsafe.Pointer(&g.algorithm)),
		uintptr(g.workspace), uintptr(g.bytes), g.Stream()}
	r, _, _ := purego.SyscallN(g.t.Matmul, g.args[:]...)
	if s := status(uint32(r)); s != success {
		return g.t.check(s, "multiplying %v", m)
	}
	return nil
}
