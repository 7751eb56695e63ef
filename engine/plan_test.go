package engine

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/model"
)

// counting adds up what is allocated on a device.
type counting struct {
	kernels.Device
	bytes   int64
	batches map[int]int64 // by tokens
}

func (c *counting) Alloc(bytes int64) (kernels.Buffer, error) {
	c.bytes += bytes
	return c.Device.Alloc(bytes)
}

func (c *counting) NewWeight(n, k int, t kernels.DType) (kernels.Weight, error) {
	w, err := c.Device.NewWeight(n, k, t)
	if err == nil {
		c.bytes += w.Bytes()
	}
	return w, err
}

// NewBatch counts the last batch of so many tokens: it takes the place of those before it.
func (c *counting) NewBatch(s kernels.BatchSpec) (kernels.Batch, error) {
	b, err := c.Device.NewBatch(s)
	if err == nil {
		c.bytes += b.Bytes() - c.batches[s.Tokens]
		c.batches[s.Tokens] = b.Bytes()
	}
	return b, err
}

func (c *counting) NewKV(s kernels.KVSpec) (kernels.KV, error) {
	kv, err := c.Device.NewKV(s)
	if err == nil {
		c.bytes += kv.Bytes()
	}
	return kv, err
}

// planShapes have what moves the sums: untied, biases, qk norm, odd sizes.
func planShapes() map[string]*model.Config {
	return map[string]*model.Config{
		"llama": {Arch: "llama", Vocab: 512, Hidden: 64, Inter: 96, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 16,
			MaxPos: 600, Eps: 1e-5, RopeTheta: 1e4, Tied: true},
		"qwen2": {Arch: "qwen2", Vocab: 544, Hidden: 96, Inter: 160, Layers: 2, Heads: 6, KVHeads: 3, HeadDim: 32,
			MaxPos: 600, Eps: 1e-5, RopeTheta: 1e4, QKVBias: true},
		"qwen3": {Arch: "qwen3", Vocab: 512, Hidden: 64, Inter: 128, Layers: 2, Heads: 4, KVHeads: 1, HeadDim: 64,
			MaxPos: 600, Eps: 1e-5, RopeTheta: 1e4, QKNorm: true, Tied: true},
	}
}

// What is planned for a model, its place in the engine, its trainer and its scorer is what they allocate, within 0.5%
// (alignment).
func TestPlanIsWhatIsAllocated(t *testing.T) {
	for arch, c := range planShapes() {
		for _, v := range []struct {
			name      string
			dtype     kernels.DType
			full      bool
			lora      int
			recompute bool
		}{
			{"frozen", kernels.BF16, false, 0, false}, {"q8", kernels.Q8, false, 0, false},
			{"full", kernels.BF16, true, 0, false},
			{"full f32 recomputed", kernels.F32, true, 0, true}, {"lora", kernels.BF16, false, 6, false},
			{"lora on q8", kernels.Q8, false, 33, true},
		} {
			t.Run(arch+" "+v.name, func(t *testing.T) {
				inner, err := cpu.New(cpu.Options{})
				require.NoError(t, err)
				dev := &counting{Device: inner, batches: map[int]int64{}}
				p := PlanModel{Name: "m", Config: c, DType: v.dtype, Full: v.full,
					Engine: &PlanEngine{ModelOptions: ModelOptions{KVPages: 9, MaxBatchTokens: 64, MaxSequences: 5}}}
				m, err := model.NewRandom(dev, c, model.Options{DType: v.dtype, Trainable: v.full}, 1)
				require.NoError(t, err)
				var a *model.Adapter
				if v.lora > 0 {
					p.LoRA = &PlanLoRA{R: v.lora, Targets: []string{"q_proj", "down_proj"}, Trained: true}
					a, err = model.NewAdapter(m, model.AdapterConfig{R: v.lora, Alpha: 1, Targets: p.LoRA.Targets},
						true, 1)
					require.NoError(t, err)
				}
				e := New(dev, Options{LogitsBytes: 4 * 512 * 4})
				p.Engine.LogitsBytes = 4 * 512 * 4
				require.NoError(t, e.AddModel("m", m, p.Engine.ModelOptions))
				ids := make([]int32, 70)
				_, err = e.Generate(t.Context(), Request{Model: "m", Adapter: a, Prompt: ids, MaxTokens: 3,
					EOS: []int32{}})
				require.NoError(t, err)
				if v.full || a != nil {
					p.Train = &PlanPass{Tokens: 140, Sequences: 2, Longest: 70, Recompute: v.recompute}
					tr, err := train.New(dev, m, a, train.Options{Recompute: v.recompute})
					require.NoError(t, err)
					_, err = tr.Step([]train.Sequence{{IDs: ids, Mask: all(70)}, {IDs: ids, Mask: all(70)}},
						func(_ int, _, _, dlogp, _ []float32) error {
							dlogp[0] = 1
							return nil
						}, 1e-3)
					require.NoError(t, err)
					defer tr.Close()
				}
				p.Score = &PlanPass{Tokens: 70, KVType: kernels.F32}
				s, err := train.NewScorer(dev, m, a, train.Options{KVType: kernels.F32})
				require.NoError(t, err)
				_, _, err = s.Score([]train.Sequence{{IDs: ids, Mask: all(70)}})
				require.NoError(t, err)

				mem, err := Plan{Models: []PlanModel{p}, Threads: 2}.Memory()
				require.NoError(t, err)
				got := mem.Of("m", "")
				require.InEpsilon(t, dev.bytes, got, 0.005, "%+v", mem.Lines)
				s.Close()
				e.Close()
				if a != nil {
					a.Close()
				}
				m.Close()
			})
		}
	}
}

func all(n int) []bool {
	mask := make([]bool, n)
	for i := range mask {
		mask[i] = true
	}
	return mask
}

// More of anything never takes less, sharing weights takes their bytes away, and a limit says what is largest.
func TestPlanProperties(t *testing.T) {
	c := planShapes()["llama"]
	base := func() PlanModel {
		return PlanModel{Name: "policy", Config: c, DType: kernels.BF16, Full: true, Engine: &PlanEngine{},
			Train: &PlanPass{Tokens: 256}, Score: &PlanPass{Tokens: 256}}
	}
	total := func(m PlanModel) int64 {
		mem, err := Plan{Models: []PlanModel{m}, Threads: 2}.Memory()
		require.NoError(t, err)
		require.Equal(t, mem.Total, mem.Of("", ""))
		for _, l := range mem.Lines {
			require.Positive(t, l.Bytes, l.What)
		}
		return mem.Total
	}
	x := total(base())
	for what, f := range map[string]func(*PlanModel){
		"tokens":    func(m *PlanModel) { m.Train.Tokens *= 2 },
		"sequences": func(m *PlanModel) { m.Train.Sequences = 64 },
		"pages":     func(m *PlanModel) { m.Engine.KVPages = 5000 },
		"f32":       func(m *PlanModel) { m.DType = kernels.F32 },
		"kv":        func(m *PlanModel) { m.Score.KVType = kernels.F32 },
		"batch":     func(m *PlanModel) { m.Engine.MaxBatchTokens = 1024 },
		"saved":     func(m *PlanModel) { m.Saved = true },
	} {
		m := base()
		f(&m)
		require.Greater(t, total(m), x, what)
	}
	for what, f := range map[string]func(*PlanModel){
		"recompute": func(m *PlanModel) { m.Train.Recompute = true }, "shared": func(m *PlanModel) { m.Shared = true },
		"lora":      func(m *PlanModel) { m.Full, m.LoRA = false, &PlanLoRA{R: 4, Trained: true} },
		"active":    func(m *PlanModel) { m.Engine.Active = 4 },
		"no scorer": func(m *PlanModel) { m.Score = nil },
	} {
		m := base()
		f(&m)
		require.Less(t, total(m), x, what)
	}
	mem := Memory{Lines: []MemoryLine{{"policy", "weights", "", "", 1 << 30}, {"policy", "moments", "", "", 3 << 30}},
		Total: 4 << 30}
	require.NoError(t, mem.Fits(4<<30))
	require.EqualError(t, mem.Fits(2<<30),
		"it takes 4.00 GiB of memory and there are 2.00 GiB (policy moments 3.00 GiB, policy weights 1.00 GiB)")
	big := &model.Config{Arch: "llama", Vocab: 1 << 22, Hidden: 1 << 17, Inter: 1 << 20, Layers: 1 << 11,
		Heads: 1 << 11, KVHeads: 1 << 11, HeadDim: 1 << 11, MaxPos: 1 << 28, Eps: 1e-5, RopeTheta: 1e4}
	require.Greater(t, total(PlanModel{Name: "big", Config: big, DType: kernels.F32, Full: true}),
		int64(math.MaxInt64>>20), "no overflow")
	for _, bad := range []PlanModel{
		{Name: "x"}, {Name: "x", Config: &model.Config{}}, {Name: "x", Config: c, DType: kernels.Q8, Full: true},
		{Name: "x", Config: c, Train: &PlanPass{}}, {Name: "x", Config: c, Score: &PlanPass{Tokens: 5, Sequences: 6}},
		{Name: "x", Config: c, LoRA: &PlanLoRA{R: 0}}, {Name: "x", Config: c},
		{Name: "x", Config: c, DType: kernels.BF16, LoRA: &PlanLoRA{R: 4, Targets: []string{"lm_head"}}},
		{Name: "x", Config: c, DType: kernels.BF16, Engine: &PlanEngine{ModelOptions: ModelOptions{KVPages: -1}}},
	} {
		_, err := Plan{Models: []PlanModel{bad}}.Memory()
		require.ErrorContains(t, err, "planning the memory of x")
	}
}

// A model on another device has scratch there, and counts in its memory if that is not the host's.
func TestPlanOfDevices(t *testing.T) {
	run := &PlanEngine{ModelOptions: ModelOptions{KVType: kernels.F32}}
	plan := func(simulator string) Memory {
		m, err := Plan{Threads: 2,
			Models: []PlanModel{{Name: "policy", Config: planShape, DType: kernels.F32, Engine: run},
				{Name: "simulator", Device: simulator, Config: planShape, DType: kernels.F32, Engine: run}}}.Memory()
		require.NoError(t, err)
		return m
	}
	one, host, gpu := plan(""), plan("ref"), plan("cuda:1")
	require.Equal(t, one, plan("cpu"))
	require.Equal(t, one.Total, one.On(""))
	require.Equal(t, host.Total, host.On(""))
	require.Equal(t, one.Of("device", "scratch"), host.Of("device", "scratch"))
	require.Zero(t, host.Of("device ref", "scratch"), "it takes what it needs from Go's heap")
	require.Equal(t, host.Total, one.Total)
	require.NotZero(t, gpu.Of("device cuda:1", "scratch"))

	require.Equal(t, gpu.Of("simulator", "")+gpu.Of("device cuda:1", "scratch"), gpu.On("cuda:1"))
	require.Equal(t, gpu.Total, gpu.On("")+gpu.On("cuda:1"))
	require.NoError(t, gpu.Fits(gpu.On("")))
	require.ErrorContains(t, gpu.Fits(gpu.On("")-1), "of memory and there are")
	require.NoError(t, gpu.FitsOn("cuda:1", gpu.On("cuda:1")))
	err := gpu.FitsOn("cuda:1", gpu.On("cuda:1")-1)
	require.ErrorContains(t, err, " of cuda:1's memory and there are ")
	require.NotContains(t, err.Error(), "policy")
}

// planShape is SmolLM2-135M with fewer layers and tokens: what is measured where there is no checkpoint of the whole.
var planShape = &model.Config{Arch: "llama", Vocab: 8192, Hidden: 576, Inter: 1536, Layers: 4, Heads: 9, KVHeads: 3,
	HeadDim: 64, MaxPos: 8192, Eps: 1e-5, RopeTheta: 1e5, Tied: true}

// planModel is what is measured: the model in dir, or random weights.
func planModel(t *testing.T, dev kernels.Device, dir string, o model.Options) *model.Model {
	var m *model.Model
	var err error
	if dir == "" {
		m, err = model.NewRandom(dev, planShape, o, 1)
	} else {
		m, err = model.Load(dev, dir, o)
	}
	require.NoError(t, err)
	return m
}

// planRuns are what is measured, and its plan. run calls sample when all memory is in use.
var planRuns = map[string]struct {
	plan func(c *model.Config) PlanModel
	run  func(t *testing.T, dev kernels.Device, dir string, sample func())
}{
	"generate": {
		func(c *model.Config) PlanModel {
			return PlanModel{Name: "m", Config: c, DType: kernels.BF16,
				Engine: &PlanEngine{ModelOptions: ModelOptions{KVPages: 512}, Active: 32}}
		},
		func(t *testing.T, dev kernels.Device, dir string, sample func()) {
			planGenerate(t, dev, dir, kernels.BF16, sample)
		},
	},
	"generate q8": {
		func(c *model.Config) PlanModel {
			return PlanModel{Name: "m", Config: c, DType: kernels.Q8,
				Engine: &PlanEngine{ModelOptions: ModelOptions{KVPages: 512}, Active: 32}}
		},
		func(t *testing.T, dev kernels.Device, dir string, sample func()) {
			planGenerate(t, dev, dir, kernels.Q8, sample)
		},
	},
	"train 4x512": {
		func(c *model.Config) PlanModel {
			return PlanModel{Name: "m", Config: c, DType: kernels.BF16, Full: true,
				Train: &PlanPass{Tokens: 2048, Sequences: 4, Longest: 512}}
		},
		func(t *testing.T, dev kernels.Device, dir string, sample func()) {
			planTrain(t, dev, dir, true, 0, false, sample)
		},
	},
	"train 4x512 recomputed": {
		func(c *model.Config) PlanModel {
			return PlanModel{Name: "m", Config: c, DType: kernels.BF16, Full: true,
				Train: &PlanPass{Tokens: 2048, Sequences: 4, Longest: 512, Recompute: true}}
		},
		func(t *testing.T, dev kernels.Device, dir string, sample func()) {
			planTrain(t, dev, dir, true, 0, true, sample)
		},
	},
	"lora 4x512": {
		func(c *model.Config) PlanModel {
			return PlanModel{Name: "m", Config: c, DType: kernels.BF16, LoRA: &PlanLoRA{R: 16, Trained: true},
				Train: &PlanPass{Tokens: 2048, Sequences: 4, Longest: 512}}
		},
		func(t *testing.T, dev kernels.Device, dir string, sample func()) {
			planTrain(t, dev, dir, false, 16, false, sample)
		},
	},
}

func planGenerate(t *testing.T, dev kernels.Device, dir string, dtype kernels.DType, sample func()) {
	m := planModel(t, dev, dir, model.Options{DType: dtype})
	e := New(dev, Options{})
	require.NoError(t, e.AddModel("m", m, ModelOptions{KVPages: 512}))
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			_, err := e.Generate(t.Context(), Request{Model: "m", Prompt: prompt(420, uint64(i)), MaxTokens: 4,
				EOS: []int32{}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	sample()
	e.Close()
	m.Close()
}

func planTrain(t *testing.T, dev kernels.Device, dir string, full bool, rank int, recompute bool, sample func()) {
	m := planModel(t, dev, dir, model.Options{DType: kernels.BF16, Trainable: full})
	var a *model.Adapter
	var err error
	if rank > 0 {
		a, err = model.NewAdapter(m, model.AdapterConfig{R: rank, Alpha: 32, Targets: []string{"all-linear"}}, true, 1)
		require.NoError(t, err)
	}
	tr, err := train.New(dev, m, a, train.Options{Recompute: recompute})
	require.NoError(t, err)
	var seqs []train.Sequence
	for i := range 4 {
		seqs = append(seqs, train.Sequence{IDs: prompt(512, uint64(i)), Mask: all(512)})
	}
	steps := 1
	if dir != "" {
		steps = 2
	}
	for range steps {
		_, err = tr.Step(seqs, func(_ int, _, _, dlogp, _ []float32) error {
			for i := range dlogp {
				dlogp[i] = -1e-3
			}
			return nil
		}, 1e-5)
		require.NoError(t, err)
	}
	sample()
	tr.Close()
	if a != nil {
		a.Close()
	}
	m.Close()
}

// The plan and the peak of a process's anonymous memory agree within 5%: of a small model, or of SmolLM2-135M-Instruct
// in the folder ZEROSEARCH_SMOLLM2. Each run is a process of its own.
func TestPlanPeak(t *testing.T) {
	if anonymous() == 0 || raceDetector {
		t.Skip("this system does not say how much memory is anonymous, or the race detector takes its own")
	}
	dir := os.Getenv("ZEROSEARCH_SMOLLM2")
	if name := os.Getenv("ZEROSEARCH_PLAN_RUN"); name != "" {
		dev, err := cpu.New(cpu.Options{Threads: 2})
		require.NoError(t, err)
		peak := watchAnonymous()
		most := int64(0) // on one processor the watch is late
		planRuns[name].run(t, dev, dir, func() { most = anonymous() })
		fmt.Printf("peak %d\n", max(most, peak()))
		require.NoError(t, dev.Close())
		return
	}
	c := planShape
	if dir != "" {
		var err error
		c, err = model.ReadConfig(dir)
		require.NoError(t, err)
	}
	for name, r := range planRuns {
		t.Run(name, func(t *testing.T) {
			// No tokenizer and no text are in a test: only the runtime and the staging of the load.
			mem, err := Plan{Models: []PlanModel{r.plan(c)}, Threads: 2, Program: 16 << 20}.Memory()
			require.NoError(t, err)
			// The collector of a busy machine is late, which makes a peak higher, never lower: the lowest of three
			// counts.
			peak := int64(math.MaxInt64)
			within := func() float64 { return 0.05*float64(peak) + 12<<20 } // the heap's own ups and downs
			for try := 0; try < 3 && float64(peak-mem.Total) > within(); try++ {
				cmd := exec.Command(os.Args[0], "-test.run=^TestPlanPeak$")
				cmd.Env = append(os.Environ(), "ZEROSEARCH_PLAN_RUN="+name)
				out, err := cmd.Output()
				require.NoError(t, err, "%s", out)
				_, text, ok := strings.Cut(string(out), "peak ")
				require.True(t, ok, "%s", out)
				text, _, _ = strings.Cut(text, "\n")
				now, err := strconv.ParseInt(text, 10, 64)
				require.NoError(t, err)
				peak = min(peak, now)
			}
			t.Logf("planned %.1f MiB, peak %.1f MiB: %+.1f%%", float64(mem.Total)/(1<<20), float64(peak)/(1<<20),
				100*(float64(mem.Total)/float64(peak)-1))
			for _, l := range mem.Lines {
				t.Logf("  %-8s %-20s %8.1f MiB  %s", l.Model, l.What, float64(l.Bytes)/(1<<20), l.Detail)
			}
			require.InDelta(t, peak, mem.Total, within())
		})
	}
}

// watchAnonymous samples the process's anonymous memory; what it returns ends that and gives the peak.
func watchAnonymous() func() int64 {
	stop, peak := make(chan struct{}), make(chan int64)
	go func() {
		most := int64(0)
		for {
			most = max(most, anonymous())
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-peak
	}
}

// anonymous is RssAnon of this process in bytes, 0 where the system does not say.
func anonymous() int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "RssAnon:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(v, "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}
