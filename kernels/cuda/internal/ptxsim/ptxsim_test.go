package ptxsim

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// kernel wraps lines in a kernel named k with four 64-bit parameters, a block of shared memory and registers of all
// kinds.
func kernel(t testing.TB, body string) *Kernel {
	t.Helper()
	m, err := Parse(`.version 7.1
.target sm_80
.address_size 64
.extern .shared .align 16 .b8 dyn[];
.visible .entry k(
	.param .u64 .ptr .align 1 k_param_0,
	.param .u64 k_param_1,
	.param .u64 k_param_2,
	.param .u64 k_param_3
)
{
	.reg .pred %p<4>;
	.reg .b16 %rs<8>;
	.reg .b32 %r<40>;
	.reg .b64 %rd<10>;
	.shared .align 16 .b8 tile[1024];
	ld.param.b64 %rd0, [k_param_0];
	ld.param.b64 %rd1, [k_param_1];
	ld.param.b64 %rd2, [k_param_2];
	ld.param.b64 %rd3, [k_param_3];
	cvta.to.global.u64 %rd0, %rd0;
	mov.u32 %r0, %tid.x;
` + body + `
	ret;
}
`)
	require.NoError(t, err)
	return m.Kernels["k"]
}

// TestInstructions: one instruction in one thread, from two or three registers to one.
func TestInstructions(t *testing.T) {
	f := func(x float64) uint64 { return uint64(math.Float32bits(float32(x))) }
	d := math.Float64bits
	neg := func(x int32) uint64 { return uint64(uint32(x)) }
	nan := uint64(0x7fc00000)
	for _, c := range []struct {
		op            string
		x, y, z, want uint64
	}{
		{"add.s32 R, X, Y", neg(-5), 3, 0, neg(-2)}, {"sub.s32 R, X, Y", 3, 5, 0, neg(-2)},
		{"add.s64 R, X, Y", 1 << 40, 5, 0, 1<<40 + 5},
		{"mul.lo.s32 R, X, Y", 1 << 20, 1 << 13, 0, 0}, {"mul.hi.u32 R, X, Y", 1 << 31, 6, 0, 3},
		{"mul.hi.s32 R, X, Y", neg(-2), 1 << 31, 0, 1},
		{"mul.wide.s32 R, X, Y", neg(-2), 3, 0, ^uint64(5)}, {"mul.wide.u32 R, X, Y", neg(-1), 2, 0, 2 * (1<<32 - 1)},
		{"mul.wide.u16 R, X, Y", 65535, 3, 0, 196605},
		{"mad.lo.s64 R, X, Y, Z", 7, 8, 9, 65}, {"mad.wide.u32 R, X, Y, Z", 1 << 31, 4, 1 << 40, 1<<33 + 1<<40},
		{"mad.lo.s32 R, X, Y, Z", neg(-1), 5, 7, 2},
		{"div.s32 R, X, Y", neg(-7), 2, 0, neg(-3)}, {"rem.s32 R, X, Y", neg(-7), 2, 0, neg(-1)},
		{"div.u32 R, X, Y", neg(-7), 2, 0, 2147483644}, {"rem.u32 R, X, Y", 17, 5, 0, 2},
		{"and.b32 R, X, Y", 12, 10, 0, 8}, {"or.b32 R, X, Y", 12, 10, 0, 14}, {"xor.b64 R, X, Y", 12, 10, 0, 6},
		{"not.b32 R, X", 1, 0, 0, 0xfffffffe},
		{"shl.b32 R, X, Y", 3, 31, 0, 1 << 31}, {"shl.b32 R, X, Y", 3, 32, 0, 0},
		{"shr.u32 R, X, Y", 1 << 31, 31, 0, 1}, {"shr.s32 R, X, Y", 1 << 31, 40, 0, 0xffffffff},
		{"min.s32 R, X, Y", neg(-1), 1, 0, neg(-1)}, {"min.u32 R, X, Y", neg(-1), 1, 0, 1},
		{"max.s32 R, X, Y", neg(-1), 1, 0, 1}, {"max.u64 R, X, Y", 9, 1 << 50, 0, 1 << 50},
		{"neg.s32 R, X", 5, 0, 0, neg(-5)}, {"abs.s32 R, X", neg(-5), 0, 0, 5}, {"popc.b32 R, X", 0xff, 0, 0, 8},
		{"clz.b32 R, X", 1, 0, 0, 31}, {"brev.b32 R, X", 1, 0, 0, 1 << 31},
		{"bfe.u32 R, X, Y, Z", 0xabcd, 4, 8, 0xbc}, {"bfe.s32 R, X, Y, Z", 0xabcd, 4, 8, 0xffffffbc},
		{"bfe.s64 R, X, Y, Z", 0x7bcd, 12, 8, 7},
		{"bfe.s32 R, X, Y, Z", 1 << 31, 28, 8, 0xfffffff8}, {"bfi.b32 R, X, Y, 8, 4", 0x5, 0xffff, 0, 0xf5ff},
		{"prmt.b32 R, X, Y, Z", 0x33221100, 0x77665544, 0x5410, 0x55441100},
		{"prmt.b32 R, X, Y, Z", 0x80, 0, 0x8888, 0xffffffff},
		{"cvt.s64.s32 R, X", neg(-3), 0, 0, ^uint64(2)}, {"cvt.s8.s64 R, X", 0x3fd, 0, 0, neg(-3)},
		{"cvt.u64.u32 R, X", neg(-3), 0, 0, 1<<32 - 3}, {"cvt.u32.u64 R, X", 1<<40 + 7, 0, 0, 7},
		{"cvt.u16.u32 R, X", 65537, 0, 0, 1},
		{"cvt.rn.f32.s32 R, X", neg(-3), 0, 0, f(-3)}, {"cvt.rn.f32.u32 R, X", neg(-1), 0, 0, f(1 << 32)},
		{"cvt.rzi.s32.f32 R, X", f(-3.9), 0, 0, neg(-3)},
		{"cvt.rzi.u32.f32 R, X", f(-1), 0, 0, 0}, {"cvt.rni.s32.f32 R, X", f(2.5), 0, 0, 2},
		{"cvt.rzi.s32.f32 R, X", nan, 0, 0, 0}, {"cvt.rzi.s32.f32 R, X", f(1e20), 0, 0, 1<<31 - 1},
		{"cvt.f64.f32 R, X", f(1.5), 0, 0, d(1.5)}, {"cvt.rn.f32.f64 R, X", d(0.1), 0, 0, f(0.1)},
		{"cvt.rn.f64.u64 R, X", 3, 0, 0, d(3)}, {"cvt.f32.f16 R, X", 0x3e00, 0, 0, f(1.5)},
		{"cvt.rn.bf16x2.f32 R, X, Y", f(1), f(1 + 1.0/256), 0, 0x3f803f80},
		{"cvt.rn.bf16x2.f32 R, X, Y", f(-2), f(1 + 3.0/256), 0, 0xc0003f82},
		{"add.rn.f32 R, X, Y", f(1), f(1e-8), 0, f(1)}, {"sub.rn.f32 R, X, Y", f(1), f(3), 0, f(-2)},
		{"mul.rn.f32 R, X, Y", f(3), f(0.5), 0, f(1.5)}, {"div.rn.f32 R, X, Y", f(1), f(3), 0, f(1.0 / 3)},
		{"fma.rn.f32 R, X, Y, Z", f(1 + 1.0/(1<<23)), f(1 + 1.0/(1<<23)), f(-1), f(2.0/(1<<23) + 1.0/(1<<46))},
		{"rcp.rn.f32 R, X", f(3), 0, 0, f(1.0 / 3)},
		{"sqrt.rn.f32 R, X", f(2), 0, 0, f(math.Sqrt2)}, {"rsqrt.approx.f32 R, X", f(4), 0, 0, f(0.5)},
		{"ex2.approx.ftz.f32 R, X", f(-3), 0, 0, f(0.125)}, {"ex2.approx.ftz.f32 R, X", f(-140), 0, 0, 0},
		{"lg2.approx.ftz.f32 R, X", f(8), 0, 0, f(3)}, {"neg.f32 R, X", f(1), 0, 0, f(-1)},
		{"abs.f32 R, X", f(-1), 0, 0, f(1)}, {"mul.ftz.f32 R, X, Y", 1, f(1), 0, 0},
		{"max.f32 R, X, Y", nan, f(2), 0, f(2)}, {"max.NaN.f32 R, X, Y", nan, f(2), 0, nan},
		{"min.f32 R, X, Y", f(3), f(2), 0, f(2)}, {"max.f32 R, X, Y", f(math.Copysign(0, -1)), 0, 0, 0},
		{"add.rn.f64 R, X, Y", d(1), d(2), 0, d(3)}, {"fma.rn.f64 R, X, Y, Z", d(2), d(3), d(4), d(10)},
		{"div.rn.f64 R, X, Y", d(1), d(4), 0, d(0.25)}, {"sqrt.rn.f64 R, X", d(9), 0, 0, d(3)},
		{"mov.b32 R, 0f3FC00000", 0, 0, 0, f(1.5)}, {"mov.b64 R, 0d3FF8000000000000", 0, 0, 0, d(1.5)},
		{"mov.b32 R, -1", 0, 0, 0, 0xffffffff},
	} {
		body := "mov.b64 %rd4, %rd1;\nmov.b64 %rd5, %rd2;\nmov.b64 %rd6, %rd3;\n" +
			strings.NewReplacer("R", "%rd7", "X", "%rd4", "Y", "%rd5", "Z", "%rd6").Replace(c.op) +
			";\nst.global.b64 [%rd0], %rd7;"
		m := &Memory{}
		out := m.Alloc(8)
		require.NoError(t, kernel(t, body).Launch(m, Grid{1, 1, 1, 1, 0}, out, c.x, c.y, c.z), c.op)
		b, err := m.Bytes(out, 8)
		require.NoError(t, err)
		require.Equal(t, c.want, binary.LittleEndian.Uint64(b), "%s of %#x, %#x, %#x", c.op, c.x, c.y, c.z)
	}
}

// TestComparisons: setp with every comparison, of floats with NaN, and combined with another predicate.
func TestComparisons(t *testing.T) {
	one, two, nan := uint64(math.Float32bits(1)), uint64(math.Float32bits(2)), uint64(0x7fc00000)
	for op, want := range map[string][3]int{ // of (1, 2), (2, 2) and (NaN, 2)
		"lt.f32": {1, 0, 0}, "le.f32": {1, 1, 0}, "gt.f32": {0, 0, 0}, "ge.f32": {0, 1, 0}, "eq.f32": {0, 1, 0},
		"ne.f32":  {1, 0, 0},
		"ltu.f32": {1, 0, 1}, "leu.f32": {1, 1, 1}, "gtu.f32": {0, 0, 1}, "geu.f32": {0, 1, 1}, "equ.f32": {0, 1, 1},
		"neu.f32": {1, 0, 1},
		"num.f32": {1, 1, 0}, "nan.f32": {0, 0, 1}, "lt.s32": {1, 0, 0}, "gt.u32": {0, 0, 1}, "eq.b32": {0, 1, 0},
		"ne.b64": {1, 0, 1},
	} {
		for i, x := range []uint64{one, two, nan} {
			m := &Memory{}
			out := m.Alloc(8)
			k := kernel(t, "setp."+op+" %p0, %rd1, %rd2;\nselp.b32 %r1, 1, 0, %p0;\nsetp.eq.and.b32 %p1, %rd2, %rd2, "+
				"%p0;\nselp.b32 %r2, 1, 0, %p1;\nst.global.v2.b32 [%rd0], {%r1, %r2};")
			require.NoError(t, k.Launch(m, Grid{1, 1, 1, 1, 0}, out, x, two, uint64(0)))
			require.Equal(t, []int32{int32(want[i]), int32(want[i])}, ints(t, m, out, 2), "%s of %#x", op, x)
		}
	}
}

func ints(t testing.TB, m *Memory, addr uint64, n int) []int32 {
	b, err := m.Bytes(addr, 4*n)
	require.NoError(t, err)
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

// launch runs body with n threads and returns a word of each.
func launch(t testing.TB, n int, body string) ([]int32, error) {
	m := &Memory{}
	out := m.Alloc(4 * n)
	err := kernel(t, "mul.wide.u32 %rd9, %r0, 4;\nadd.s64 %rd9, %rd9, %rd0;\n"+body).Launch(m, Grid{1, 1, 1, n, 0}, out,
		uint64(0), uint64(0), uint64(0))
	return ints(t, m, out, n), err
}

// TestDivergence: lanes that part run their own loops and branches, and come together for what the warp does as a
// whole.
func TestDivergence(t *testing.T) {
	got, err := launch(t, 70, `
	mov.b32 %r1, 0;
	mov.b32 %r2, 0;
LOOP:
	setp.ge.u32 %p0, %r2, %r0;
	@%p0 bra DONE;
	add.s32 %r1, %r1, %r2;
	add.s32 %r2, %r2, 1;
	bra.uni LOOP;
DONE:
	and.b32 %r3, %r0, 1;
	setp.eq.s32 %p1, %r3, 0;
	@!%p1 bra ODD;
	mul.lo.s32 %r1, %r1, 10;
	bra.uni END;
ODD:
	neg.s32 %r1, %r1;
END:
	st.global.b32 [%rd9], %r1;`)
	require.NoError(t, err)
	for i, x := range got {
		want := int32(i * (i - 1) / 2)
		if want *= 10; i%2 == 1 {
			want /= -10
		}
		require.Equal(t, want, x, "thread %d", i)
	}
}

// TestWarp: shuffles, votes and shared memory between barriers.
func TestWarp(t *testing.T) {
	for mode, want := range map[string]func(l int) int{
		"bfly": func(l int) int { return l ^ 5 }, "idx": func(l int) int { return 5 },
		"down": func(l int) int {
			if l+5 > 31 {
				return l
			}
			return l + 5
		},
		"up": func(l int) int {
			if l < 5 {
				return l
			}
			return l - 5
		},
	} {
		clamp := 31
		if mode == "up" {
			clamp = 0
		}
		got, err := launch(t, 64,
			fmt.Sprintf("shfl.sync.%s.b32 %%r1|%%p0, %%r0, 5, %d, -1;\nst.global.b32 [%%rd9], %%r1;", mode, clamp))
		require.NoError(t, err)
		for i, x := range got {
			require.Equal(t, int32(i/32*32+want(i%32)), x, "%s, thread %d", mode, i)
		}
	}
	got, err := launch(t, 32,
		"setp.gt.u32 %p0, %r0, 29;\nvote.sync.ballot.b32 %r1, %p0, -1;\nst.global.b32 [%rd9], %r1;")
	require.NoError(t, err)
	require.Equal(t, int32(-1<<30), got[7])
	got, err = launch(t, 128, `
	mul.wide.u32 %rd4, %r0, 4;
	mov.b64 %rd5, tile;
	add.s64 %rd4, %rd4, %rd5;
	st.shared.b32 [%rd4], %r0;
	bar.sync 0;
	xor.b32 %r1, %r0, 127;
	mul.wide.u32 %rd4, %r1, 4;
	add.s64 %rd4, %rd4, %rd5;
	ld.shared.b32 %r2, [%rd4];
	st.global.b32 [%rd9], %r2;`)
	require.NoError(t, err)
	for i, x := range got {
		require.Equal(t, int32(127-i), x)
	}
}

// TestLoopsMeet: lanes that come to a vote again from different parts of a loop vote together.
func TestLoopsMeet(t *testing.T) {
	got, err := launch(t, 32, `
	mov.b32 %r1, 0;
	mov.b32 %r2, 0;
LOOP:
	setp.eq.u32 %p0, %r0, %r2;
	vote.sync.any.pred %p1, %p0, -1;
	add.s32 %r2, %r2, 1;
	setp.ge.u32 %p1, %r2, 3;
	@%p1 bra END;
	@!%p0 bra LOOP;
	add.s32 %r1, %r1, 7;
	bra.uni LOOP;
END:
	st.global.b32 [%rd9], %r1;`)
	require.NoError(t, err)
	require.Equal(t, []int32{7, 7, 0, 0}, got[:4])
}

// TestAtomics: what all threads add to one word arrives there, and each finds another number before.
func TestAtomics(t *testing.T) {
	got, err := launch(t, 64, `
	mov.b64 %rd5, tile;
	cvt.u32.u64 %r5, %rd5;
	setp.ne.u32 %p0, %r0, 0;
	mov.b32 %r1, 5;
	@!%p0 st.shared.b32 [%rd5], %r1;
	bar.sync 0;
	atom.shared.add.u32 %r2, [%r5], 3;
	bar.sync 0;
	ld.shared.b32 %r3, [%rd5];
	mad.lo.s32 %r2, %r3, 1000, %r2;
	st.global.b32 [%rd9], %r2;`)
	require.NoError(t, err)
	for i, x := range got {
		require.Equal(t, int32((5+3*64)*1000+5+3*i), x)
	}
}

// TestFaults: what a GPU would run by luck, or not at all, is named with its place.
func TestFaults(t *testing.T) {
	const shared = "mov.b64 %rd5, tile;\nmul.wide.u32 %rd4, %r0, 4;\nadd.s64 %rd4, %rd4, %rd5;\n"
	const add = "mov.b64 %rd5, tile;\ncvt.u32.u64 %r5, %rd5;\natom.shared.add.u32 %r1, [%r5], 1;\n"
	for name, c := range map[string]struct{ body, want string }{
		"beyond an allocation": {"st.global.b32 [%rd9+1024], %r0;", "out of bounds"},
		"before an allocation": {"ld.global.b32 %r1, [%rd0+-4];", "out of bounds"},
		"misaligned":           {"ld.global.b32 %r1, [%rd0+2];", "misaligned"},
		"misaligned vector":    {"ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd0+8];", "misaligned"},
		"beyond shared memory": {"mov.b64 %rd5, tile;\nst.shared.b32 [%rd5+1024], %r0;",
			"of shared memory, which has"},
		"shared memory that is not set": {"mov.b64 %rd5, tile;\nld.shared.b32 %r1, [%rd5];", "was never written"},
		"a race, write after write": {"mov.b64 %rd5, tile;\nst.shared.b32 [%rd5], %r0;",
			"wrote it too, and no barrier"},
		"a race, read after write": {shared + "st.shared.b32 [%rd4], %r0;\nld.shared.b32 %r1, [%rd5];",
			"wrote it, and no barrier"},
		"a race, write after read": {shared +
			"st.shared.b32 [%rd4], %r0;\nbar.sync 0;\nld.shared.b32 %r1, [%rd5];\nst.shared.b32 [%rd4], %r0;",
			"read it, and no barrier"},
		"a barrier in a branch": {
			"setp.lt.u32 %p0, %r0, 40;\n@%p0 bra HERE;\nbra.uni END;\nHERE:\nbar.sync 0;\nEND:", "never reach"},
		"a barrier for half a warp": {"setp.lt.u32 %p0, %r0, 16;\n@!%p0 bra END;\nbar.sync 0;\nEND:",
			"never reach"},
		"a shuffle in a branch": {
			"setp.lt.u32 %p0, %r0, 16;\n@!%p0 ret;\nshfl.sync.bfly.b32 %r1, %r0, 16, 31, -1;", "has ended"},
		"a copy that is not waited for": {"mov.b64 %rd5, tile;\ncvt.u32.u64 %r5, %rd5;\nmul.lo.s32 %r6, %r0, " +
			"4;\nadd.s32 %r5, %r5, %r6;\ncp.async.ca.shared.global [%r5], [%rd9], " +
			"4;\ncp.async.commit_group;\nld.shared.b32 %r1, [%r5];", "has not been waited for"},
		"a copy that others wait for": {"mov.b64 %rd5, tile;\ncvt.u32.u64 %r5, %rd5;\nmul.lo.s32 %r6, %r0, " +
			"4;\nadd.s32 %r7, %r5, %r6;\ncp.async.ca.shared.global [%r7], [%rd9], " +
			"4;\ncp.async.commit_group;\ncp.async.wait_group 0;\nld.shared.b32 %r1, [%r5];",
			"wrote it, and no barrier"},
		"an atomic on what is not set": {add, "was never written"},
		"an atomic beside a write": {shared + "st.shared.b32 [%rd4], %r0;\n" + add,
			"wrote it too, and no barrier"},
		"a read after atomics": {shared + "st.shared.b32 [%rd4], %r0;\nbar.sync 0;\n" + add +
			"ld.shared.b32 %r1, [%rd5];", "atomics changed it, and no barrier"},
		"a write after atomics": {shared + "st.shared.b32 [%rd4], %r0;\nbar.sync 0;\n" + add +
			"st.shared.b32 [%rd5], %r0;", "atomics changed it too, and no barrier"},
		"division by zero": {"div.s32 %r1, %r0, 0;", "division by zero"},
		"an endless wait is no deadlock": {
			"setp.eq.u32 %p0, %r0, 3;\n@%p0 bra A;\nbar.warp.sync -1;\nbra.uni END;\nA:\nbar.warp.sync -1;\nEND:",
			"all must come together"},
	} {
		_, err := launch(t, 64, c.body)
		require.ErrorContains(t, err, c.want, name)
		var f *Fault
		require.ErrorAs(t, err, &f, name)
		require.Equal(t, "k", f.Kernel)
		require.Positive(t, f.Line)
	}
	// Two blocks that write one word.
	m := &Memory{}
	out := m.Alloc(8)
	k := kernel(t, "mov.u32 %r1, %ctaid.x;\nst.global.b32 [%rd0], %r1;")
	require.ErrorContains(t, k.Launch(m, Grid{2, 1, 1, 1, 0}, out, uint64(0), uint64(0), uint64(0)),
		"another block of this launch")
	require.NoError(t, k.Launch(m, Grid{1, 1, 1, 1, 0}, out, uint64(0), uint64(0), uint64(0)), "two launches may")
	// Two blocks that read a word, of which the second writes it; and two that each read and write a byte of a word.
	last := "mov.u32 %r1, %ctaid.x;\nsetp.eq.u32 %p0, %r1, 1;\nld.global.b32 %r2, [%rd0];\n@%p0 st.global.b32 " +
		"[%rd0], %r1;"
	err := kernel(t, last).Launch(m, Grid{2, 1, 1, 1, 0}, out, uint64(0), uint64(0), uint64(0))
	require.ErrorContains(t, err, "another block of this launch")
	own := "mov.u32 %r1, %ctaid.x;\ncvt.u64.u32 %rd5, %r1;\nadd.s64 %rd5, %rd5, %rd0;\nld.global.b8 %r2, [%rd5];\n" +
		"st.global.b8 [%rd5], %r1;"
	require.NoError(t, kernel(t, own).Launch(m, Grid{2, 1, 1, 1, 0}, out, uint64(0), uint64(0), uint64(0)))
	require.NoError(t, m.Free(out))
	require.ErrorContains(t, k.Launch(m, Grid{1, 1, 1, 1, 0}, out, uint64(0), uint64(0), uint64(0)), "out of bounds")
	require.Error(t, m.Free(out))
	require.ErrorContains(t, k.Launch(m, Grid{1, 1, 1, 1, 0}, out), "1 arguments for 4 parameters")
	require.ErrorContains(t, k.Launch(m, Grid{1, 1, 1, 2000, 0}, out, uint64(0), uint64(0), uint64(0)),
		"no GPU runs the grid")
}

// TestUnknown: what is not understood is an error with its line, never left out.
func TestUnknown(t *testing.T) {
	for body, want := range map[string]string{
		"tex.1d.v4.f32.s32 {%r1,%r2,%r3,%r4}, [x, {%r0}];": "not known",
		"add.f16 %rs1, %rs2, %rs3;":                        "not known",
		"atom.global.add.u32 %r1, [%rd0], 1;":              "not known",
		"add.s32 %r1, %r2;":                                "2 operands instead of 3",
		"add.s32 %q1, %r2, %r3;":                           "no register %q1",
		"shfl.sync.bfly.b32 %r1, %r0, 1, 31, 255;":         "member mask",
		"bra NOWHERE;":                                     "not there",
		"ld.param.b64 %rd4, [k_param_9];":                  "no parameter",
		"cvt.s32.f32 %r1, %r2;":                            "not known",
		"ld.local.b32 %r1, [%rd0];":                        "local and constant memory",
	} {
		_, err := Parse(
			".visible .entry k(\n.param .u64 k_param_0\n)\n{\n.reg .b16 %rs<5>;\n.reg .b32 %r<9>;\n.reg .b64 %rd<9>;\n" + body + "\nret;\n}\n")
		require.ErrorContains(t, err, want, body)
		require.ErrorContains(t, err, "line ", body)
	}
	_, err := Parse(".visible .func f()\n")
	require.ErrorContains(t, err, "not understood")
}

// TestMatrix: ldmatrix, plain and transposed, and mma give the product of two matrices.
func TestMatrix(t *testing.T) {
	m := &Memory{}
	// A [16, 16] and B [8, 16] (that is, its columns), then D [16, 8].
	in, out := m.Alloc(2*(16*16+8*16)), m.Alloc(4*16*8)
	b, err := m.Bytes(in, 2*(16*16+8*16))
	require.NoError(t, err)
	a, w := make([]float32, 256), make([]float32, 128)
	for i := range a {
		a[i] = float32(i%13 - 6)
		binary.LittleEndian.PutUint16(b[2*i:], uint16(math.Float32bits(a[i])>>16))
	}
	for i := range w {
		w[i] = float32(i%7 - 3)
		binary.LittleEndian.PutUint16(b[512+2*i:], uint16(math.Float32bits(w[i])>>16))
	}
	k := kernel(t, matrixProduct("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "0f3F800000"))
	require.NoError(t, k.Launch(m, Grid{1, 1, 1, 32, 0}, in, out, uint64(0), uint64(0)))
	for i, bits := range ints(t, m, out, 128) {
		r, c := i/8, i%8
		want := float32(0)
		if r < 8 && c%2 == 1 {
			want = 1 // the second of the four starts from 1
		}
		for x := range 16 {
			want += a[r*16+x] * w[c*16+x]
		}
		require.Equal(t, want, math.Float32frombits(uint32(bits)), "row %d, column %d", r, c)
	}
}

// matrixProduct copies 512 bytes of A and 256 of B to shared memory, in rows of 32 bytes, and multiplies them with op.
// The second of a lane's four results starts from second.
func matrixProduct(op, second string) string {
	return `
	mov.b64 %rd5, tile;
	cvt.u32.u64 %r1, %rd5;
	mul.lo.s32 %r2, %r0, 16;
	add.s32 %r3, %r1, %r2;
	mul.wide.u32 %rd6, %r0, 16;
	add.s64 %rd7, %rd0, %rd6;
	cp.async.cg.shared.global [%r3], [%rd7], 16;
	setp.lt.u32 %p0, %r0, 16;
	selp.b32 %r4, 16, 0, %p0;
	add.s64 %rd7, %rd7, 512;
	selp.b64 %rd7, %rd7, %rd0, %p0;
	cp.async.cg.shared.global [%r3+512], [%rd7], 16, %r4;
	cp.async.commit_group;
	cp.async.wait_group 0;
	bar.warp.sync -1;
	and.b32 %r5, %r0, 15;
	shr.u32 %r6, %r0, 4;
	mad.lo.s32 %r7, %r5, 32, %r1;
	mad.lo.s32 %r7, %r6, 16, %r7;
	ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r7];
	and.b32 %r5, %r0, 7;
	shr.u32 %r6, %r0, 3;
	and.b32 %r6, %r6, 1;
	mad.lo.s32 %r7, %r5, 32, %r1;
	mad.lo.s32 %r7, %r6, 16, %r7;
	ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r14, %r15}, [%r7+512];
	mov.b32 %r20, 0f00000000;
	mov.b32 %r21, ` + second + `;
	mov.b32 %r22, 0f00000000;
	mov.b32 %r23, 0f00000000;
	` + op + ` {%r20,%r21,%r22,%r23}, {%r10,%r11,%r12,%r13}, {%r14,%r15}, {%r20,%r21,%r22,%r23};
	shr.u32 %r5, %r0, 2;
	and.b32 %r6, %r0, 3;
	mul.lo.s32 %r7, %r5, 32;
	mad.lo.s32 %r7, %r6, 8, %r7;
	cvt.u64.u32 %rd6, %r7;
	add.s64 %rd6, %rd6, %rd1;
	st.global.v2.b32 [%rd6], {%r20, %r21};
	st.global.v2.b32 [%rd6+256], {%r22, %r23};`
}

// TestIntegerMatrix: mma of signed bytes.
func TestIntegerMatrix(t *testing.T) {
	m := &Memory{}
	in, out := m.Alloc(768), m.Alloc(4*16*8) // A [16, 32] and B [8, 32], then D [16, 8]
	b, err := m.Bytes(in, 768)
	require.NoError(t, err)
	for i := range b {
		b[i] = byte(i * i % 251)
	}
	k := kernel(t, matrixProduct("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32", "1"))
	require.NoError(t, k.Launch(m, Grid{1, 1, 1, 32, 0}, in, out, uint64(0), uint64(0)))
	for i, got := range ints(t, m, out, 128) {
		r, c := i/8, i%8
		want := int32(0)
		if r < 8 && c%2 == 1 {
			want = 1
		}
		for x := range 32 {
			want += int32(int8(b[r*32+x])) * int32(int8(b[512+c*32+x]))
		}
		require.Equal(t, want, got, "row %d, column %d", r, c)
	}
}
