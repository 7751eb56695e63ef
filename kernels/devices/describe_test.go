package devices

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/cuda"
)

const (
	refText = "ref   plain scalar Go, the specification of the others: for checks, not for speed\n"
	tooOld  = "its compute capability 7.5 is below 8.0: use a newer GPU"
)

// listings are machines with other GPUs than this one, and what is printed of them.
var listings = []struct {
	name string
	Listing
	text string
}{
	{"no driver", Listing{Auto: Choice{Name: "cpu"}, CUDA: cuda.System{Why: "no driver: install it"},
		NoCUDA: "no driver: install it"},
		"cuda  not available: no driver: install it\n" + refText + "auto  cpu\n"},
	{"old driver", Listing{Auto: Choice{Name: "cpu"}, NoCUDA: "too old: update it",
		CUDA:   cuda.System{Library: "/usr/lib/libcuda.so.1", Version: "11.0", Why: "too old: update it"},
		CUBLAS: cuda.CUBLAS{Why: "not found: install it"}},
		"cuda  not available: too old: update it\n" +
			"        driver      /usr/lib/libcuda.so.1, CUDA 11.0\n" +
			"        cuBLAS      not used, the program's own kernels multiply: not found: install it\n" + refText +
			"auto  cpu\n"},
	{"two GPUs", Listing{Auto: Choice{Name: "cuda:1"},
		CUBLAS: cuda.CUBLAS{Library: "/usr/lib/libcublasLt.so.13", Version: "13.10.0"},
		CUDA: cuda.System{Library: "libcuda.so.1", Version: "13.0", GPUs: []cuda.Info{
			{Name: "Tesla T4", UUID: "GPU-b", Major: 7, Minor: 5, SMs: 40, Memory: 16e9, Free: -1, Why: tooOld},
			{Index: 1, Name: "NVIDIA H200", UUID: "GPU-a", Major: 9, SMs: 132, Memory: 150e9, Free: 149.5e9}}}},
		"cuda  runs here\n" +
			"        driver      libcuda.so.1, CUDA 13.0\n" +
			"        cuBLAS      /usr/lib/libcublasLt.so.13, 13.10.0\n" +
			"        cuda:0      Tesla T4, compute capability 7.5, 40 multiprocessors, memory 16.0 GB\n" +
			"                    GPU-b\n" +
			"                    not usable: " + tooOld + "\n" +
			"        cuda:1      NVIDIA H200, compute capability 9.0, 132 multiprocessors, memory 150.0 GB, " +
			"149.5 GB available\n" +
			"                    GPU-a\n" + refText + "auto  cuda:1\n"},
	{"no backend", Listing{Auto: Choice{Name: "cpu"}, CUDA: cuda.System{Why: "this build has none"},
		NoCUDA: "this build has none"},
		"cuda  not available: this build has none\n" + refText + "auto  cpu\n"},
}

func TestDescription(t *testing.T) {
	processor := Info{Name: "cpu", Available: true, Path: "avx2", Threads: 2, Paths: []Path{{"avx512",
		"AVX-512"}, {"avx2", ""}},
		Memory: &Memory{Total: 24e9, Available: 20.5e9}}
	for _, l := range listings {
		require.Contains(t, l.Describe(processor).String(),
			", 2 threads, path avx2, memory 24.0 GB, 20.5 GB available\n"+
				"        avx512      needs AVX-512\n        avx2        runs here\n"+l.text, l.name)
	}
}

func TestDescriptionAsJSON(t *testing.T) {
	text, err := json.Marshal(listings[2].Describe(Info{Name: "cpu", Available: true}))
	require.NoError(t, err)
	var got struct {
		Auto    string
		Devices []json.RawMessage
	}
	require.NoError(t, json.Unmarshal(text, &got))
	require.Equal(t, "cuda:1", got.Auto)
	require.Len(t, got.Devices, 3)
	require.JSONEq(t, `{"name":"cuda","available":true,"driver":{"library":"libcuda.so.1","cuda":"13.0"},
		"cublas":{"library":"/usr/lib/libcublasLt.so.13","version":"13.10.0"},"gpus":[
		{"name":"cuda:0","available":false,"why":"`+tooOld+`","model":"Tesla T4","uuid":"GPU-b","compute_capability":"7.5",
			"multiprocessors":40,"memory":{"total_bytes":16000000000}},
		{"name":"cuda:1","available":true,"model":"NVIDIA H200","uuid":"GPU-a","compute_capability":"9.0",
			"multiprocessors":132,"memory":{"total_bytes":150000000000,"available_bytes":149500000000}}]}`,
		string(got.Devices[1]))
}
