package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

type quantizeCmd struct {
	JSON   bool   `name:"json" help:"Print the result as JSON on stdout, and nothing else."`
	Config string `name:"config" help:"YAML file with values for any flag, by flag name." placeholder:"FILE"`
	Model  string `name:"model" help:"Hugging Face folder, org/name in the Hugging Face cache, or a run directory (its last checkpoint)." placeholder:"DIR"`
	Out    string `name:"out" help:"Folder for the quantised model." placeholder:"DIR"`
	DType  string `name:"dtype" help:"How weights are rounded: q8 or q4." default:"q8" enum:"q8,q4"`
}

// quantized is the result of quantize.
type quantized struct {
	Out     string  `json:"out"`
	Bytes   int64   `json:"bytes"`
	From    int64   `json:"from_bytes"`
	Seconds float64 `json:"seconds"`
}

// shardBytes is the data of a file, at most: as Hugging Face's hub recommends.
const shardBytes = 5 << 30

func (c *quantizeCmd) Run(w *world) error {
	w.keepsGoing()
	switch {
	case c.Model == "":
		return usagef("--model is missing: give a model folder")
	case c.Out == "":
		return usagef("--out is missing: give a folder for the quantised model")
	}
	dir, err := rundir.ModelDir(c.Model)
	if err != nil {
		return err
	}
	if _, err := model.ReadAdapterConfig(dir); err == nil {
		return fmt.Errorf("quantising %s: it is an adapter: quantise the model that it is for", dir)
	}
	if cfg, err := model.ReadStored(dir); err == nil { // else quantising says what is wrong
		w.notes(cfg.Notes)
	}
	release, err := w.hold(c.Out)
	if err != nil {
		return fmt.Errorf("quantising %s: %w", dir, err)
	}
	defer release()
	began := time.Now()
	dtype, _ := kernels.ParseDType(c.DType) // one of the enum
	err = model.Quantize(w.ctx, dir, c.Out, model.QuantizeOptions{DType: dtype, MaxShardBytes: shardBytes,
		Progress: func(name string, share float64) {
			w.log.status("%3.0f%%  %s", 100*share, name)
		}})
	w.log.done()
	if err != nil {
		return err
	}
	q := quantized{Out: c.Out, Bytes: weightBytes(c.Out), From: weightBytes(dir), Seconds: time.Since(began).Seconds()}
	if c.JSON {
		return writeJSON(w, q)
	}
	w.log.line("%s: %.1f MB of %s out of %.1f MB in %s", c.Out, float64(q.Bytes)/1e6, c.DType, float64(q.From)/1e6,
		time.Since(began).Round(time.Second))
	return nil
}

// weightBytes is the size of the weights of a folder.
func weightBytes(dir string) (n int64) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	for _, f := range files {
		if st, err := os.Stat(f); err == nil {
			n += st.Size()
		}
	}
	return n
}
