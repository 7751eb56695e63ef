package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/zerosearch-go/zerosearch/bench"
	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// bandwidth copies within the GPU's memory.
func bandwidth(j *job) error {
	if j.flags.Quick {
		return skip("nothing is timed with --quick")
	}
	rate, err := j.copyRate()
	if err != nil {
		return err
	}
	j.say("%.0f GB/s, reading and writing", rate/1e9)
	return nil
}

// timedMemory is the name of the device and the memory that a timed check can use, in bytes. With --quick nothing is
// timed: the check is skipped.
func (j *job) timedMemory() (device string, available int64, err error) {
	if j.flags.Quick {
		return "", 0, skip("nothing is timed with --quick")
	}
	d, err := j.open()
	if err != nil {
		return "", 0, err
	}
	defer d.Close()
	_, available, err = d.(kernels.OwnMemory).Memory()
	return d.Name(), available, err
}

// copyRate is the bytes a second, read and written, of large copies: the limit of everything that memory bounds.
func (j *job) copyRate() (float64, error) {
	d, err := j.open()
	if err != nil {
		return 0, err
	}
	defer d.Close()
	_, available, err := d.(kernels.OwnMemory).Memory()
	if err != nil {
		return 0, err
	}
	cols := int(min(512<<20, available/16)) // elements
	var r room
	defer r.free()
	x, y := r.tensor(d, kernels.F32, 1, cols), r.tensor(d, kernels.F32, 1, cols)
	if r.err != nil {
		return 0, r.err
	}
	kernels.Upload(d, x, noise(cols, 1))
	var rates []float64
	for range 7 {
		if err := d.Sync(); err != nil {
			return 0, err
		}
		const times = 5
		began := time.Now()
		for range times {
			d.Copy(y, x)
		}
		if err := d.Sync(); err != nil {
			return 0, err
		}
		rates = append(rates, times*8*float64(cols)/time.Since(began).Seconds())
	}
	slices.Sort(rates)
	j.values["bytes_per_second"] = rates[len(rates)/2]
	return rates[len(rates)/2], nil
}

// products times the products of a layer, from one row to those of a prompt and of a training batch.
func products(j *job) error {
	if j.flags.Quick {
		return skip("nothing is timed with --quick")
	}
	shapes := []string{"qwen2.5-3b"}
	for _, m := range []int{2048, 8192} {
		for _, w := range [][2]int{{2048, 11008}, {11008, 2048}, {2048, 2048}} {
			shapes = append(shapes, fmt.Sprintf("%dx%dx%d", m, w[0], w[1]))
		}
	}
	r, err := bench.Kernels(j.ctx, bench.Options{Device: j.flags.Device, Op: "^matmul(_dx|_dw)?$", Shapes: shapes,
		DTypes: []string{"bf16", "q8"}, Reps: 5})
	if err != nil {
		return err
	}
	for _, x := range r.Rows {
		name := fmt.Sprintf("%s %s %dx%dx%d", x.Op, x.DType, x.Shape["m"], x.Shape["k"], x.Shape["n"])
		j.say("%-36s %9.1f us  %7.1f TFLOP/s  %7.0f GB/s", name, x.Seconds*1e6, x.GFLOPS/1e3, x.GBS)
		j.values[name] = x.Seconds
	}
	return nil
}

// wanted is the share of the memory's bandwidth that decode should reach where many sequences share the reading of the
// weights.
const wanted = 0.6

// decode generates with random weights. Each pass reads all weights, and the keys and values of every sequence.
func decode(j *job) error {
	_, available, err := j.timedMemory()
	if err != nil {
		return err
	}
	rate, err := j.copyRate()
	if err != nil {
		return err
	}
	const depth, tokens = 512, 64
	c, err := ops.LookupModel("qwen2.5-3b")
	if err != nil {
		return err
	}
	batch := []int{1, 64, 256}
	need := func(b int) int64 { return 2*c.Parameters() + int64(b)*(depth+2*tokens)*c.KVBytes(kernels.BF16) + 4<<30 }
	for len(batch) > 0 && need(batch[len(batch)-1]) > available {
		j.say("%d sequences need %.1f GB: left out", batch[len(batch)-1], float64(need(batch[len(batch)-1]))/1e9)
		batch = batch[:len(batch)-1]
	}
	if len(batch) == 0 {
		return skip(fmt.Sprintf("%.1f GB of the GPU are available", float64(available)/1e9))
	}
	r, err := bench.Model(j.ctx, bench.Options{Device: j.flags.Device, Shape: "qwen2.5-3b", DType: kernels.BF16,
		Reps: 3, Seed: 1},
		bench.ModelTests{Gen: []int{tokens}, Batch: batch, Depth: depth, Prompt: []int{1024}, UBatch: 4096})
	if err != nil {
		return err
	}
	slow := ""
	for _, x := range r.Rows {
		share := x.GBS * 1e9 / rate
		j.say("%-16s %9.1f tokens/s  %8.2f ms a token  %4.0f%% of the bandwidth", x.Op, x.Median,
			1e3*float64(x.Shape["batch"])/x.Median, 100*share)
		j.values[x.Op] = x.Median
		if x.Shape["gen"] > 0 && x.Shape["batch"] >= 64 && share < wanted {
			slow += fmt.Sprintf(", %d sequences %.0f%%", x.Shape["batch"], 100*share)
		}
	}
	if slow != "" {
		return fmt.Errorf("decode reaches less than %.0f%% of the bandwidth of copies, %.0f GB/s%s", 100*wanted,
			rate/1e9, slow)
	}
	return nil
}
