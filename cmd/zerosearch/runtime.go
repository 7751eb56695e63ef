package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
)

// open makes the device that the flags ask for.
func (c common) open(w *world) (kernels.Device, error) {
	why := ""
	dev, err := devices.Open(c.Device, devices.Options{Threads: c.Threads, Chosen: func(choice devices.Choice) {
		if why = " (auto: " + choice.Why + ")"; choice.GPU && choice.Name == devices.CPU && !c.Verbose {
			w.log.line("note: computing on the cpu: %s", choice.Why)
		}
	}})
	if err != nil {
		return nil, err
	}
	if c.Verbose {
		path := ""
		if d, ok := dev.(interface{ Path() string }); ok {
			path = ": path " + d.Path()
		}
		w.log.line("device %s%s%s", dev.Name(), path, why)
	}
	return dev, nil
}

// modelFlags name a model to use, not to train.
type modelFlags struct {
	Model   string `name:"model" help:"Hugging Face folder, GGUF file, org/name in the Hugging Face cache (see pull), or a run directory (its last checkpoint)." placeholder:"DIR"`
	Adapter string `name:"adapter" help:"peft folder." placeholder:"DIR"`
	weightFlags
}

// weightFlags say how a model is held.
type weightFlags struct {
	DType        string `name:"dtype" help:"How weights are held: f32, bf16 or q8 (default: q8 for a q8 folder, else bf16)." placeholder:"TYPE"`
	KVDType      string `name:"kv-dtype" help:"Keys and values: f32 or bf16 (default: as --dtype)." default:""`
	KVMemory     string `name:"kv-memory" help:"Keys and values take so much, as in 4GiB (default: what 16 sequences need, at most 1GiB)." placeholder:"SIZE"`
	ChatTemplate string `name:"chat-template" help:"Jinja file that overrides the model's chat template." placeholder:"FILE"`
	Thinking     *bool  `name:"enable-thinking" negatable:"" help:"The chat template's enable_thinking: =false switches the thinking of Qwen3 and others off (default: the template's)."`
	MaxContext   int    `name:"max-context" help:"Longest sequence; 0: the model's, at most 4096." default:"0"`
}

// served is a model in an engine on a device.
type served struct {
	dev   kernels.Device
	eng   *engine.Engine
	model *roles.LoadedModel
	notes func(list []string)
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

const served0 = "model"

// serve opens device, model and engine. Close what it returns.
func (f modelFlags) serve(w *world, c common) (_ *served, err error) {
	if f.Model == "" {
		return nil, usagef("--model is missing: give a model folder")
	}
	open, kv, err := f.options()
	if err != nil {
		return nil, err
	}
	open.Model, open.Adapter = f.Model, f.Adapter
	s := &served{notes: w.notes}
	if s.dev, err = c.open(w); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.model, err = roles.Open(w.ctx, s.dev, open); err != nil {
		return nil, err
	}
	w.notes(s.model.Notes)
	s.eng = engine.New(s.dev, engine.Options{Note: w.note})
	return s, s.eng.AddModel(served0, s.model.Model, kv)
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

// Close gives everything back.
func (s *served) Close() {
	if s.eng != nil {
		s.eng.Close()
	}
	if s.model != nil {
		s.model.Close()
	}
	if s.dev != nil {
		s.dev.Close()
	}
}

// needTokenizer is the error of a request that holds text for a model that has ids only.
func needTokenizer(s *served) error {
	if s.model.Tokenizer != nil {
		return nil
	}
	return fmt.Errorf("the model has no tokenizer.json, so text cannot be read: send {\"ids\"}")
}

func joinArgs(words []string) string { return strings.Join(words, " ") }

// embedding shows how many passages have a vector.
func (w *world) embedding(done, total int) {
	if w.log.status("embedding passages: %d/%d", done, total); done == total {
		w.log.done()
	}
}

// note tells the user one thing.
func (w *world) note(text string) { w.notes([]string{text}) }

// notes tells the user what was found out about what is open.
func (w *world) notes(list []string) {
	for i, note := range list {
		if !slices.Contains(list[:i], note) { // a model may have several roles
			w.log.line("note: %s", inFlags(note))
		}
	}
}
