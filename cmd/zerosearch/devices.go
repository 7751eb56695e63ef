package main

import (
	"fmt"
	"runtime"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
)

type devicesCmd struct {
	JSON    bool `name:"json" help:"Print the result as JSON on stdout, and nothing else."`
	Measure bool `name:"measure" help:"Measure what the processor can do at most; takes a second."`
	Threads int  `name:"threads" help:"Threads to compute with; 0: all usable cores." default:"0"`
}

// deviceInfo is one device that --device names.
type deviceInfo struct {
	Name      string          `json:"name"`
	Available bool            `json:"available"`
	Why       string          `json:"why,omitempty"` // it is not available, or is not chosen
	Path      string          `json:"path,omitempty"`
	Paths     []pathInfo      `json:"paths,omitempty"`
	Threads   int             `json:"threads,omitempty"`
	Memory    *engine.Machine `json:"memory,omitempty"`
	Limits    *limits         `json:"limits,omitempty"`
}

type pathInfo struct {
	Name    string `json:"name"`
	Missing string `json:"missing,omitempty"` // what this machine or build lacks to run it
}

// limits are measured: operations (a multiplication and an addition count two) and bytes a second.
type limits struct {
	F32  float64 `json:"f32_flops"`
	BF16 float64 `json:"bf16_flops"`
	Q8   float64 `json:"q8_ops"`
	Read float64 `json:"read_bytes_per_second"`
}

func (c *devicesCmd) Run(w *world) error {
	dev, err := cpu.New(cpu.Options{Threads: c.Threads})
	if err != nil {
		return fmt.Errorf("opening device cpu: %w", err)
	}
	defer dev.Close()
	d := deviceInfo{Name: "cpu", Available: true, Path: dev.Path(), Threads: dev.Threads(), Memory: engine.MachineMemory()}
	for _, p := range cpu.Paths.List() {
		d.Paths = append(d.Paths, pathInfo{p.Name, p.Missing})
	}
	if c.Measure {
		l, err := dev.Measure()
		if err != nil {
			return fmt.Errorf("measuring the cpu: %w", err)
		}
		d.Limits = &limits{l.F32, l.BF16, l.Q8, l.Read}
	}
	all := []deviceInfo{d, {Name: "cuda", Why: noCUDA}, {Name: "ref", Available: true, Why: "plain scalar Go, the specification of the others: for checks, not for speed"}}
	if c.JSON {
		return writeJSON(w, map[string]any{"devices": all, "auto": "cpu", "os": runtime.GOOS, "arch": runtime.GOARCH})
	}
	d.print(w)
	fmt.Fprintf(w.out, "cuda  not available: %s\n", noCUDA)
	fmt.Fprintf(w.out, "ref   %s\n", all[2].Why)
	return nil
}

// noCUDA is why --device cuda is refused.
const noCUDA = "this build has no CUDA backend: use --device cpu"

func (d deviceInfo) print(w *world) {
	fmt.Fprintf(w.out, "cpu   %s/%s, %d threads, path %s", runtime.GOOS, runtime.GOARCH, d.Threads, d.Path)
	if m := d.Memory; m != nil {
		fmt.Fprintf(w.out, ", memory %.1f GB, %.1f GB available", float64(m.Total)/1e9, float64(m.Available)/1e9)
	}
	fmt.Fprintln(w.out)
	for _, p := range d.Paths {
		state := "runs here"
		if p.Missing != "" {
			state = "needs " + p.Missing
		}
		fmt.Fprintf(w.out, "        %-11s %s\n", p.Name, state)
	}
	if l := d.Limits; l != nil {
		fmt.Fprintf(w.out, "        at most %.0f GFLOP/s f32, %.0f GFLOP/s bf16, %.0f GOP/s q8, %.1f GB/s read\n", l.F32/1e9, l.BF16/1e9, l.Q8/1e9, l.Read/1e9)
	}
}
