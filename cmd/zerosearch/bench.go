package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"

	"github.com/zerosearch-go/zerosearch/bench"
)

type benchCmd struct {
	Kernels benchKernelsCmd `cmd:"" help:"Measure every operation on shapes of real models, beside the limits of this machine."`
	Model   benchModelCmd   `cmd:"" help:"Measure prompt processing and generation, as llama-bench does."`
	Train   benchTrainCmd   `cmd:"" help:"Measure whole steps of training."`
	GRPO    benchGRPOCmd    `cmd:"" name:"grpo" help:"Measure whole steps of GRPO, with every response at its full length."`
	Peers   benchPeersCmd   `cmd:"" help:"Compare with PyTorch (oneDNN), llama.cpp and ik_llama.cpp, measured in alternation."`

	Roofline benchRooflineCmd `cmd:"" help:"Compute, without a measurement, the bytes, FLOPs and least time of each kernel on a GPU, and the seconds and memory of a step."`
}

// benchFlags are those of all benchmarks.
type benchFlags struct {
	Config  string `name:"config" help:"YAML file with values for any flag, by flag name." placeholder:"FILE"`
	Device  string `name:"device" type:"device" help:"auto, cpu, cuda, cuda:N or ref." default:"cpu"`
	Threads []int  `name:"threads" short:"t" help:"Numbers of threads, measured one after the other; none: all usable cores." placeholder:"1,2"`
	Reps    int    `name:"repetitions" short:"r" help:"Timed repetitions." default:"5"`
	Output  string `name:"output" short:"o" help:"md, json, csv or bench (for benchstat)." default:"md" enum:"md,json,csv,bench"`
	JSON    bool   `name:"json" help:"The same as -o json."`
	Profile string `name:"cpuprofile" help:"Write a profile of this program for go tool pprof." placeholder:"FILE"`
}

// profile runs a benchmark under the profiler if one was asked for; loading is seen too.
func (f benchFlags) profile(run func() (*bench.Report, error)) (*bench.Report, error) {
	if f.Profile == "" {
		return run()
	}
	out, err := os.Create(f.Profile)
	if err == nil {
		defer out.Close()
		err = pprof.StartCPUProfile(out)
	}
	if err != nil {
		return nil, fmt.Errorf("writing --cpuprofile: %w", err)
	}
	defer pprof.StopCPUProfile()
	return run()
}

func (f benchFlags) options(w *world) bench.Options {
	return bench.Options{Device: f.Device, Threads: f.Threads, Reps: f.Reps, Say: w.log.status}
}

// print writes the rows.
func (f benchFlags) print(w *world, r *bench.Report, err error) error {
	w.log.done()
	if r == nil {
		return err
	}
	r.Command = "zerosearch " + strings.Join(os.Args[1:], " ")
	format := f.Output
	if f.JSON {
		format = "json"
	}
	return errors.Join(bench.Write(w.out, format, r), err)
}

type benchKernelsCmd struct {
	benchFlags
	Op    string   `name:"op" help:"Regular expression for the operations to measure." placeholder:"REGEXP"`
	Shape []string `name:"shape" help:"Names of models whose shapes are taken, or products MxKxN." placeholder:"NAME"`
	DType []string `name:"dtype" help:"f32, bf16, q8, q4; none: all." placeholder:"T"`
}

func (c *benchKernelsCmd) Run(w *world) error {
	o := c.options(w)
	o.Op, o.Shapes, o.DTypes = c.Op, c.Shape, c.DType
	r, err := c.profile(func() (*bench.Report, error) { return bench.Kernels(w.ctx, o) })
	return c.print(w, r, err)
}
