package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// A GGUF file is a whole model: what config.json says is in its metadata, the tensors have other names, and those of
// quantised types are dequantised as they are loaded.

// ggufNames are the names of tensors by the ends of ours: what stands behind model.layers.N there and behind blk.N
// here.
var ggufNames = map[string]string{
	"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
	"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
	"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
	"self_attn.o_proj": "attn_output",
	"mlp.gate_proj":    "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}

// ggufName is the name that a tensor of ours has in a GGUF file.
func ggufName(name string) string {
	switch name {
	case embedName:
		return "token_embd.weight"
	case normName:
		return "output_norm.weight"
	case headName:
		return "output.weight"
	}
	rest := strings.TrimPrefix(name, "model.layers.")
	layer, rest, _ := strings.Cut(rest, ".")
	end := strings.LastIndexByte(rest, '.')
	return "blk." + layer + "." + ggufNames[rest[:end]] + rest[end:]
}

// ropeFreqs is a tensor that says how Llama 3.1 scales its frequencies, where config.json has rope_scaling.
const ropeFreqs = "rope_freqs.weight"

// readGGUFConfig is ReadConfig of a GGUF file.
func readGGUFConfig(path string) (*Config, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := ggufConfig(f)
	if err != nil {
		return nil, fmt.Errorf("reading the GGUF file %s: %w", path, err)
	}
	return c, nil
}

// ggufConfig says what model a GGUF file holds.
func ggufConfig(f *gguf.File) (*Config, error) {
	m := ggufKeys{Metadata: f.Metadata}
	name, _ := f.Text("general.architecture")
	a := archOf(name)
	if a == nil || name == "mistral" { // whose files are called llama
		return nil,
			fmt.Errorf("architecture %q (general.architecture) is not supported: use a file of llama, qwen2 or "+
				"qwen3", name)
	}
	m.prefix = name + "."
	c := &Config{Arch: name, QKNorm: a.qkNorm}
	m.whole(&c.Hidden, "embedding_length", required)
	m.whole(&c.Inter, "feed_forward_length", required)
	m.whole(&c.Layers, "block_count", required)
	m.whole(&c.Heads, "attention.head_count", required)
	m.whole(&c.KVHeads, "attention.head_count_kv", c.Heads)
	m.whole(&c.HeadDim, "attention.key_length", c.Hidden/max(c.Heads, 1))
	m.whole(&c.MaxPos, "context_length", a.maxPos)
	var values, rotated int
	m.whole(&values, "attention.value_length", c.HeadDim)
	m.whole(&rotated, "rope.dimension_count", c.HeadDim)
	eps, theta := m.number("attention.layer_norm_rms_epsilon", 1e-5), m.number("rope.freq_base", 10000)
	c.Eps, c.RopeTheta = float32(eps), theta
	if m.err != nil {
		return nil, m.err
	}
	if err := m.refuse(); err != nil {
		return nil, err
	}
	if values != c.HeadDim || rotated != c.HeadDim {
		return nil,
			fmt.Errorf("keys have %d elements a head, values %d, of which %d are rotated: only equal numbers are "+
				"supported", c.HeadDim, values, rotated)
	}
	embed, ok := f.Tensor("token_embd.weight")
	if !ok || len(embed.Shape) != 2 {
		return nil,
			errors.New("there is no matrix token_embd.weight: it holds a vocabulary only, or a part of a model that " +
				"was split into several files: join them with llama-gguf-split --merge")
	}
	c.Vocab = embed.Shape[0]
	_, head := f.Tensor("output.weight")
	c.Tied = !head
	_, qkv := f.Tensor("blk.0.attn_q.bias")
	_, output := f.Tensor("blk.0.attn_output.bias")
	_, mlp := f.Tensor("blk.0.ffn_up.bias")
	c.QKVBias, c.OBias, c.MLPBias = qkv, output, mlp
	if c.OBias && name == "qwen2" {
		return nil, errors.New("attention's output has a bias, which no qwen2 has")
	}
	c.BOS, c.EOS = f.BOS(c.Vocab), f.EOS(c.Vocab)
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", m.prefix, err)
	}
	return c, c.readRopeFreqs(f)
}

// ggufKeys reads the metadata of an architecture; err is the first one that is wrong.
type ggufKeys struct {
	gguf.Metadata
	prefix string
	err    error
}

// required is the default of a number that must be there.
const required = -1

// whole reads a whole number; absent is what a missing one means.
func (m *ggufKeys) whole(to *int, key string, absent int) {
	key = m.prefix + key
	n, ok := m.Int(key)
	switch {
	case m.err != nil:
	case !m.Has(key) && absent != required:
		*to = absent
	case !m.Has(key):
		m.err = fmt.Errorf("%s is missing", key)
	case !ok:
		if list, is := m.Ints(key); is && len(slices.Compact(list)) == 1 { // one for each layer
			*to = int(list[0])
			return
		}
		m.err = fmt.Errorf("%s is %s, not one whole number", key, shown(m.Metadata[key]))
	case n < 0 || n > math.MaxInt32:
		m.err = fmt.Errorf("%s is %d, which cannot be", key, n)
	default:
		*to = int(n)
	}
}

func (m *ggufKeys) number(key string, absent float64) float64 {
	key = m.prefix + key
	x, ok := m.Float(key)
	if !m.Has(key) {
		return absent
	}
	if !ok && m.err == nil {
		m.err = fmt.Errorf("%s is %s, not a number", key, shown(m.Metadata[key]))
	}
	return x
}

// shown is a value in an error.
func shown(v any) string {
	text := fmt.Sprintf("%v", v)
	if len(text) > 40 {
		text = strings.ToValidUTF8(text[:40], "") + "..."
	}
	return strconv.Quote(text)
}

// refuse names what the block cannot compute.
func (m *ggufKeys) refuse() error {
	if n, _ := m.Int(m.prefix + "expert_count"); n > 0 {
		return fmt.Errorf("it is a mixture of %d experts, which is not supported", n)
	}
	if kind, _ := m.Text(m.prefix + "rope.scaling.type"); kind != "" && kind != "none" {
		return fmt.Errorf("rope scaling %q (%srope.scaling.type) is not supported", kind, m.prefix)
	}
	if m.Has(m.prefix+"rope.scale_linear") || m.Has(m.prefix+"rope.scaling.factor") {
		if x := m.number("rope.scaling.factor", 1) * m.number("rope.scale_linear", 1); x != 1 {
			return fmt.Errorf("rope scaling by a factor of %v is not supported", x)
		}
	}
	window, _ := m.Int(m.prefix + "attention.sliding_window")
	if longest, _ := m.Int(m.prefix + "context_length"); window > 0 && window < longest {
		return fmt.Errorf("a sliding window of %d tokens (%sattention.sliding_window) is not supported", window,
			m.prefix)
	}
	return nil
}

// readRopeFreqs finds the rope_scaling of Llama 3.1 that makes the divisors of the frequencies in the file. Published
// ones differ in their factor, which is the divisor of the lowest frequency, and in the original length, a power of
// two.
func (c *Config) readRopeFreqs(f *gguf.File) error {
	t, ok := f.Tensor(ropeFreqs)
	if !ok {
		return nil
	}
	divisors, err := ggufVector(t, c.HeadDim/2)
	if err != nil {
		return err
	}
	plain := invFreq(c)
	for length := 8; length <= 1<<20; length *= 2 {
		s := &RopeScaling{Factor: float64(slices.Max(divisors)), LowFreq: 1, HighFreq: 4, OriginalMaxPos: length}
		if s.check() == nil && s.divides(plain, divisors) {
			c.RopeScaling = s
			return nil
		}
	}
	return fmt.Errorf(
		"tensor %s scales the frequencies of rotation in another way than Llama 3.1's, which is not supported",
		ropeFreqs)
}

// divides reports whether s divides the frequencies by divisors.
func (s *RopeScaling) divides(plain, divisors []float32) bool {
	for i, f := range plain {
		if want := float64(f / s.scaled(f)); !(math.Abs(want-float64(divisors[i])) <= 1e-4*want) {
			return false
		}
	}
	return true
}

// ggufVector reads a vector of n elements.
func ggufVector(t *gguf.Tensor, n int) ([]float32, error) {
	to := dequantizers[t.Type]
	if !slices.Equal(t.Shape, []int{n}) || to == nil {
		return nil, fmt.Errorf("tensor %s has shape %v of %s: a vector of %d is called for", t.Name, t.Shape, t.Type, n)
	}
	raw, out := make([]byte, t.Bytes()), make([]float32, n)
	if err := t.ReadRows(raw, 0); err != nil {
		return nil, err
	}
	to(out, raw)
	return out, nil
}

// checkGGUF compares the tensors of a file with what c calls for.
func checkGGUF(c *Config, f *gguf.File) error {
	var missing, wrong []string
	known := map[string]bool{ropeFreqs: true}
	c.eachShape(func(name string, shape []int) {
		name = ggufName(name)
		known[name] = true
		t, ok := f.Tensor(name)
		switch {
		case !ok:
			missing = append(missing, name)
		case !slices.Equal(t.Shape, shape):
			wrong = append(wrong, fmt.Sprintf("tensor %s has shape %v, its metadata calls for %v", name, t.Shape,
				shape))
		case dequantizers[t.Type] == nil:
			wrong = append(wrong,
				fmt.Sprintf("tensor %s has type %s, which is not supported: use a file of F32, F16, BF16, "+
					"Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K, such as Q8_0 or Q4_K_M", name, t.Type))
		}
	})
	var extra []string
	for _, t := range f.Tensors {
		if !known[t.Name] && !strings.HasSuffix(t.Name, ".rope_freqs.weight") {
			extra = append(extra, t.Name)
		}
	}
	switch {
	case len(wrong) > 0:
		return errors.New(some(wrong))
	case len(missing) > 0:
		return fmt.Errorf("missing from the file: %s: it is a part of a model, or damaged", some(missing))
	case len(extra) > 0:
		return fmt.Errorf("it has tensors that a %s has no use for: %s", c.Arch, some(extra))
	}
	return nil
}

// loadGGUF is LoadContext of a GGUF file.
func loadGGUF(ctx context.Context, dev kernels.Device, path string, o Options) (_ *Model, err error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer func() {
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("loading %s: %w", path, err)
		}
	}()
	c, err := ggufConfig(f)
	if err == nil {
		err = checkGGUF(c, f)
	}
	if err != nil {
		return nil, err
	}
	m, err := newModel(dev, c, o)
	if err != nil {
		return nil, err
	}
	m.Dir = path
	r := ggufRows{config: c}
	for _, p := range m.params {
		t, _ := f.Tensor(ggufName(p.Name))
		if err := cmp.Or(ctx.Err(), r.load(m.bank, p, t)); err != nil {
			m.Close()
			return nil, err
		}
	}
	m.wide, m.stage = nil, nil
	return m, nil
}

// ggufRows reads tensors in chunks of rows.
type ggufRows struct {
	config *Config
	raw    []byte
	rows   []float32
	words  []uint64 // rows again, for the search of what is not finite
}

// load streams t into p.
func (r *ggufRows) load(b *bank, p *Param, t *gguf.Tensor) error {
	n, k := p.size()
	step := min(n, chunkRows(k))
	for row := 0; row < n; row += step {
		count := min(step, n-row)
		if err := r.read(p.Name, t, row, count, k); err != nil {
			return err
		}
		if bad := notFinite(r.words[:(count*k+1)/2], bytesOf(r.rows[:count*k]), kernels.F32); bad >= 0 {
			at := row + bad/k
			if r.interleaved(p.Name) && len(t.Shape) > 1 {
				at = r.interleave(at)
			}
			return fmt.Errorf("tensor %s has a value that is NaN or infinite at row %d, column %d: the file is damaged",
				t.Name, at, bad%k)
		}
		b.store(p, row, bytesOf(r.rows[:count*k]), kernels.F32)
	}
	return nil
}

// read dequantises rows of k columns from row on into rows.
func (r *ggufRows) read(name string, t *gguf.Tensor, row, count, k int) error {
	size := t.RowBytes()
	if need := (count*k + 1) / 2; len(r.words) < need {
		r.words = make([]uint64, need)
		r.rows = cast[float32](bytesOf(r.words))
	}
	clear(r.words[count*k/2 : (count*k+1)/2])
	if len(r.raw) < count*size {
		r.raw = make([]byte, count*size)
	}
	raw, vector := r.raw[:count*size], len(t.Shape) == 1
	if r.interleaved(name) && !vector {
		for i := range count {
			if err := t.ReadRows(raw[i*size:][:size], r.interleave(row+i)); err != nil {
				return err
			}
		}
	} else if err := t.ReadRows(raw, row); err != nil {
		return err
	}
	to := dequantizers[t.Type]
	var workers sync.WaitGroup
	each := (count + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0)
	for from := 0; from < count; from += each {
		end := min(from+each, count)
		workers.Go(func() { to(r.rows[from*k:end*k], raw[from*size:end*size]) })
	}
	workers.Wait()
	if r.interleaved(name) && vector {
		stored := slices.Clone(r.rows[:k])
		for i := range k {
			r.rows[i] = stored[r.interleave(i)]
		}
	}
	return nil
}

// interleaved reports whether the rows of a tensor have another order in the file: llama.cpp rotates neighbours, where
// Hugging Face's Llama rotates an element of a head's first half with one of its second, so the files of llama have the
// rows of queries and keys interleaved.
func (r *ggufRows) interleaved(name string) bool {
	return r.config.Arch == "llama" && (strings.Contains(name, projs[projQ].name) ||
		strings.Contains(name, projs[projK].name))
}

// interleave is where a row of queries or keys is in the file.
func (r *ggufRows) interleave(row int) int {
	half := r.config.HeadDim / 2
	head, i := row/(2*half), row%(2*half)
	return head*2*half + i%half*2 + i/half
}
