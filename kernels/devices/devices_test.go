package devices

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// gpu is a device of another name.
type gpu struct {
	kernels.Device
	name string
}

func (g gpu) Name() string { return g.name }

const library = "/usr/lib/libcuda.so.1"

var (
	h200 = cuda.Info{Index: 0, Name: "NVIDIA H200", UUID: "GPU-a", Major: 9, SMs: 132, Memory: 150e9, Free: 149e9}
	t4   = cuda.Info{Index: 0, Name: "Tesla T4", UUID: "GPU-b", Major: 7, Minor: 5, SMs: 40, Memory: 16e9, Free: 15e9,
		Why: "its compute capability 7.5 is below 8.0: use a GPU of 2020 or later"}
)

func numbered(g cuda.Info, index int) cuda.Info {
	g.Index = index
	return g
}

// systems are what a machine can be like.
var systems = map[string]cuda.System{
	"no driver":  {Why: "no NVIDIA driver was found (libcuda.so.1): install it"},
	"old driver": {Library: library, Version: "11.0", Why: "the driver knows CUDA 11.0 and 11.1 is needed: update it"},
	"stub":       {Library: library, Why: "libcuda.so.1 is the stub of the toolkit: take it off LD_LIBRARY_PATH"},
	"nothing":    {Library: library, Version: "13.0"},
	"one":        {Library: library, Version: "13.0", GPUs: []cuda.Info{h200}},
	"two":        {Library: library, Version: "13.0", GPUs: []cuda.Info{h200, numbered(h200, 1)}},
	"old gpu":    {Library: library, Version: "13.0", GPUs: []cuda.Info{t4}},
	"mixed":      {Library: library, Version: "13.0", GPUs: []cuda.Info{t4, numbered(h200, 1)}},
}

// with is a machine like the named one.
func with(system string) machine {
	return machine{proven: true, probe: func() cuda.System { return systems[system] },
		gpu: func(index int) (kernels.Device, error) { return gpu{ref.New(), nameOf(cuda.Info{Index: index})}, nil }}
}

func TestOpen(t *testing.T) {
	for _, c := range []struct{ system, name, want, err string }{
		{"no driver", "cpu", "cpu", ""},
		{"no driver", "ref", "ref", ""},
		{"no driver", "auto", "cpu", ""},
		{"no driver", "cuda", "", "opening device cuda: no NVIDIA driver was found (libcuda.so.1): install it"},
		{"no driver", "cuda:0", "", "opening device cuda:0: no NVIDIA driver was found (libcuda.so.1): install it"},
		{"old driver", "cuda", "", "opening device cuda: the driver knows CUDA 11.0 and 11.1 is needed: update it"},
		{"stub", "auto", "cpu", ""},
		{"nothing", "cuda", "", "opening device cuda: the driver " + library + " shows no GPU: use --device cpu"},
		{"one", "auto", "cuda:0", ""},
		{"one", "cuda", "cuda:0", ""},
		{"one", "cuda:0", "cuda:0", ""},
		{"one", "cuda:9", "",
			"opening device cuda:9: there is no GPU of this number: use cuda:0 (NVIDIA H200), or cpu"},
		{"two", "cuda:1", "cuda:1", ""},
		{"two", "cuda:2", "", "opening device cuda:2: there is no GPU of this number: " +
			"use cuda:0 (NVIDIA H200), cuda:1 (NVIDIA H200), or cpu"},
		{"old gpu", "auto", "cpu", ""},
		{"old gpu", "cuda", "", "opening device cuda: no GPU can be used: cuda:0 (Tesla T4): " + t4.Why},
		{"old gpu", "cuda:0", "", "opening device cuda:0: Tesla T4 cannot be used: " + t4.Why},
		{"mixed", "auto", "cuda:1", ""},
		{"mixed", "cuda", "cuda:1", ""},
		{"mixed", "cuda:0", "", "opening device cuda:0: Tesla T4 cannot be used: " + t4.Why},
	} {
		d, err := with(c.system).open(c.name, Options{Threads: 1})
		if c.err != "" {
			require.EqualError(t, err, c.err)
			continue
		}
		require.NoError(t, err, "%s, %s", c.system, c.name)
		require.Equal(t, c.want, d.Name(), "%s, %s", c.system, c.name)
		require.NoError(t, d.Close())
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"auto", "cpu", "ref", "cuda", "cuda:0", "cuda:15"} {
		require.NoError(t, Check(name))
	}
	for _, name := range []string{"", "gpu", "CUDA", "Cpu", "cuda:", "cuda:x", "cuda:-1", "cuda:+1", "cuda:01",
		"cuda: 1",
		"cuda:1 ",
		"cuda:0:1", "cuda:99999", "cuda0", "cpu:0", "auto,cpu", "cuda:0,cuda:1", "tpu"} {
		require.ErrorContains(t, Check(name), `"`+name+`" is not a device: use auto, cpu, cuda, cuda:N`)
		_, err := Open(name, Options{})
		require.ErrorContains(t, err, "is not a device")
	}
}

// TestAuto: what auto chooses is told with the reason, and a GPU that does not open is no end.
func TestAuto(t *testing.T) {
	choose := func(m machine) (c Choice) {
		d, err := m.open(Auto, Options{Threads: 1, Chosen: func(x Choice) { c = x }})
		require.NoError(t, err)
		require.Equal(t, d.Name(), c.Name)
		require.NoError(t, d.Close())
		return c
	}
	require.Equal(t, Choice{"cpu", systems["no driver"].Why, false}, choose(with("no driver")))
	require.Equal(t, Choice{"cuda:1", "NVIDIA H200 is the first GPU that can be used", true}, choose(with("mixed")))
	require.Equal(t, Choice{"cpu", "no GPU can be used: cuda:0 (Tesla T4): " + t4.Why, true}, choose(with("old gpu")))

	taken := with("two")
	taken.gpu = func(int) (kernels.Device, error) { return nil, errors.New("others hold its memory: wait for them") }
	require.Equal(t, Choice{"cpu", "opening device cuda:0 (NVIDIA H200): others hold its memory: wait for them", true},
		choose(taken))
	_, err := taken.open(CUDA, Options{})
	require.EqualError(t, err, "opening device cuda:0 (NVIDIA H200): others hold its memory: wait for them")
}

// TestUnproven: a backend that has not run on a GPU is used only where it is asked for.
func TestUnproven(t *testing.T) {
	m := with("two")
	m.proven = false
	d, err := m.open(Auto, Options{Threads: 1})
	require.NoError(t, err)
	require.Equal(t, "cpu", d.Name())
	require.NoError(t, d.Close())
	l := m.list()
	require.Equal(t, Choice{"cpu", unproven, true}, l.Auto)
	require.Empty(t, l.NoCUDA)
	g, err := m.find(m.probe(), first)
	require.NoError(t, err)
	require.Equal(t, "cuda:0", nameOf(g))
}

func TestList(t *testing.T) {
	for system, auto := range map[string]string{"no driver": "cpu", "old driver": "cpu", "stub": "cpu",
		"nothing": "cpu",
		"one":     "cuda:0",
		"two":     "cuda:0", "old gpu": "cpu", "mixed": "cuda:1"} {
		l := with(system).list()
		require.Equal(t, systems[system], l.CUDA)
		require.Equal(t, auto, l.Auto.Name)
		require.Equal(t, auto == CPU, l.NoCUDA != "", system)
	}
	l := with("mixed").list()
	require.False(t, l.Usable(t4))
	require.True(t, l.Usable(l.CUDA.GPUs[1]))
	require.NotEmpty(t, List().Auto.Name)
}

func TestSame(t *testing.T) {
	for _, c := range []struct {
		system, a, b string
		want         bool
	}{
		{"no driver", "auto", "cpu", true},
		{"no driver", "ref", "cpu", false},
		{"no driver", "cuda", "cuda:0", false},
		{"one", "auto", "cpu", false},
		{"one", "auto", "cuda:0", true},
		{"mixed", "cuda", "cuda:1", true},
		{"two", "cuda:0", "cuda:1", false},
	} {
		m := with(c.system)
		require.Equal(t, c.want, c.a == c.b || m.same(c.a, c.b), "%v", c)
	}
}
