package main

import (
	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
)

// modelFlags name a model to use, not to train.
type modelFlags struct {
	Model   string `name:"model" help:"Hugging Face folder, GGUF file, org/name in the Hugging Face cache (see pull), or a run directory (its last checkpoint)." placeholder:"DIR"`
	Adapter string `name:"adapter" help:"Folder of a LoRA adapter, as peft writes it." placeholder:"DIR"`
	weightFlags
}

// weightFlags say how a model is held.
type weightFlags struct {
	DType        string `name:"dtype" help:"How weights are held: f32, bf16, q8 or q4 (default: as a quantised folder is, else bf16)." placeholder:"TYPE"`
	KVDType      string `name:"kv-dtype" help:"Type of keys and values: f32 or bf16 (default: as --dtype)." default:""`
	KVMemory     string `name:"kv-memory" help:"Memory for keys and values, as in 4GiB (default: what 16 sequences need, at most 1GiB)." placeholder:"SIZE"`
	ChatTemplate string `name:"chat-template" help:"Jinja file that overrides the model's chat template." placeholder:"FILE"`
	Thinking     *bool  `name:"enable-thinking" negatable:"" help:"The chat template's enable_thinking: =false switches the thinking of Qwen3 and others off (default: the template's)."`
	MaxContext   int    `name:"max-context" help:"Longest sequence; 0: the model's, at most 4096." default:"0"`
}

// named takes the model from the words of a command, where --model does not give it, and returns the words that are
// left.
func (f *modelFlags) named(words ...string) (left []string) {
	for _, word := range words {
		if word == "" {
			continue
		}
		if f.Model == "" {
			f.Model = word
		} else {
			left = append(left, word)
		}
	}
	return left
}

// options are what the flags ask for, of weights and of keys and values.
func (f weightFlags) options() (o roles.OpenOptions, kv engine.ModelOptions, err error) {
	o = roles.OpenOptions{ChatTemplate: f.ChatTemplate, Thinking: f.Thinking}
	kv.MaxContext = f.MaxContext
	if o.DType, err = config.WeightType("--dtype", f.DType); err != nil {
		return o, kv, usageError{err}
	}
	if f.KVDType != "" {
		if kv.KVType, err = kernels.ParseDType(f.KVDType); err != nil ||
			kv.KVType != kernels.F32 && kv.KVType != kernels.BF16 {
			return o, kv, usagef("--kv-dtype must be f32 or bf16, not %q", f.KVDType)
		}
	}
	if kv.KVBytes, err = engine.ParseSize(f.KVMemory); err != nil {
		return o, kv, usagef("--kv-memory: %w", err)
	}
	return o, kv, nil
}
