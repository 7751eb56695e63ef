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

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// sampleReport has an operation bound by arithmetic, a test in tokens a second and a step in seconds.
func sampleReport() *Report {
	l := Limits{F32: 100e9, BF16: 200e9, Q8: 400e9, Read: 10e9}
	rows := []Row{
		{Op: "matmul", Of: "smollm2-135m.gate", Shape: Shape{"m": 512, "k": 576, "n": 1536}, DType: "bf16",
			samples: []float64{0.01, 0.02, 0.04},
			cost:    cost{1e9, kernels.BF16, 1e6}},
		{Op: "tg128@b8", Of: "m", Shape: Shape{"prompt": 0, "gen": 128, "batch": 8}, DType: "q8",
			samples: []float64{1, 3}, work: 1024,
			cost: cost{1e9, kernels.Q8, 5e9}, Foreign: 0.5},
		{Op: "grpo8x5", Shape: Shape{"batch": 40}, DType: "f32", samples: []float64{8}, fixed: "s", PeakRSS: 4e9,
			PeakAnonymous: 3 << 30, sampled: 320,
			Split: map[string]float64{"update": 5, "rollouts": 3}},
	}
	rows[2].inPhases(cost{100e9, kernels.F32, 0}, cost{0, kernels.F32, 10e9})
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
	r := Row{samples: []float64{0.5}, cost: cost{1e9, kernels.F32, 1e9}}
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

func TestStats(t *testing.T) {
	mean, dev, median := stats([]float64{4, 1, 2, 3})
	require.Equal(t, 2.5, mean)
	require.InDelta(t, 1.2909944, dev, 1e-6)
	require.Equal(t, 2.5, median)
	_, dev, median = stats([]float64{7})
	require.Zero(t, dev)
	require.Equal(t, 7.0, median)
	mean, _, _ = stats(nil)
	require.Zero(t, mean)
}

func TestProcParsers(t *testing.T) {
	require.InDelta(t, 1.5+0.5+0.25+0.1+0.2+0.3, busyMachine("cpu  150 50 25 9999 777 10 20 30 40 50\ncpu0 1 2"), 1e-9)
	require.Zero(t, busyMachine("cpu x y"))
	stat := "42 (a (b) c) R 1 2 3 4 5 6 7 8 9 10 300 200 100 50 20 0 1 0 5"
	require.InDelta(t, 5.0, busyProcess(stat, false), 1e-9)
	require.InDelta(t, 6.5, busyProcess(stat, true), 1e-9)
	require.Zero(t, busyProcess("", true))
	require.Zero(t, busyProcess("1 (x) R", true))
	require.Equal(t, int64(12<<10), statusBytes([]byte("Name:\tx\nVmHWM:\t      12 kB\n"), "VmHWM:"))
	require.Zero(t, statusBytes([]byte("VmHWM:\n"), "VmHWM:"))
	require.Equal(t, "AMD EPYC (family 25, model 17)", modelName(
		"processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel\t: 18\n"))
	require.NotEmpty(t, modelName(""))
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

// The shapes are those of the published checkpoints: their parameters are known.
func TestShapes(t *testing.T) {
	known := map[string]int64{"smollm2-135m": 134515008, "smollm2-360m": 361821120, "qwen2.5-0.5b": 494032768,
		"qwen2.5-1.5b": 1543714304,
		"qwen2.5-3b":   3085938688, "qwen3-0.6b": 596049920, "llama3.2-1b": 1235814400, "llama3.2-3b": 3212749824}
	for _, s := range Shapes {
		require.NoError(t, s.Config.Check(), s.Name)
		if n, ok := known[s.Name]; ok {
			require.Equal(t, n, s.Config.Parameters(), s.Name)
			delete(known, s.Name)
		}
	}
	require.Empty(t, known)
	c, err := LookupShape("SmolLM2-135M")
	require.NoError(t, err)
	c.Layers = 1
	again, _ := LookupShape("smollm2-135m")
	require.Equal(t, 30, again.Layers, "a copy is handed out")
}

// 0.860 GFLOP a token at 4x512 and 0.833 at 8x256: 6N + 6LDS with N = 134.5 million, as in the notes on the Python
// peers.
func TestTrainCost(t *testing.T) {
	c, _ := LookupShape("smollm2-135m")
	require.InEpsilon(t, 0.860e9, trainCost(c, kernels.BF16, 4, 512, 0).flops/2048, 0.001)
	require.InEpsilon(t, 0.833e9, trainCost(c, kernels.BF16, 8, 256, 0).flops/2048, 0.001)
	require.InEpsilon(t, 0.591e9+6*4884480, trainCost(c, kernels.BF16, 4, 512, 16).flops/2048, 0.002,
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
	require.InDelta(t, 2*want, got.flops, 1e-6)
	require.InDelta(t, float64(c.WeightBytes(kernels.F32)+2*10*c.KVBytes(kernels.F32)), got.bytes, 1e-6)
	noLogits := passCost(c, kernels.F32, kernels.F32, 2, 3, 7, 0)
	require.InDelta(t, got.bytes-4*800, noLogits.bytes, 1e-6, "a tied output matrix that is not used is not read")
	c.Tied = false
	require.InDelta(t, float64(c.WeightBytes(kernels.F32))-4*800+2*10*float64(c.KVBytes(kernels.F32)),
		passCost(c, kernels.F32, kernels.F32, 2, 3, 7, 7).bytes, 1e-6)
}

func TestPeerParsers(t *testing.T) {
	rate, err := parseLlamaBench([]byte("warning: [x]\n[\n  {\"n_prompt\": 512, \"avg_ts\": 1185.25}\n]\n"))
	require.NoError(t, err)
	require.Equal(t, 1185.25, rate)
	for _, bad := range []string{"", "[\n]", "[\n{]", "[\n{\"avg_ts\":1},{\"avg_ts\":2}]", "[\n{\"avg_ts\":0}]"} {
		_, err := parseLlamaBench([]byte(bad))
		require.Error(t, err, bad)
	}
	rate, err = parseBatchedBench([]byte("main: x\n\n{\"pl\": 8, \"speed_pp\": 9, \"speed_tg\": 320.5}\n"))
	require.NoError(t, err)
	require.Equal(t, 320.5, rate)
	for _, bad := range []string{"", "{}", "{\"speed_tg\": }", "{\"speed_tg\": 0}"} {
		_, err := parseBatchedBench([]byte(bad))
		require.Error(t, err, bad)
	}
	a, err := parseReply([]byte(`{"seconds": 0.5}`))
	require.NoError(t, err)
	require.Equal(t, 0.5, a.Seconds)
	_, err = parseReply([]byte(`{"error": "no such operator"}`))
	require.EqualError(t, err, "no such operator")
	_, err = parseReply([]byte("Traceback"))
	require.ErrorContains(t, err, "not JSON")
}
