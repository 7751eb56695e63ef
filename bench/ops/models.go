package ops

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/model"
)

// NamedModel is the shape of a published model, to measure with random weights.
type NamedModel struct {
	Name   string
	Config model.Config
	Micro  bool // its matrices are among the default shapes of Kernels
}

// llama3 is the RoPE scaling of Llama 3.2.
var llama3 = &model.RopeScaling{Factor: 32, LowFreq: 1, HighFreq: 4, OriginalMaxPos: 8192}

// Models is the table of models that --shape knows: the sizes of their config.json. demo is the model of the verb demo,
// tiny is for tests.
var Models = []NamedModel{
	{"tiny", model.Config{Arch: "llama", Vocab: 96, Hidden: 32, Inter: 64, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 16,
		RopeTheta: 1e4,
		MaxPos:    512, Eps: 1e-5, Tied: true}, false},
	{"demo", model.Config{Arch: "llama", Vocab: 715, Hidden: 128, Inter: 384, Layers: 4, Heads: 4, KVHeads: 4,
		HeadDim: 32, RopeTheta: 1e4,
		MaxPos: 1024, Eps: 1e-5, Tied: true}, false},
	{"smollm2-135m", model.Config{Arch: "llama", Vocab: 49152, Hidden: 576, Inter: 1536, Layers: 30, Heads: 9,
		KVHeads: 3, HeadDim: 64,
		RopeTheta: 1e5, MaxPos: 8192, Eps: 1e-5, Tied: true}, true},
	{"smollm2-360m", model.Config{Arch: "llama", Vocab: 49152, Hidden: 960, Inter: 2560, Layers: 32, Heads: 15,
		KVHeads: 5, HeadDim: 64,
		RopeTheta: 1e5, MaxPos: 8192, Eps: 1e-5, Tied: true}, false},
	{"qwen2.5-0.5b", model.Config{Arch: "qwen2", Vocab: 151936, Hidden: 896, Inter: 4864, Layers: 24, Heads: 14,
		KVHeads: 2, HeadDim: 64,
		RopeTheta: 1e6, MaxPos: 32768, Eps: 1e-6, Tied: true, QKVBias: true}, true},
	{"qwen2.5-1.5b", model.Config{Arch: "qwen2", Vocab: 151936, Hidden: 1536, Inter: 8960, Layers: 28, Heads: 12,
		KVHeads: 2, HeadDim: 128,
		RopeTheta: 1e6, MaxPos: 32768, Eps: 1e-6, Tied: true, QKVBias: true}, false},
	{"qwen2.5-3b", model.Config{Arch: "qwen2", Vocab: 151936, Hidden: 2048, Inter: 11008, Layers: 36, Heads: 16,
		KVHeads: 2, HeadDim: 128,
		RopeTheta: 1e6, MaxPos: 32768, Eps: 1e-6, Tied: true, QKVBias: true}, true},
	{"qwen2.5-7b", model.Config{Arch: "qwen2", Vocab: 152064, Hidden: 3584, Inter: 18944, Layers: 28, Heads: 28,
		KVHeads: 4, HeadDim: 128,
		RopeTheta: 1e6, MaxPos: 32768, Eps: 1e-6, QKVBias: true}, false},
	{"qwen2.5-14b", model.Config{Arch: "qwen2", Vocab: 152064, Hidden: 5120, Inter: 13824, Layers: 48, Heads: 40,
		KVHeads: 8, HeadDim: 128,
		RopeTheta: 1e6, MaxPos: 32768, Eps: 1e-6, QKVBias: true}, false},
	{"qwen3-0.6b", model.Config{Arch: "qwen3", Vocab: 151936, Hidden: 1024, Inter: 3072, Layers: 28, Heads: 16,
		KVHeads: 8, HeadDim: 128,
		RopeTheta: 1e6, MaxPos: 40960, Eps: 1e-6, Tied: true, QKNorm: true}, false},
	{"llama3.2-1b", model.Config{Arch: "llama", Vocab: 128256, Hidden: 2048, Inter: 8192, Layers: 16, Heads: 32,
		KVHeads: 8, HeadDim: 64,
		RopeTheta: 5e5, MaxPos: 131072, Eps: 1e-5, Tied: true, RopeScaling: llama3}, true},
	{"llama3.2-3b", model.Config{Arch: "llama", Vocab: 128256, Hidden: 3072, Inter: 8192, Layers: 28, Heads: 24,
		KVHeads: 8, HeadDim: 128,
		RopeTheta: 5e5, MaxPos: 131072, Eps: 1e-5, Tied: true, RopeScaling: llama3}, true},
}

// LookupModel finds a shape by name, case and hyphens aside: llama-3.2-3b is llama3.2-3b.
func LookupModel(name string) (*model.Config, error) {
	s, err := FindModel(name)
	if err != nil {
		return nil, err
	}
	return &s.Config, nil
}

// FindModel is LookupModel that also returns the table's name.
func FindModel(name string) (NamedModel, error) {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "-", "")) }
	var names []string
	for _, s := range Models {
		if plain(s.Name) == plain(name) {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return NamedModel{}, fmt.Errorf("no shape is called %q: use one of %s", name, strings.Join(names, ", "))
}

// Matrix is the shape [N, K] of a weight, with its model and role.
type Matrix struct {
	N, K int
	Of   string
}

// Matrices are the distinct weights of the named models' layers: query (and output, where it is square), gate (and up),
// down.
func Matrices(names []string) (out []Matrix) {
	for _, s := range Models {
		if !slices.Contains(names, s.Name) {
			continue
		}
		c := s.Config
		for _, m := range []Matrix{{c.Heads * c.HeadDim, c.Hidden, "q"}, {c.Inter, c.Hidden, "gate"},
			{c.Hidden, c.Inter, "down"}} {
			m.Of = s.Name + "." + m.Of
			if !slices.ContainsFunc(out, func(o Matrix) bool { return o.N == m.N && o.K == m.K }) {
				out = append(out, m)
			}
		}
	}
	return out
}
