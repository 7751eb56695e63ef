package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/safetensors"
)

// wrappers are parts of names that programs put around a module, with who does.
var wrappers = []struct{ part, by string }{
	{"base_model.model", "peft"}, {"base_layer", "peft"}, {"original_module", "peft"},
	{"module", "DataParallel, DistributedDataParallel or DeepSpeed"},
	{"_orig_mod", "torch.compile"},
	{"_fsdp_wrapped_module", "FSDP"},
	{"_checkpoint_wrapped_module", "activation checkpointing"},
	{"_forward_module", "Lightning"},
	{"pretrained_model", "TRL's models with a value head"},
}

// foreignHeads are first parts of names of what other tasks put on top of a model.
var foreignHeads = map[string]string{
	"v_head":      "a value head, which TRL's models for PPO have",
	"value_head":  "a value head",
	"score":       "the head of a sequence classifier or reward model",
	"reward_head": "the head of a reward model",
	"classifier":  "the head of a classifier",
	"qa_outputs":  "the head of a question answering model",
}

// foreign says what the tensors of a checkpoint are for if they are not a causal language model's as it is saved; nil
// if that does not explain them. known are the parameters' names, missing those without a tensor, extra the tensors
// without a parameter.
func foreign(known map[string]bool, missing, extra []string) error {
	var by, parts []string
	renamed := 0
	example := ""
	for _, name := range extra {
		plain, found := unwrapped(name)
		if len(found) == 0 || !known[plain] && !strings.HasSuffix(plain, ".inv_freq") && !isForeign(plain) {
			continue
		}
		renamed++
		for _, w := range found {
			if p := `"` + wrappers[w].part + `."`; !slices.Contains(parts, p) {
				parts, by = append(parts, p), append(by, wrappers[w].by)
			}
		}
		if example == "" || known[plain] && !known[example] {
			example = name
		}
	}
	lora := slices.IndexFunc(extra, func(name string) bool { return strings.Contains(name, ".lora_") })
	switch {
	case lora >= 0:
		return fmt.Errorf("it holds the tensors of an adapter beside those of its base (%s): merge them first (peft's "+
			"merge_and_unload), or save the adapter alone (peft's save_pretrained)", extra[lora])
	case renamed > 0:
		return fmt.Errorf(
			"the names of %d tensors contain %s, which is added by %s (%s): save the unwrapped model, "+
				"or remove it from the names", renamed, strings.Join(parts, " and "), strings.Join(by, " and "),
			example)
	}
	for _, name := range extra {
		if isForeign(name) {
			return fmt.Errorf(
				"%s is %s, which a causal language model does not have: save the language model without it",
				name, foreignHeads[firstPart(name)])
		}
	}
	for _, name := range extra {
		if slices.Contains(missing, "model."+name) {
			return fmt.Errorf(
				"the names of its tensors do not begin with \"model.\" (%s): it was saved without the head "+
					"of a causal language model: save the complete model, of the class that config.json names", name)
		}
		for _, m := range missing {
			if prefix, ok := strings.CutSuffix(name, "."+m); ok {
				return fmt.Errorf(
					"the names of its tensors begin with %q (%s): it is a part of another model: save only the "+
						"language model, or remove that prefix from the names", prefix+".", name)
			}
		}
	}
	return nil
}

// unwrapped returns name without the parts that wrappers add, and the wrappers that it found.
func unwrapped(name string) (plain string, found []int) {
	plain = "." + name
	for again := true; again; {
		again = false
		for i, w := range wrappers {
			if at := strings.Index(plain, "."+w.part+"."); at >= 0 {
				plain, again = plain[:at]+plain[at+len(w.part)+1:], true
				found = append(found, i)
			}
		}
	}
	return plain[1:], found
}

func isForeign(name string) bool { return foreignHeads[firstPart(name)] != "" }

func firstPart(name string) string {
	first, _, _ := strings.Cut(name, ".")
	return first
}

// superfluous reports tensors that carry nothing: the output matrix written out though it is tied, and frequencies of
// old files.
func superfluous(c *Config, name string) bool {
	return c.Tied && name == headName || strings.HasSuffix(name, ".rotary_emb.inv_freq")
}

// adapterName is the name that an adapter has in the names of its tensors, as state_dict of a peft model writes them
// (x.lora_A.default.weight), and the name without it.
func adapterName(tensor string) (plain, name string) {
	for _, ab := range []string{".lora_A.", ".lora_B."} {
		if module, rest, ok := strings.Cut(tensor, ab); ok {
			if name, ok := strings.CutSuffix(rest, ".weight"); ok && name != "" {
				return module + ab + "weight", name
			}
		}
	}
	return tensor, ""
}

// adapterTensors maps the names of an adapter's parameters to the tensors of a file.
func adapterTensors(f *safetensors.Set) (map[string]string, error) {
	tensors, names := map[string]string{}, []string{}
	for _, t := range f.Names() {
		plain, name := adapterName(t)
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		tensors[plain] = t
	}
	if len(names) > 1 {
		return nil,
			fmt.Errorf("its tensors are of several adapters (%s): save the one alone (peft's save_pretrained with "+
				"selected_adapters)",
				strings.Join(quoted(names), ", "))
	}
	return tensors, nil
}

func quoted(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, fmt.Sprintf("%q", n))
	}
	return out
}
