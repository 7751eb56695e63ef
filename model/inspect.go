package model

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/internal/pyjson"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// Inspection is what a checkpoint holds.
type Inspection struct {
	Config     json.RawMessage   `json:"config,omitempty"`
	Metadata   map[string]string `json:"metadata"`
	Tensors    []InspectedTensor `json:"tensors"`
	Parameters int64             `json:"parameters"`
	Bytes      int64             `json:"bytes"`
}

// InspectedTensor is a tensor of a checkpoint, as its file describes it.
type InspectedTensor struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
	Bytes int64  `json:"bytes"`
	File  string `json:"file"`
}

// Inspect looks at a safetensors or GGUF file, a model folder or an adapter folder. It reads headers only, and takes
// architectures that do not run here too.
func Inspect(path string) (*Inspection, error) {
	if gguf.Is(path) {
		return inspectGGUF(path)
	}
	files, config, err := openAny(path)
	if err != nil {
		return nil, err
	}
	out := &Inspection{Config: config, Metadata: map[string]string{}, Tensors: []InspectedTensor{}}
	for _, f := range files {
		defer f.Close()
		for k, v := range f.Metadata() {
			out.Metadata[k] = v
		}
		for _, name := range f.Names() {
			t, _ := f.Tensor(name)
			out.add(name, string(t.DType), t.Shape, int64(len(t.Bytes())), int64(t.Elements()), f.Path())
		}
	}
	return out, nil
}

// add adds a tensor.
func (i *Inspection) add(name, dtype string, shape []int, bytes, elements int64, path string) {
	if shape == nil {
		shape = []int{}
	}
	i.Tensors = append(i.Tensors, InspectedTensor{name, dtype, shape, bytes, filepath.Base(path)})
	i.Parameters += elements
	i.Bytes += bytes
}

// longestShown is how much of a value of a GGUF file is shown: it holds whole vocabularies.
const longestShown = 200

// inspectGGUF looks at a GGUF file. Its configuration is shown as config.json has it, if the model is one that runs
// here.
func inspectGGUF(path string) (*Inspection, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := &Inspection{Metadata: map[string]string{}, Tensors: []InspectedTensor{}}
	for k, v := range f.Metadata {
		text := fmt.Sprint(v)
		if len(text) > longestShown {
			text = strings.ToValidUTF8(text[:longestShown], "") + "..."
		}
		out.Metadata[k] = text
	}
	for _, t := range f.Tensors {
		out.add(t.Name, t.Type.String(), t.Shape, t.Bytes(), int64(t.Elements()), path)
	}
	if c, err := ReadConfig(path); err == nil {
		out.Config = c.JSON()
	}
	return out, nil
}

// openAny opens a single file, a model folder or an adapter folder.
func openAny(path string) (files []*safetensors.File, config json.RawMessage, err error) {
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		f, err := safetensors.Open(path)
		return []*safetensors.File{f}, nil, err
	}
	for _, name := range []string{"config.json", "adapter_config.json"} {
		if data, err := os.ReadFile(filepath.Join(path, name)); err == nil && json.Valid(pyjson.Standard(data)) {
			config = pyjson.Standard(data)
			break
		}
	}
	adapter := filepath.Join(path, "adapter_model.safetensors")
	if _, err := os.Stat(adapter); err == nil {
		f, err := safetensors.Open(adapter)
		return []*safetensors.File{f}, config, err
	}
	set, err := safetensors.OpenDir(path)
	if err != nil {
		return nil, nil, err
	}
	return set.Files(), config, nil
}
