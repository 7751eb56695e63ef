package model

import (
	"fmt"
	"strings"
)

// proj is one of the seven matrices of a layer.
type proj int

// The projections in the order in which the forward pass uses them.
const (
	projQ proj = iota
	projK
	projV
	projO
	projGate
	projUp
	projDown
	numProjs
)

// projs is the table of the projections: checkpoint name, outputs and inputs by letter, and whether there is a bias.
var projs = [numProjs]struct {
	name    string // within model.layers.N
	out, in func(*Config) int
	bias    func(*Config) bool
}{
	projQ:    {"self_attn.q_proj", dimHD, dimC, func(c *Config) bool { return c.QKVBias }},
	projK:    {"self_attn.k_proj", dimGD, dimC, func(c *Config) bool { return c.QKVBias }},
	projV:    {"self_attn.v_proj", dimGD, dimC, func(c *Config) bool { return c.QKVBias }},
	projO:    {"self_attn.o_proj", dimC, dimHD, func(c *Config) bool { return c.OBias }},
	projGate: {"mlp.gate_proj", dimF, dimC, func(c *Config) bool { return c.MLPBias }},
	projUp:   {"mlp.up_proj", dimF, dimC, func(c *Config) bool { return c.MLPBias }},
	projDown: {"mlp.down_proj", dimC, dimF, func(c *Config) bool { return c.MLPBias }},
}

// norms is the table of a layer's norms: checkpoint name, length, and whether the architecture has it.
var norms = []struct {
	name string
	size func(*Config) int
	has  func(*Config) bool
	slot func(*layer) **Param
}{
	{"input_layernorm", dimC, always, func(l *layer) **Param { return &l.attnNorm }},
	{"self_attn.q_norm", dimD, func(c *Config) bool { return c.QKNorm }, func(l *layer) **Param { return &l.qNorm }},
	{"self_attn.k_norm", dimD, func(c *Config) bool { return c.QKNorm }, func(l *layer) **Param { return &l.kNorm }},
	{"post_attention_layernorm", dimC, always, func(l *layer) **Param { return &l.mlpNorm }},
}

func dimC(c *Config) int              { return c.Hidden }
func dimF(c *Config) int              { return c.Inter }
func dimD(c *Config) int              { return c.HeadDim }
func dimHD(c *Config) int             { return c.Heads * c.HeadDim }
func dimGD(c *Config) int             { return c.KVHeads * c.HeadDim }
func always(*Config) bool             { return true }
func moduleName(l int, p proj) string { return fmt.Sprintf("model.layers.%d.%s", l, projs[p].name) }

// inputOf names what a checkpoint's matrix is multiplied with: query, key and value of a layer have one input, gate and
// up another; every other matrix has its own.
func inputOf(name string) string {
	module, ok := strings.CutSuffix(name, ".weight")
	if !ok {
		return name
	}
	for _, shared := range [][]proj{{projQ, projK, projV}, {projGate, projUp}} {
		for _, j := range shared {
			if layer, ok := strings.CutSuffix(module, projs[j].name); ok {
				return layer + projs[shared[0]].name
			}
		}
	}
	return name
}

const (
	embedName = "model.embed_tokens.weight"
	normName  = "model.norm.weight"
	headName  = "lm_head.weight"
)

// linear is y = x W^T + B; B may be nil.
type linear struct{ W, B *Param }

// layer is a decoder layer's parameters.
type layer struct {
	attnNorm, mlpNorm *Param // C
	qNorm, kNorm      *Param // D, or nil
	lin               [numProjs]linear
}

// slots walks through the tensors of a checkpoint of shape c in their fixed order: embedding, layers, final norm,
// output matrix. place says where a tensor belongs in m. Loading, saving and training all use this one list.
func slots(c *Config, m *Model, visit func(name string, shape []int, place **Param)) {
	visit(embedName, []int{c.Vocab, c.Hidden}, &m.embed)
	for l := range m.layers {
		ly, prefix := &m.layers[l], fmt.Sprintf("model.layers.%d.", l)
		for _, n := range norms {
			if n.has(c) {
				visit(prefix+n.name+".weight", []int{n.size(c)}, n.slot(ly))
			}
		}
		for j, p := range projs {
			visit(prefix+p.name+".weight", []int{p.out(c), p.in(c)}, &ly.lin[j].W)
			if p.bias(c) {
				visit(prefix+p.name+".bias", []int{p.out(c)}, &ly.lin[j].B)
			}
		}
	}
	visit(normName, []int{c.Hidden}, &m.norm)
	if !c.Tied {
		visit(headName, []int{c.Vocab, c.Hidden}, &m.head)
	}
}
