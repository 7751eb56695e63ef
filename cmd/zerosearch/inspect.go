package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/internal/pyjson"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/model/hub"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

type inspectCmd struct {
	common
	Path string `arg:"" help:"A safetensors or GGUF file, a model folder, org/name in the Hugging Face cache, or a run directory." placeholder:"FILE|DIR"`
}

type inspection struct {
	Config     json.RawMessage   `json:"config,omitempty"`
	Metadata   map[string]string `json:"metadata"`
	Tensors    []inspectedTensor `json:"tensors"`
	Parameters int64             `json:"parameters"`
	Bytes      int64             `json:"bytes"`
}

type inspectedTensor struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
	Bytes int64  `json:"bytes"`
	File  string `json:"file"`
}

func (c *inspectCmd) Run(w *world) error {
	out, err := inspect(c.Path)
	if err != nil {
		return fmt.Errorf("inspecting %s: %w", c.Path, err)
	}
	if c.JSON {
		enc := json.NewEncoder(w.out)
		enc.SetEscapeHTML(false)
		return enc.Encode(out)
	}
	tw := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', 0)
	for _, t := range out.Tensors {
		fmt.Fprintf(tw, "%s\t%s\t%v\t%d\t%s\n", t.Name, t.DType, t.Shape, t.Bytes, t.File)
	}
	tw.Flush()
	fmt.Fprintf(w.out, "%d tensors, %.2f M parameters, %.1f MB\n", len(out.Tensors), float64(out.Parameters)/1e6,
		float64(out.Bytes)/1e6)
	return nil
}

// inspect looks at a single file, a model folder or an adapter folder.
func inspect(path string) (*inspection, error) {
	st, err := os.Stat(path)
	if err != nil && !inCache(path) {
		return nil, err
	}
	if err != nil || st.IsDir() {
		if path, err = rundir.ModelDir(path); err != nil {
			return nil, err
		}
	}
	if gguf.Is(path) {
		return inspectGGUF(path)
	}
	files, config, err := openAny(path)
	if err != nil {
		return nil, err
	}
	out := &inspection{Config: config, Metadata: map[string]string{}, Tensors: []inspectedTensor{}}
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
func (i *inspection) add(name, dtype string, shape []int, bytes, elements int64, path string) {
	if shape == nil {
		shape = []int{}
	}
	i.Tensors = append(i.Tensors, inspectedTensor{name, dtype, shape, bytes, filepath.Base(path)})
	i.Parameters += elements
	i.Bytes += bytes
}

// longestShown is how much of a value of a GGUF file is shown: it holds whole vocabularies.
const longestShown = 200

// inspectGGUF looks at a GGUF file. Its configuration is shown as config.json has it, if the model is one that runs
// here.
func inspectGGUF(path string) (*inspection, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := &inspection{Metadata: map[string]string{}, Tensors: []inspectedTensor{}}
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
	if c, err := model.ReadConfig(path); err == nil {
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
	if adapter := filepath.Join(path, "adapter_model.safetensors"); exists(adapter) {
		f, err := safetensors.Open(adapter)
		return []*safetensors.File{f}, config, err
	}
	set, err := safetensors.OpenDir(path)
	if err != nil {
		return nil, nil, err
	}
	return set.Files(), config, nil
}

// inCache reports whether a name that is no file's can be org/name of the Hugging Face cache.
func inCache(name string) bool {
	repo, _, ok := hub.ParseName(filepath.ToSlash(name))
	return ok && strings.Contains(repo, "/") && !exists(name)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
