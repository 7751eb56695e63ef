package fingerprint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Parts of a model folder.
const (
	Weights   = "weights"
	Config    = "configuration"
	Tokenizer = "tokenizer"
	Template  = "chat template"
	Adapter   = "adapter"
)

// File adds the digest of the file at path. Its name does not matter.
func (p Parts) File(part, path string) error { return p.files(part, path) }

func (p Parts) files(part string, paths ...string) error {
	h := newDigest()
	for _, path := range paths {
		if err := h.file(path); err != nil {
			return fmt.Errorf("comparing by content: %w", err)
		}
	}
	p[part] = h.sum()
	return nil
}

// Model adds the parts of the Hugging Face folder dir: FLAG.weights, FLAG.configuration, FLAG.tokenizer and FLAG.chat
// template, if their files exist.
func (p Parts) Model(flag, dir string) error {
	if st, err := os.Stat(dir); err == nil && st.Mode().IsRegular() { // a GGUF file is all of a model
		return p.files(flag+"."+Weights, dir)
	}
	weights, err := weightFiles(dir)
	if err != nil {
		return fmt.Errorf("comparing by content: %w", err)
	}
	if len(weights) > 0 {
		if err := p.files(flag+"."+Weights, weights...); err != nil {
			return err
		}
	}
	if config := existing(dir, "config.json", "generation_config.json"); len(config) > 0 {
		if err := p.files(flag+"."+Config, config...); err != nil {
			return err
		}
	}
	return p.text(flag, dir)
}

// Adapter adds the digest of the peft folder dir, without the path of the base model, which has separate parts.
func (p Parts) Adapter(part, dir string) error {
	h := newDigest()
	config, _, err := object(filepath.Join(dir, "adapter_config.json"), "base_model_name_or_path")
	if err == nil {
		h.text(string(config))
		err = h.file(filepath.Join(dir, "adapter_model.safetensors"))
	}
	if err != nil {
		return fmt.Errorf("comparing by content: %w", err)
	}
	p[part] = h.sum()
	return nil
}

// weightFiles are the files of a model's weights: model.safetensors, or the index and its shards.
func weightFiles(dir string) ([]string, error) {
	if one := existing(dir, "model.safetensors"); one != nil {
		return one, nil
	}
	index := existing(dir, "model.safetensors.index.json")
	if index == nil {
		return nil, nil
	}
	text, err := os.ReadFile(index[0])
	if err != nil {
		return nil, err
	}
	var named struct {
		Files map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &named); err != nil {
		return nil, fmt.Errorf("%s: %w", index[0], err)
	}
	var shards []string
	for _, f := range named.Files {
		shards = append(shards, filepath.Join(dir, f))
	}
	slices.Sort(shards)
	return append(index, slices.Compact(shards)...), nil
}

// text adds tokenizer and chat template. tokenizer_config.json contributes to both.
func (p Parts) text(flag, dir string) error {
	tok, chat := newDigest(), newDigest()
	hasTok, hasChat := false, false
	add := func(h digest, has *bool, paths ...string) error {
		for _, path := range paths {
			h.text(filepath.Base(path))
			if err := h.file(path); err != nil {
				return fmt.Errorf("comparing by content: %w", err)
			}
			*has = true
		}
		return nil
	}
	names := existing(dir, "tokenizer.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json")
	if err := add(tok, &hasTok, names...); err != nil {
		return err
	}
	templates := existing(dir, "chat_template.jinja", "chat_template.json")
	more := filepath.Join(dir, "additional_chat_templates")
	entries, _ := os.ReadDir(more) // most models have none
	for _, e := range entries {
		templates = append(templates, existing(more, e.Name())...)
	}
	if err := add(chat, &hasChat, templates...); err != nil {
		return err
	}
	rest, template, err := object(filepath.Join(dir, "tokenizer_config.json"), "chat_template")
	switch {
	case err == nil:
		tok.text(string(rest))
		hasTok = true
		if template != nil {
			chat.text(string(template))
			hasChat = true
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("comparing by content: %w", err)
	}
	if hasTok {
		p[flag+"."+Tokenizer] = tok.sum()
	}
	if hasChat {
		p[flag+"."+Template] = chat.sum()
	}
	return nil
}

// object reads a file that holds a JSON object. It returns the value of key, and the object without key and with sorted
// keys. If the file is not valid JSON for Go, rest is the file's content.
func object(path, key string) (rest, value []byte, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		return raw, nil, nil
	}
	value = all[key]
	delete(all, key)
	rest, err = json.Marshal(all)
	return rest, value, err
}

// existing are the paths of those names that are regular files in dir.
func existing(dir string, names ...string) (out []string) {
	for _, n := range names {
		path := filepath.Join(dir, n)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			out = append(out, path)
		}
	}
	return out
}
