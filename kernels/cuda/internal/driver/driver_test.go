//go:build !nogpu && linux

package driver_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/driver"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/ptx"
)

// opened is GPU 0 of m.
func opened(t testing.TB, m *fake.Machine) *driver.GPU {
	g, err := m.Open(0)
	require.NoError(t, err)
	return g
}

// kernel is a kernel of ours.
func kernel(t testing.TB, g *driver.GPU, name string) gpu.Func {
	for _, m := range ptx.Modules() {
		for _, k := range m.Kernels {
			if k == name {
				fs, err := g.Load(m.Text, []string{name})
				require.NoError(t, err)
				return fs[0]
			}
		}
	}
	t.Fatalf("there is no kernel %s", name)
	return 0
}

func TestMemory(t *testing.T) {
	m := fake.New(fake.A100())
	g := opened(t, m)
	long := make([]byte, 40<<20) // several pieces
	for i := range long {
		long[i] = byte(i * 7)
	}
	a, err := g.Alloc(int64(len(long)))
	require.NoError(t, err)
	b, err := g.Alloc(int64(len(long)))
	require.NoError(t, err)
	require.NoError(t, g.Upload(a, long))
	require.NoError(t, g.Copy(b, a, int64(len(long))))
	require.NoError(t, g.Zero(b+3, 5))
	got := make([]byte, len(long))
	e, err := g.Download(got, b)
	require.NoError(t, err)
	require.NoError(t, e.Wait())
	clear(long[3:8])
	require.Equal(t, long, got)
	require.NoError(t, g.Free(a))
	require.NoError(t, g.Free(b))
	require.NoError(t, g.Close())
	require.Empty(t, m.Left())
}

// TestSourceIsReadAtOnce: the stream runs when somebody waits, and yet sees what the host's memory held at the call.
func TestSourceIsReadAtOnce(t *testing.T) {
	g := opened(t, fake.New(fake.A100()))
	defer g.Close()
	p, err := g.Alloc(4096)
	require.NoError(t, err)
	src := []byte{1, 2, 3, 4}
	for i := range 40 { // more than there are pieces
		src[0] = byte(i)
		require.NoError(t, g.Upload(p+gpu.Ptr(4*i), src))
	}
	src[0] = 99
	got := make([]byte, 160)
	e, err := g.Download(got, p)
	require.NoError(t, err)
	require.NoError(t, e.Wait())
	for i := range 40 {
		require.Equal(t, []byte{byte(i), 2, 3, 4}, got[4*i:4*i+4])
	}
}

// TestPiecesAreUsedAgain: an upload longer than all pinned memory waits for pieces only when all of them are full, and
// overwrites none that is still to be copied.
func TestPiecesAreUsedAgain(t *testing.T) {
	m := fake.New(fake.A100())
	g := opened(t, m)
	defer g.Close()
	const piece, rounds = 16 << 20, 7
	p, err := g.Alloc(piece)
	require.NoError(t, err)
	firsts, err := g.Alloc(16 * rounds)
	require.NoError(t, err)
	src := make([]byte, piece)
	for i := range rounds {
		copy(src, strings.Repeat(string(rune('a'+i)), 16))
		require.NoError(t, g.Upload(p, src))
		require.NoError(t, g.Copy(firsts+gpu.Ptr(16*i), p, 16))
		require.Equal(t, max(0, i-3), m.Calls["EventSynchronize"])
	}
	require.Equal(t, 4, m.Calls["MemHostAlloc"])
	require.Zero(t, m.Calls["StreamSynchronize"])
	for i, x := range download(t, g, firsts, 16*rounds) {
		require.Equal(t, byte('a'+i/16), x)
	}
}

// TestTwoDownloads: results that are under way together do not share memory, and may be waited for in any order.
func TestTwoDownloads(t *testing.T) {
	g := opened(t, fake.New(fake.A100()))
	defer g.Close()
	p, err := g.Alloc(8)
	require.NoError(t, err)
	var got [2][4]byte
	var es [2]gpu.Event
	for i := range 2 {
		require.NoError(t, g.Upload(p, []byte{byte(i), 1, 1, 1}))
		es[i], err = g.Download(got[i][:], p)
		require.NoError(t, err)
	}
	require.NoError(t, es[1].Wait())
	require.NoError(t, es[0].Wait())
	require.Equal(t, [2][4]byte{{0, 1, 1, 1}, {1, 1, 1, 1}}, got)
}

func TestLaunch(t *testing.T) {
	m := fake.New(fake.A100())
	g := opened(t, m)
	f := kernel(t, g, "copy_f32_f32")
	p, err := g.Alloc(64)
	require.NoError(t, err)
	require.NoError(t, g.Upload(p, []byte("0123456789abcdef")))
	var a gpu.Args
	run := func() error {
		return g.Launch(f, gpu.Grid{X: 1, Y: 1, Z: 1, Threads: 256}, a.Reset().Ptr(p+32).Long(4).Ptr(p).Long(4).Long(4))
	}
	require.NoError(t, run())
	got := make([]byte, 16)
	e, err := g.Download(got, p+32)
	require.NoError(t, err)
	require.NoError(t, e.Wait())
	require.Equal(t, "0123456789abcdef", string(got))

	other := make(chan error) // a thread that has no context yet
	go func() {
		runtime.LockOSThread()
		err := run()
		if err == nil {
			err = g.Sync()
		}
		other <- err
	}()
	require.NoError(t, <-other)
	require.NoError(t, g.Close())
}

// TestLateError: a kernel that reads outside its memory is reported where its result is waited for, and from then on
// everywhere.
func TestLateError(t *testing.T) {
	m := fake.New(fake.A100())
	g := opened(t, m)
	f := kernel(t, g, "copy_f32_f32")
	p, err := g.Alloc(16)
	require.NoError(t, err)
	var a gpu.Args
	a.Ptr(p).Long(4).Ptr(p + 1<<20).Long(4).Long(4)
	require.NoError(t, g.Launch(f, gpu.Grid{X: 1, Y: 1, Z: 1, Threads: 256}, &a))
	e, err := g.Download(make([]byte, 16), p)
	require.NoError(t, err)
	err = e.Wait()
	require.ErrorContains(t, err, "waiting for a result: error 700")
	require.ErrorContains(t, err, "resume the run with --resume auto")
	require.ErrorContains(t, m.Fault, "out of bounds")
	require.Error(t, g.Zero(p, 16))
	require.Error(t, g.Sync())
}

// TestOpening: what is wrong with a machine is one error that says what to do, and leaves nothing behind.
func TestOpening(t *testing.T) {
	old := fake.A100()
	old.Major, old.Minor, old.Name = 7, 5, "Fake T4"
	for _, c := range []struct {
		name string
		set  func(m *fake.Machine)
		want string
	}{
		{"old driver", func(m *fake.Machine) { m.Version = 11000 }, "knows CUDA 11.0, and 11.2 is needed: update it"},
		{"stub", func(m *fake.Machine) { m.Init = 34 }, "stub, not the driver: take its folder"},
		{"no GPU", func(m *fake.Machine) { m.Init = 100 }, "no GPU is visible: look at CUDA_VISIBLE_DEVICES"},
		{"mismatch", func(m *fake.Machine) { m.Init = 803 }, "restart the machine after an update"},
		{"fewer GPUs", func(m *fake.Machine) { m.GPUs = nil }, "there is no GPU 0: there are 0"},
		{"old GPU", func(m *fake.Machine) { m.GPUs[0] = old },
			"GPU 0, Fake T4: its compute capability is 7.5, and 8.0 (Ampere) or later is needed"},
		{"taken", failing("DevicePrimaryCtxRetain", 1, 46), "used exclusively by another process"},
		{"no stream", failing("StreamCreate", 1, 2), "making a stream: error 2"},
		{"no pool", failing("MemPoolSetAttribute", 1, 1), "setting up its memory pool: error 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := fake.New(fake.A100())
			c.set(m)
			_, err := m.Open(0)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n")
			require.Empty(t, m.Left())
		})
	}
	_, err := driver.Open("libcuda.old", func(name string) (uintptr, error) {
		if name == "cuMemAllocAsync" {
			return 0, nil
		}
		return 1, nil
	})
	require.ErrorContains(t, err, "libcuda.old: it has no function cuMemAllocAsync: update NVIDIA's driver")
}

// failing lets the n-th call of a function give a result.
func failing(function string, n, result int) func(*fake.Machine) {
	return func(m *fake.Machine) {
		m.Fail = func(f string, i int) int {
			if f == function && i == n {
				return result
			}
			return 0
		}
	}
}

func TestOutOfMemory(t *testing.T) {
	m := fake.New(fake.A100())
	g := opened(t, m)
	_, err := g.Alloc(2 << 30)
	require.ErrorContains(t, err, "allocating 2147483648 bytes: error 2")
	require.ErrorContains(t, err, "use a smaller model")
	p, err := g.Alloc(1 << 20) // the GPU goes on
	require.NoError(t, err)
	free, err := g.Available()
	require.NoError(t, err)
	require.EqualValues(t, 1<<30-1<<20, free)
	require.NoError(t, g.Free(p))
	require.NoError(t, g.Close())
	require.Empty(t, m.Left())
}

func TestSeveralGPUs(t *testing.T) {
	m := fake.New(fake.A100(), fake.A100())
	var gs [2]*driver.GPU
	var ps [2]gpu.Ptr
	for i := range gs {
		var err error
		gs[i], err = m.Open(i)
		require.NoError(t, err)
	}
	for i, g := range gs { // the thread's context is the other's
		var err error
		ps[i], err = g.Alloc(16)
		require.NoError(t, err)
		require.NoError(t, g.Zero(ps[i], 16))
		require.NoError(t, gs[1-i].Sync())
	}
	for i, g := range gs {
		got := []byte(strings.Repeat("x", 16))
		e, err := g.Download(got, ps[i])
		require.NoError(t, err)
		require.NoError(t, e.Wait())
		require.Equal(t, make([]byte, 16), got)
		require.NoError(t, g.Free(ps[i]))
		require.NoError(t, g.Close())
	}
	require.Empty(t, m.Left())
}

// TestUUID: GPUs are named as nvidia-smi names them, and so are the instances of one that is divided.
func TestUUID(t *testing.T) {
	m := fake.New(fake.A100(), fake.A100())
	m.GPUs[1].MIG = true
	d, err := driver.Open(fake.Library, m.Symbol)
	require.NoError(t, err)
	all, err := d.List()
	require.NoError(t, err)
	require.Equal(t, "GPU-00000000-0000-0000-0000-000000000000", all[0].UUID)
	require.Equal(t, "MIG-ee000000-0000-0000-0000-000000000000", all[1].UUID)

	d, err = driver.Open(fake.Library, func(name string) (uintptr, error) { // CUDA 11.2 and 11.3
		if name == "cuDeviceGetUuid_v2" {
			return 0, errors.New("undefined symbol")
		}
		return m.Symbol(name)
	})
	require.NoError(t, err)
	all, err = d.List()
	require.NoError(t, err)
	require.Equal(t, "GPU-01000000-0000-0000-0000-000000000000", all[1].UUID)
}
