package bench

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// rooflineStep is the step that the roofline is drawn of where nothing else is said.
var rooflineStep = GRPOTest{Questions: 64, N: 5, Turns: 4, Response: 150, Prompt: 250, Observation: 750,
	Recompute: true}

func roofOf(t *testing.T, shape string, change func(o *RooflineOptions)) *Roofline {
	o := RooflineOptions{Options: Options{Shape: shape}, GPU: "h200", Context: 1500, Sequences: []int{1, 64, 256, 320},
		Step: rooflineStep}
	if change != nil {
		change(&o)
	}
	r, err := MakeRoofline(o)
	require.NoError(t, err)
	return r
}

// Tokens a second of decode at a context of 1,500, where reading weights, keys and values overlaps with all products,
// at 75% of 4.3 TB/s and 60% of 790 TFLOP/s: values of a separate calculation, which also counts that logits are
// written and read, 1.6% at most.
func TestRooflineDecode(t *testing.T) {
	for shape, want := range map[string][4]float64{
		"qwen2.5-3b": {518, 21087, 40003, 42548}, "llama-3.2-3b": {489, 11794, 16275, 16698},
		"qwen2.5-7b": {227, 10465, 22636, 24539}, "qwen2.5-14b": {114, 4398, 7955, 8408},
	} {
		r := roofOf(t, shape, nil)
		for i, n := range []int{1, 64, 256, 320} {
			p := r.Passes[i]
			require.Equal(t, "decode", p.Name)
			require.Equal(t, n, p.Sequences)
			require.InEpsilon(t, want[i], float64(n)/p.Overlapped, 0.02, "%s, %d sequences", shape, n)
			// One kernel after the other: products of 256 rows are bound by arithmetic while attention is bound by
			// memory.
			require.Greater(t, p.Seconds, p.Overlapped)
			require.InEpsilon(t, float64(n)/p.Seconds, p.Rate, 1e-12)
		}
	}
}

// The seconds of a step of Qwen2.5-3B with a simulator of the same shape. A separate calculation has 5.0 for decode and
// 12.5 for the simulator. For prefill it has 8.9 with half of attention's products; for log-probs 14.6 and for training
// 71.4 where each episode has its prompt for itself (992,000 tokens, not 928,000) and the output matrix is applied to
// all tokens, not only the 192,000 that the policy sampled.
func TestRooflineStep(t *testing.T) {
	r := roofOf(t, "qwen2.5-3b", nil)
	got := map[string]RooflineTime{}
	var sum float64
	for _, p := range r.Step.Phases {
		got[p.Name] = p.RooflineTime
		sum += p.Seconds
	}
	require.InEpsilon(t, r.Step.Seconds, sum, 1e-9)
	require.Equal(t, 928000, r.Step.Tokens)
	require.InEpsilon(t, 5.0, got["policy decode"].Overlapped, 0.02)
	require.InEpsilon(t, 12.5, got["simulator prefill"].Overlapped+got["simulator decode"].Overlapped, 0.02)
	require.InEpsilon(t, 8.9, got["policy prefill"].Overlapped, 0.06)
	require.InDelta(t, 0.03, got["optimizer step"].Seconds, 0.01)

	const layers, hidden, inter, kv, vocab = 36, 2048, 11008, 256, 151936
	const weights = layers * (2*hidden*hidden + 2*hidden*kv + 3*hidden*inter)
	pairs := 64*250*251/2 + 320*(2850*250+2850*2851/2)
	attention := 4 * layers * hidden * float64(pairs)
	flops := 2*928000*float64(weights) + 2*192000*float64(vocab*hidden) + attention
	require.InEpsilon(t, flops/(790e12*0.55), got["reference log-probs"].Overlapped, 1e-9)
	require.InEpsilon(t, 14.6, got["reference log-probs"].Overlapped, 0.12)
	// Products four times: forward, recomputed, and two backward; attention's backward is two and a half forwards.
	require.InEpsilon(t, (4*flops+0.5*attention)/(790e12*0.45), got["training"].Overlapped, 1e-9)
	require.InEpsilon(t, 71.4, got["training"].Overlapped, 0.12)
	require.InEpsilon(t, got["reference log-probs"].Seconds, r.Step.Old, 1e-9)
	kept := roofOf(t, "qwen2.5-3b", func(o *RooflineOptions) { o.Step.Recompute = false })
	require.Less(t, kept.Step.FLOPs, r.Step.FLOPs)
	require.Greater(t, kept.Memory.Total, r.Memory.Total)
}

// Each kernel by hand, and the sums.
func TestRooflineKernels(t *testing.T) {
	r := roofOf(t, "qwen2.5-3b", nil)
	find := func(p RooflinePass, name string) RooflineKernel {
		for _, k := range p.Kernels {
			if k.Kernel == name {
				return k
			}
		}
		t.Fatalf("%s has no kernel %s", p.Name, name)
		return RooflineKernel{}
	}
	d := r.Passes[1] // 64 sequences
	k := find(d, "gate_up")
	require.EqualValues(t, 36*(2*22016*2048+64*(2*2048+4*22016)), k.Bytes,
		"weights and operands in bf16, results in f32")
	require.EqualValues(t, 36*2*64*22016*2048, k.FLOPs)
	require.EqualValues(t, 36, k.Calls)
	require.Equal(t, "memory", k.Bound)
	require.InEpsilon(t, k.Bytes/4.3e12, k.Least, 1e-12)
	require.InEpsilon(t, k.Bytes/4.3e12/0.75, k.Seconds, 1e-12)
	k = find(d, "attention")
	require.EqualValues(t, 64*(1500*36864+36*8*2048), k.Bytes, "36 KiB a token, queries and results")
	require.EqualValues(t, 64*1500*4*36*2048, k.FLOPs)
	require.EqualValues(t, 64*151936*4, find(d, "sample").Bytes)
	require.Equal(t, "arithmetic", find(r.Passes[3], "gate_up").Bound, "320 rows")
	train := r.Passes[len(r.Passes)-1]
	size := map[string]float64{"qkv": 2560 * 2048, "o": 2048 * 2048, "gate_up": 22016 * 2048, "down": 11008 * 2048}
	for _, name := range []string{"qkv", "o", "gate_up", "down"} {
		f := find(train, name).FLOPs
		require.EqualValues(t, 2*7500*36*size[name], f)
		for _, other := range []string{"dx of ", "dw of "} {
			require.Equal(t, f, find(train, other+name).FLOPs)
		}
		require.Equal(t, f, find(train, name+", again").FLOPs)
	}
	for _, p := range r.Passes {
		var sum RooflineTime
		for _, k := range p.Kernels {
			sum = sum.add(k.RooflineTime)
		}
		require.InEpsilon(t, p.Seconds, sum.Seconds, 1e-9)
		require.InEpsilon(t, p.Bytes, sum.Bytes, 1e-9)
	}
}

// A simulator in q8 is smaller and, where few sequences are decoded, faster; an adapter has no gradients of weights;
// documents of a search engine cost no decode.
func TestRooflineChoices(t *testing.T) {
	base := roofOf(t, "qwen2.5-3b", nil)
	phase := func(r *Roofline, name string) float64 {
		for _, p := range r.Step.Phases {
			if p.Name == name {
				return p.Seconds
			}
		}
		return 0
	}
	q8 := roofOf(t, "qwen2.5-3b", func(o *RooflineOptions) { o.Step.SimDType = kernels.Q8 })
	require.Len(t, q8.Passes, len(base.Passes)+4, "decode of the simulator too")
	require.Less(t, q8.Passes[4].Seconds, 0.6*base.Passes[0].Seconds)
	require.Less(t, q8.Memory.Of("simulator", ""), base.Memory.Of("reference", "weights")+base.Memory.Of("simulator",
		""))
	require.Equal(t, base.Simulator.Parameters, q8.Simulator.Parameters)
	lora := roofOf(t, "qwen2.5-3b", func(o *RooflineOptions) { o.Step.LoRAR = 16 })
	require.Less(t, phase(lora, "training"), phase(base, "training"))
	require.Less(t, lora.Memory.Of("policy", "moments"), base.Memory.Of("policy", "moments")/50)
	require.Zero(t, lora.Memory.Of("reference", "weights"), "the base with the adapter off")
	given := roofOf(t, "qwen2.5-3b", func(o *RooflineOptions) { o.Step.Given = true })
	require.Zero(t, phase(given, "simulator decode"))
	require.Nil(t, given.Simulator)
	alone := roofOf(t, "qwen2.5-3b", func(o *RooflineOptions) { o.Step.NoReference = true })
	require.Zero(t, phase(alone, "reference log-probs"))
	require.Positive(t, alone.Memory.Of("simulator", "weights"), "nobody else holds the starting weights")
	require.Zero(t, base.Memory.Of("simulator", "weights"))
	minis := roofOf(t, "qwen2.5-3b", func(o *RooflineOptions) { o.Step.MiniBatch = 80 })
	require.InEpsilon(t, 4*phase(base, "optimizer step"), phase(minis, "optimizer step"), 1e-9)
}

func TestProcessors(t *testing.T) {
	h200, err := gpuProcessor("H200", false)
	require.NoError(t, err)
	require.Equal(t, 4.3e12, h200.Limits.Read)
	require.Equal(t, 790e12, h200.Limits.BF16)
	sheet, _ := gpuProcessor("h200", true)
	require.Equal(t, sheet.Sheet, sheet.Limits)
	a100, err := gpuProcessor("a100", false)
	require.NoError(t, err)
	require.InEpsilon(t, 2.039e12*4.3/4.8, a100.Limits.Read, 1e-12, "not measured: lowered as the H200's")
	require.Contains(t, a100.Source, "H200")
	_, err = gpuProcessor("b9", false)
	require.ErrorContains(t, err, "use one of a100, h100, h200")

	require.True(t, roofOf(t, "qwen2.5-3b", nil).Fits)
	small := roofOf(t, "qwen2.5-3b", func(o *RooflineOptions) { o.GPU = "h100" })
	require.False(t, small.Fits)
	require.Contains(t, small.Why, "policy KV pages")
	require.True(t, roofOf(t, "smollm2-135m", func(o *RooflineOptions) { o.GPU = "a100" }).Fits)
}

// This processor, measured; and what cannot be.
func TestRooflineOfThisMachine(t *testing.T) {
	o := RooflineOptions{Options: Options{Shape: "tiny", Threads: []int{1}}, Context: 64, Sequences: []int{2},
		Step: GRPOTest{Questions: 2, N: 2, Turns: 2, Response: 10, Prompt: 20, Observation: 10}}
	r, err := MakeRoofline(o)
	if err != nil { // a path that has no measurement of its limits
		require.ErrorContains(t, err, "use --gpu NAME")
	} else {
		require.InEpsilon(t, r.Step.Least, r.Step.Seconds, 1e-9, "the limit itself")
		require.True(t, r.Fits)
		for _, format := range []string{"md", "json"} {
			var b bytes.Buffer
			require.NoError(t, WriteRoofline(&b, format, r))
			require.NotEmpty(t, b.String())
			require.Equal(t, format == "json", json.Valid(b.Bytes()))
		}
		require.ErrorContains(t, WriteRoofline(&bytes.Buffer{}, "csv", r), "use one of md, json")
	}
	for want, change := range map[string]func(o *RooflineOptions){
		"one of the two":          func(o *RooflineOptions) { o.Model = "x" },
		"no shape is called":      func(o *RooflineOptions) { o.Shape = "x" },
		"the simulator: no shape": func(o *RooflineOptions) { o.SimShape = "x" },
		"the model at most":       func(o *RooflineOptions) { o.Step.Response = 1000 },
		"is not a number of":      func(o *RooflineOptions) { o.Sequences = []int{0} },
		"use fewer episodes":      func(o *RooflineOptions) { o.Step.Questions, o.Step.N = 1<<20, 1<<20 },
		"weights in q8":           func(o *RooflineOptions) { o.DType = kernels.Q8 },
		"no GPU is called":        func(o *RooflineOptions) { o.GPU = "x" },
		"is not a device":         func(o *RooflineOptions) { o.Device = "x" },
	} {
		bad := o
		change(&bad)
		_, err := MakeRoofline(bad)
		require.ErrorContains(t, err, want)
	}
}
