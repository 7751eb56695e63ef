package bench

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// sampleReport has an operation bound by arithmetic, a test in tokens a second and a step in seconds.
func sampleReport() *Report {
	l := Limits{F32: 100e9, BF16: 200e9, Q8: 400e9, Read: 10e9}
	rows := []Row{
		{Op: "matmul", Of: "smollm2-135m.gate", Shape: ops.Shape{"m": 512, "k": 576, "n": 1536}, DType: "bf16",
			samples: []float64{0.01, 0.02, 0.04},
			cost:    ops.Cost{FLOPs: 1e9, Type: kernels.BF16, Bytes: 1e6}},
		{Op: "tg128@b8", Of: "m", Shape: ops.Shape{"prompt": 0, "gen": 128, "batch": 8}, DType: "q8",
			samples: []float64{1, 3}, work: 1024,
			cost: ops.Cost{FLOPs: 1e9, Type: kernels.Q8, Bytes: 5e9}, Foreign: 0.5},
		{Op: "grpo8x5", Shape: ops.Shape{"batch": 40}, DType: "f32", samples: []float64{8}, fixed: "s", PeakRSS: 4e9,
			PeakAnonymous: 3 << 30, sampled: 320,
			Split: map[string]float64{"update": 5, "rollouts": 3}},
	}
	rows[2].inPhases(ops.Cost{FLOPs: 100e9, Type: kernels.F32}, ops.Cost{Type: kernels.F32, Bytes: 10e9})
	for i := range rows {
		rows[i].Path, rows[i].Threads = "avx512", 2
		rows[i].finish(l)
	}
	return &Report{Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), CPU: "Some CPU", Cores: 2, Go: "go1.26",
		Limits: map[int]Limits{2: l}, Rows: rows}
}

func TestRowArithmetic(t *testing.T) {
	rows := sampleReport().Rows
	m := rows[0] // 1 GFLOP in 20 ms: 50 of 200 GFLOP/s
	require.Equal(t, "GFLOP/s", m.Unit)
	require.InDelta(t, 50, m.Median, 1e-9)
	require.InDelta(t, (100+50+25)/3.0, m.Mean, 1e-9)
	require.InDelta(t, 38.1881, m.StdDev, 1e-3)
	require.InDelta(t, 200, m.Limit, 1e-9)
	require.InDelta(t, 0.25, m.Share, 1e-9)
	require.InDelta(t, 0.05, m.GBS, 1e-9)
	g := rows[1] // half a second at least
	require.Equal(t, "t/s", g.Unit)
	require.InDelta(t, 2048, g.Limit, 1e-9)
	require.InDelta(t, (1024+1024/3.0)/2, g.Median, 1e-9)
	s := rows[2] // a second of arithmetic, then a second of reading
	require.Equal(t, "s", s.Unit)
	require.InDelta(t, 8, s.Mean, 1e-9)
	require.InDelta(t, 2, s.Limit, 1e-9)
	require.InDelta(t, 0.25, s.Share, 1e-9)
}

func TestRowWithoutLimits(t *testing.T) {
	r := Row{samples: []float64{0.5}, cost: ops.Cost{FLOPs: 1e9, Type: kernels.F32, Bytes: 1e9}}
	r.finish(Limits{})
	require.Equal(t, "GB/s", r.Unit, "one operation a byte is less than ten")
	require.InDelta(t, 2, r.Mean, 1e-9)
	require.Zero(t, r.Limit)
	require.Zero(t, r.Share)
}

func TestFormats(t *testing.T) {
	print := func(format string) string {
		var b bytes.Buffer
		require.NoError(t, Write(&b, format, sampleReport()))
		return b.String()
	}
	md := print("md")
	require.Contains(t, md, "Some CPU, 2 cores, go1.26, 2026-01-02T03:04:05Z")
	require.Contains(t, md, "limits, 2 thread(s): f32 100 GFLOP/s, bf16 200 GFLOP/s, q8 400 GOP/s, read 10.0 GB/s")
	require.Contains(t, md, "| matmul   | smollm2-135m.gate | m=512 k=576 n=1536       | bf16  | avx512 |       2 |  "+
		"     58.33 ± 38.19 | GFLOP/s | 200.0 |   25% |")
	require.Contains(t, md, "682.7 ± 482.7 ! 0.5")
	require.Contains(t, md, "grpo8x5, 2 thread(s): peak 3072 MiB of anonymous memory, 0.1 TFLOP, floor 2.00 s (25%), "+
		"40.00 useful tokens/s, rollouts 3.00 s, update 5.00 s")

	var rows []map[string]any
	require.NoError(t, json.Unmarshal([]byte(print("json")), &rows))
	require.Len(t, rows, 3)
	require.Equal(t, map[string]any{"m": 512.0, "k": 576.0, "n": 1536.0}, rows[0]["shape"])
	for _, key := range []string{"op", "shape", "dtype", "path", "threads", "mean", "stddev", "median", "unit", "limit",
		"share", "reps"} {
		require.Contains(t, rows[0], key, "the contract's key")
	}
	require.Equal(t, 4e9, rows[2]["peak_rss_bytes"])
	require.Equal(t, map[string]any{"update": 5.0, "rollouts": 3.0}, rows[2]["split"])

	table, err := csv.NewReader(strings.NewReader(print("csv"))).ReadAll()
	require.NoError(t, err)
	require.Len(t, table, 4)
	require.Equal(t, "shape", table[0][2])
	require.Equal(t, "m=512 k=576 n=1536", table[1][2])

	require.ErrorContains(t, Write(&bytes.Buffer{}, "xml", sampleReport()),
		`unknown format "xml": use one of md, json, csv, bench`)
	var empty bytes.Buffer
	require.NoError(t, Write(&empty, "json", &Report{}))
	require.Equal(t, "[]\n", empty.String())
}

// The lines follow the format that golang.org/x/perf documents: name, iterations, value unit pairs; key: value before
// them.
func TestBenchFormat(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Write(&b, "bench", sampleReport()))
	line := regexp.MustCompile(`^Benchmark[A-Z]\S*\t1(\t[0-9.]+ \S+)+$`)
	n := 0
	for _, l := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		if strings.HasPrefix(l, "Benchmark") {
			require.Regexp(t, line, l)
			n++
		} else {
			require.Regexp(t, `^[a-z]+: `, l)
		}
	}
	require.Equal(t, 6, n, "a line a repetition")
	require.Contains(t, b.String(), "BenchmarkMatmul/Smollm2-135m.gate/m=512/k=576/n=1536/bf16/avx512-2\t1\t10000000 "+
		"ns/op\t100.0000 GFLOP/s\t0.1000 GB/s\t50.00 %limit\n")
}

func TestParseShapes(t *testing.T) {
	m, k, n, ok := parseProduct("512x576x1536")
	require.Equal(t, []any{512, 576, 1536, true}, []any{m, k, n, ok})
	for _, s := range []string{"", "1x2", "0x1x1", "1x1x1x1", "axbxc", "1x1x99999999", "smollm2-135m", "1x1x1 "} {
		_, _, _, ok := parseProduct(s)
		require.False(t, ok, s)
	}
	s, err := ParseTrainShape("4x512")
	require.NoError(t, err)
	require.Equal(t, TrainShape{4, 512}, s)
	for _, bad := range []string{"", "4", "4x", "x4", "0x8", "4x1", "4x5x6", "99999999x2"} {
		_, err := ParseTrainShape(bad)
		require.ErrorContains(t, err, "as in 4x512", bad)
	}
}

// 0.860 GFLOP a token at 4x512 and 0.833 at 8x256: 6N + 6LDS with N = 134.5 million, as in the notes on the Python
// peers.
func TestTrainCost(t *testing.T) {
	c, _ := ops.LookupModel("smollm2-135m")
	require.InEpsilon(t, 0.860e9, trainCost(c, kernels.BF16, 4, 512, 0).FLOPs/2048, 0.001)
	require.InEpsilon(t, 0.833e9, trainCost(c, kernels.BF16, 8, 256, 0).FLOPs/2048, 0.001)
	require.InEpsilon(t, 0.591e9+6*4884480, trainCost(c, kernels.BF16, 4, 512, 16).FLOPs/2048, 0.002,
		"4N, attention and the adapter")
	require.EqualValues(t, 4884480, adapterParameters(c, 16), "what peft counts for r=16 on all linear layers")
}

// The cost of a pass is that of its tokens one by one.
func TestPassCost(t *testing.T) {
	c := &model.Config{Arch: "llama", Vocab: 100, Hidden: 8, Inter: 16, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 4,
		Tied: true}
	want := 0.0
	for p := 3; p < 10; p++ {
		want += float64(c.FLOPs(p, true))
	}
	got := passCost(c, kernels.F32, kernels.F32, 2, 3, 7, 7)
	require.InDelta(t, 2*want, got.FLOPs, 1e-6)
	require.InDelta(t, float64(c.WeightBytes(kernels.F32)+2*10*c.KVBytes(kernels.F32)), got.Bytes, 1e-6)
	noLogits := passCost(c, kernels.F32, kernels.F32, 2, 3, 7, 0)
	require.InDelta(t, got.Bytes-4*800, noLogits.Bytes, 1e-6, "a tied output matrix that is not used is not read")
	c.Tied = false
	require.InDelta(t, float64(c.WeightBytes(kernels.F32))-4*800+2*10*float64(c.KVBytes(kernels.F32)),
		passCost(c, kernels.F32, kernels.F32, 2, 3, 7, 7).Bytes, 1e-6)
}

func TestModelName(t *testing.T) {
	require.Equal(t, "AMD EPYC (family 25, model 17)", modelName(
		"processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel\t: 18\n"))
	require.NotEmpty(t, modelName(""))
}
