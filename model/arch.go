package model

import "strings"

// arch describes how one architecture differs from the common block, which is Llama's:
//
//	x += O(attention(RoPE(Q(n)), RoPE(K(n)), V(n)))   with n = RMSNorm(x)
//	x += Down(silu(Gate(n)) * Up(n))                  with n = RMSNorm(x)
//
// To add an architecture whose block is this one: a row here, a golden case made by transformers in model/testdata, and
// a refusal in configjson.go for every option of its configuration class that this block does not have.
type arch struct {
	name  string // model_type in config.json
	class string // its class in "architectures"

	qkvBias       bool // query, key and value always have biases (Qwen2)
	attentionBias bool // the key attention_bias is honoured, for query, key, value and output
	mlpBias       bool // the key mlp_bias is honoured, for gate, up and down
	qkNorm        bool // queries and keys are normalised per head, before RoPE (Qwen3)

	maxPos   int  // what an absent max_position_embeddings means
	headDim  int  // what an absent head_dim means; 0: hidden_size / num_attention_heads
	kvHeads  bool // an absent num_key_value_heads means num_attention_heads, as null does; else it must be there
	window   int  // what an absent sliding_window means; 0: none
	windowIf bool // a window counts only with use_sliding_window
}

// archs are the architectures that run here, with the defaults of their transformers classes for keys that a file
// leaves out.
var archs = []arch{
	{name: "llama", class: "LlamaForCausalLM", maxPos: 2048, attentionBias: true, mlpBias: true, kvHeads: true},
	{name: "mistral", class: "MistralForCausalLM", maxPos: 131072, window: 4096},
	{name: "qwen2", class: "Qwen2ForCausalLM", maxPos: 32768, qkvBias: true, window: 4096, windowIf: true},
	{name: "qwen3", class: "Qwen3ForCausalLM", maxPos: 32768, attentionBias: true, qkNorm: true, headDim: 128,
		window: 4096, windowIf: true},
}

// archOf finds the architecture of a model_type, nil if it is not supported.
func archOf(name string) *arch {
	for i := range archs {
		if archs[i].name == name {
			return &archs[i]
		}
	}
	return nil
}

// archNames lists the architectures, for error messages.
func archNames() string {
	var names []string
	for _, a := range archs {
		names = append(names, a.class)
	}
	return strings.Join(names, ", ")
}
