package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// Plan describes what a program will do with its models. Memory computes the memory that this takes from configurations
// alone, before anything is loaded.
//
// The result is the peak: every buffer that model, engine and engine/train allocate, with caches full, in the sizes of
// the device (kernels.SizesOf), in host or device memory; and the memory of the Go program itself.
type Plan struct {
	Models  []PlanModel
	Device  string // of the models that name none, as kernels.Device.Name has it; "": cpu
	Threads int    // of the cpu; 0: 1
	Ranks   int    // processes that train together, of which the plan is one; 0: 1
	// the program beside its models: code's heap, tokenizers, text, bytes. 0: an allowance for one tokenizer
	Program int64
}

// PlanModel is a model and its uses.
type PlanModel struct {
	Name   string // of the role: policy, simulator, reference
	Device string // "": the plan's
	Config *model.Config
	DType  kernels.DType // of matrices
	Shared bool          // the weights are those of another entry: only its uses count
	Full   bool          // all weights are trained
	LoRA   *PlanLoRA     // nil: no adapter
	Saved  bool          // checkpoints of what is trained are written
	// Averaged weights, or with an adapter its, are kept in F32 beside those they are computed with (train.Average).
	Averaged bool

	Engine *PlanEngine // nil: not in the engine
	Train  *PlanPass   // nil: no Trainer
	Score  *PlanPass   // nil: no Scorer
}

// PlanLoRA is an adapter of one rank.
type PlanLoRA struct {
	R       int
	Targets []string // as in model.AdapterConfig; nil: all
	Trained bool
}

// PlanEngine is a model in the engine. Sizes that are 0 are those of ModelOptions and Options.
type PlanEngine struct {
	ModelOptions
	LogitsBytes int64
	Active      int // sequences that are really under way at once, which bounds the logits; 0: MaxSequences
}

// PlanPass is what a train.Trainer or a train.Scorer works on.
type PlanPass struct {
	Tokens    int           // of the largest micro-batch: MicroBatchTokens, or the longest sequence where that is more
	Sequences int           // in it, which round up to pages each; 0: 1
	Longest   int           // tokens that attend to each other: a sequence, or a group that shares a prompt; 0: Tokens
	KVType    kernels.DType // 0: BF16
	Recompute bool
}

// MemoryLine is one use of memory.
type MemoryLine struct {
	Model string `json:"model"`
	// the same words for every model: weights, masters, gradients, moments, adapter, KV pages, workspace, ...
	What   string `json:"what"`
	Detail string `json:"detail,omitempty"`
	Device string `json:"device,omitempty"` // the device whose own memory it is; "": the host's
	Bytes  int64  `json:"bytes"`
}

// Memory is a plan added up.
type Memory struct {
	Lines []MemoryLine `json:"lines"`
	Total int64        `json:"total_bytes"`
}

// Of is the sum of all lines of a model ("": all) and a use ("": all).
func (m Memory) Of(name, what string) (n int64) {
	for _, l := range m.Lines {
		if (name == "" || l.Model == name) && (what == "" || l.What == what) {
			n += l.Bytes
		}
	}
	return n
}

// On is the sum of the lines in the memory of a device, or for "" in the host's.
func (m Memory) On(device string) (n int64) {
	for _, l := range m.Lines {
		if l.Device == device {
			n += l.Bytes
		}
	}
	return n
}

// Fits is nil if m is within limit bytes of the host's memory, and else an error of one line that names what is
// largest.
func (m Memory) Fits(limit int64) error { return m.FitsOn("", limit) }

// FitsOn is Fits for the memory of a device.
func (m Memory) FitsOn(device string, limit int64) error {
	total := m.On(device)
	if total <= limit {
		return nil
	}
	of := "memory"
	if device != "" {
		of = device + "'s memory"
	}
	lines := slices.DeleteFunc(slices.Clone(m.Lines), func(l MemoryLine) bool { return l.Device != device })
	slices.SortStableFunc(lines, func(a, b MemoryLine) int { return int(max(min(b.Bytes-a.Bytes, 1), -1)) })
	var most []string
	for _, l := range lines[:min(3, len(lines))] {
		most = append(most, fmt.Sprintf("%s %s %s", l.Model, l.What, size(l.Bytes)))
	}
	return fmt.Errorf("it takes %s of %s and there are %s (%s)", size(total), of, size(limit), strings.Join(most, ", "))
}

// maxPlanned bounds what can be asked for: products stay within 64 bits.
const maxPlanned = 1 << 28

// What New and AddModel take for 0.
const (
	defaultLogitsBytes = 64 << 20
	defaultBatchTokens = 512
)

// Memory adds the plan up.
func (p Plan) Memory() (Memory, error) {
	var m Memory
	for i := range p.Models {
		x := &p.Models[i]
		device := p.deviceOf(x)
		if err := x.check(device); err != nil {
			return m, fmt.Errorf("planning the memory of %s: %w", x.Name, err)
		}
		for _, part := range []func(s kernels.Sizes, add func(what, detail string, bytes int64)) error{
			func(s kernels.Sizes, add func(string, string, int64)) error { return x.weights(s, p.ranks(), add) },
			x.engine, x.passes} {
			if err := part(p.sizes(device), func(what, detail string, bytes int64) {
				if bytes > 0 {
					l := MemoryLine{x.Name, what, detail, ownMemory(device), bytes}
					if what == saving || what == exchange {
						l.Device = ""
					}
					m.Lines = append(m.Lines, l)
				}
			}); err != nil {
				return m, fmt.Errorf("planning the memory of %s: %w", x.Name, err)
			}
		}
	}
	for i, device := range p.devices() {
		name := "device"
		if i > 0 {
			name += " " + device
		}
		if n := p.scratch(device); n > 0 {
			detail := ""
			if device == "cpu" {
				detail = fmt.Sprintf("%d threads", p.threads(device))
			}
			m.Lines = append(m.Lines, MemoryLine{name, "scratch", detail, ownMemory(device), n})
		}
	}
	m.Lines = append(m.Lines, MemoryLine{"program", "heap", "", "", p.program()})
	m.Total = m.Of("", "")
	return m, nil
}

func (p Plan) deviceOf(x *PlanModel) string { return cmp.Or(x.Device, p.Device, "cpu") }

// devices are those of the models, the plan's first.
func (p Plan) devices() []string {
	all := []string{cmp.Or(p.Device, "cpu")}
	for i := range p.Models {
		if d := p.deviceOf(&p.Models[i]); !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	return all
}

// threads are those that compute on a device.
func (p Plan) threads(device string) int {
	if device != "cpu" {
		return 1
	}
	return max(p.Threads, 1)
}

// ownMemory is the device if it has memory apart from the host's, or else "".
func ownMemory(device string) string {
	if device == "cpu" || device == "ref" {
		return ""
	}
	return device
}

func (x *PlanModel) check(device string) error {
	if x.Config == nil {
		return fmt.Errorf("it has no configuration")
	}
	if err := x.Config.Check(); err != nil {
		return err
	}
	if x.Full && (x.DType.Quantised() || x.LoRA != nil && x.LoRA.Trained) {
		return fmt.Errorf("quantised weights, or those under a trained adapter, are not trained")
	}
	for _, s := range []*PlanPass{x.Train, x.Score} {
		if s != nil && (s.Tokens < 1 || s.Tokens > maxPlanned || s.Sequences < 0 || s.Sequences > s.Tokens ||
			s.Longest < 0) {
			return fmt.Errorf("a micro-batch of %d tokens in %d sequences, the longest %d", s.Tokens, s.Sequences,
				s.Longest)
		}
	}
	if a := x.LoRA; a != nil && (a.R < 1 || a.R > maxPlanned>>8) {
		return fmt.Errorf("an adapter of rank %d", a.R)
	}
	if x.DType != kernels.F32 && x.DType != kernels.BF16 && !x.DType.Quantised() {
		return fmt.Errorf("weights in %v", x.DType)
	}
	if x.DType == kernels.Q4 && strings.HasPrefix(device, "cuda") {
		return errors.New("q4 is not available on CUDA: use q8 or bf16")
	}
	return nil
}

// What is in the host's memory, wherever the model is.
const (
	saving   = "saving"   // what a checkpoint brings there
	exchange = "exchange" // what is sent to other ranks, and received
)

// weights is what lies in memory whatever is done: the matrices in their type, and of what is trained F32 masters,
// gradients and AdamW's two moments.
func (x *PlanModel) weights(s kernels.Sizes, ranks int64, add func(string, string, int64)) error {
	c := x.Config
	if !x.Shared {
		add("weights", x.DType.String(), c.WeightBytesOn(s, x.DType))
	}
	n, err := x.positions()
	if err != nil {
		return err
	}
	if n > 0 {
		add("rotary table", fmt.Sprintf("%d positions", n), 4*int64(n)*int64(c.HeadDim))
	}
	t, err := x.trained(ranks)
	if err != nil {
		return err
	}
	matrix := 4 * int64(c.Hidden) * int64(max(c.Vocab, c.Inter, c.Heads*c.HeadDim))
	learn := func(what string) {
		part, kept := what, int64(0)
		if ranks > 1 {
			part, kept = fmt.Sprintf("%s, 1 of %d parts", what, ranks), 4*t.vectors
		}
		add("masters", part, 4*t.Parameters/ranks+kept)
		add("gradients", what, 4*t.Parameters)
		add("moments", part, 8*t.Parameters/ranks)
		if ranks > 1 {
			add(exchange, fmt.Sprintf("%d ranks", ranks), train.ExchangeBytes(t.Parameters, int(ranks)))
		}
	}
	if x.Full {
		learn("f32")
		if x.Saved {
			add(saving, "the largest matrix", matrix)
		}
	}
	if x.Averaged && x.LoRA == nil {
		add("average", "f32", 4*t.Parameters/ranks+matrix)
	}
	if a := x.LoRA; a != nil {
		_, packed, err := a.sizes(s, c, x.DType)
		if err != nil {
			return err
		}
		if x.Averaged {
			add("average", "f32", 4*t.Parameters/ranks)
		}
		add("adapter", fmt.Sprintf("rank %d", a.R), packed)
		if a.Trained {
			learn(fmt.Sprintf("f32, rank %d", a.R))
			if x.Saved {
				add(saving, "the adapter", 4*t.Parameters)
			}
		}
	}
	return nil
}

// loraType is the type of an adapter's matrices over weights of a type.
func loraType(t kernels.DType) kernels.DType {
	if t.Quantised() {
		return kernels.BF16
	}
	return t
}

// sizes is the adapter's parameters, and its bytes as operands.
func (a *PlanLoRA) sizes(s kernels.Sizes, c *model.Config, t kernels.DType) (params, bytes int64, err error) {
	hd, gd := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	t = loraType(t)
	for _, p := range []struct {
		name    string
		out, in int
	}{{"q_proj", hd, c.Hidden}, {"k_proj", gd, c.Hidden}, {"v_proj", gd, c.Hidden}, {"o_proj", c.Hidden, hd},
		{"gate_proj", c.Inter, c.Hidden}, {"up_proj", c.Inter, c.Hidden}, {"down_proj", c.Hidden, c.Inter}} {
		if !a.targets(p.name) {
			continue
		}
		params += int64(a.R) * int64(p.out+p.in)
		bytes += s.Weight(a.R, p.in, t) + s.Weight(p.out, a.R, t)
	}
	if params == 0 {
		return 0, 0, fmt.Errorf("lora targets %s match none of the projections", strings.Join(a.Targets, ","))
	}
	return params * int64(c.Layers), bytes * int64(c.Layers), nil
}

func (a *PlanLoRA) targets(name string) bool {
	return len(a.Targets) == 0 || slices.ContainsFunc(a.Targets, func(t string) bool {
		return t == "all-linear" || t == name || strings.HasSuffix(t, "."+name)
	})
}

// rank is the adapter's, 0 without one.
func (x *PlanModel) rank() int {
	if x.LoRA == nil {
		return 0
	}
	return x.LoRA.R
}

// options are the engine's, with defaults in place of zeros.
func (x *PlanModel) options() (o ModelOptions, pages int, err error) {
	o = x.Engine.ModelOptions
	pages, err = o.fill(&model.Model{Config: x.Config, DType: x.DType})
	return o, pages, err
}

// logitRows is how many rows of logits the engine has room for.
func (x *PlanModel) logitRows(o ModelOptions) int {
	logits := x.Engine.LogitsBytes
	if logits <= 0 {
		logits = defaultLogitsBytes
	}
	active := min(o.MaxSequences, o.MaxBatchTokens)
	if x.Engine.Active > 0 {
		active = min(active, x.Engine.Active)
	}
	return int(min(max(logits/(4*int64(x.Config.Vocab)), 1), int64(active)))
}

// positions is the length of the rotary table that all uses share.
func (x *PlanModel) positions() (n int, err error) {
	if x.Engine != nil {
		o, pages, err := x.options()
		if err != nil {
			return 0, err
		}
		n = min(o.MaxContext, pages*kernels.PageSize)
	}
	for _, p := range []*PlanPass{x.Train, x.Score} {
		if p != nil {
			n = max(n, p.longest())
		}
	}
	if n == 0 {
		return 0, nil
	}
	return max(n, 256), nil
}

// engine is what AddModel allocates.
func (x *PlanModel) engine(s kernels.Sizes, add func(string, string, int64)) error {
	if x.Engine == nil {
		return nil
	}
	c := x.Config
	o, pages, err := x.options()
	if err != nil {
		return err
	}
	t, chunk, w := o.MaxBatchTokens, x.logitRows(o), model.WorkspaceOptions{Rank: x.rank()}
	add("KV pages", fmt.Sprintf("%d of %d tokens, %v", pages, kernels.PageSize, o.KVType),
		s.KV(c.KVSpec(pages, o.KVType)))
	bytes := c.WorkspaceBytes(s, x.DType, t, w) + c.RankBytes(t, w) + s.Batch(engineBatch(o, pages), false)
	add("workspace", fmt.Sprintf("%d tokens a pass", t), bytes+int64(t)*(4*int64(c.Hidden)+16))
	add("logits", fmt.Sprintf("chunks of %d", chunk), 4*int64(chunk)*int64(c.Vocab))
	return nil
}

// passes is what Trainer and Scorer allocate for a micro-batch.
func (x *PlanModel) passes(s kernels.Sizes, add func(string, string, int64)) error {
	for _, u := range []struct {
		p    *PlanPass
		keep bool
		what string
	}{{x.Train, true, "activations"}, {x.Score, false, "scoring"}} {
		if u.p == nil {
			continue
		}
		c, t, kv := x.Config, int64(u.p.Tokens), u.p.kvType()
		o, detail := model.WorkspaceOptions{Keep: u.keep, Rank: x.rank()}, fmt.Sprintf("%d tokens", t)
		if u.keep && u.p.Recompute {
			o.Recompute = func(int) bool { return true }
			detail += ", recomputed"
		}
		pages := u.p.pages()
		bytes := c.WorkspaceBytes(s, x.DType, u.p.Tokens, o) + c.RankBytes(u.p.Tokens, o) + s.Batch(u.p.batch(), u.keep)
		outputs := t * (4*int64(c.Hidden) + 24)
		if u.keep { // dk, dv
			bytes += 2 * 4 * pages * kernels.PageSize * int64(c.KVHeads) * int64(c.HeadDim)
			outputs += 8 * t * int64(c.Hidden)
		}
		add(u.what, detail, bytes)
		add(u.what+" KV", fmt.Sprintf("%d pages, %v", pages, kv), s.KV(c.KVSpec(int(pages), kv)))
		add(u.what+" outputs", "", outputs)
	}
	return nil
}

func (p *PlanPass) pages() int64 {
	n := max(p.Sequences, 1)
	return int64(p.Tokens/kernels.PageSize + n)
}

// batch is the size of the largest micro-batch: every sequence may have a second segment for its prompt.
func (p *PlanPass) batch() kernels.BatchSpec {
	n := max(p.Sequences, 1)
	return kernels.BatchSpec{Tokens: p.Tokens, Segments: 2 * n, Pages: n*kernels.PagesFor(p.longest()) + int(p.pages()),
		Rows: p.Tokens}
}

func (p *PlanPass) kvType() kernels.DType { return cmp.Or(p.KVType, kernels.BF16) }

func (p *PlanPass) longest() int {
	if p.Longest == 0 {
		return p.Tokens
	}
	return min(p.Longest, p.Tokens)
}
