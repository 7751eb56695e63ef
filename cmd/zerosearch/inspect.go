package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/model/hub"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

type inspectCmd struct {
	common
	Path string `arg:"" help:"A safetensors or GGUF file, a model folder, org/name in the Hugging Face cache, or a run directory." placeholder:"FILE|DIR"`
}

func (c *inspectCmd) Run(w *world) error {
	path, err := modelPath(c.Path)
	if err != nil {
		return fmt.Errorf("inspecting %s: %w", c.Path, err)
	}
	out, err := model.Inspect(path)
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

// modelPath is path if it is a file, else the folder of the model that it names.
func modelPath(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil && !inCache(path) {
		return "", err
	}
	if err != nil || st.IsDir() {
		return rundir.ModelDir(path)
	}
	return path, nil
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
