package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
	"github.com/zerosearch-go/zerosearch/bench/peers"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// llamaTests are the tests against llama.cpp and its fork: prompts, and decoding of one and of several sequences.
var llamaTests = struct{ prompt, gen, batch []int }{[]int{512, 4096}, []int{128}, []int{8, 16, 64}}

// llamaFiles are the model files in the folder of a llama.cpp build, by our type.
var llamaFiles = []struct {
	t    kernels.DType
	file string
}{{kernels.BF16, "model-bf16.gguf"}, {kernels.Q8, "model-q8_0.gguf"}}

// llamaPeers compares prompts and generation with llama.cpp and with ik_llama.cpp. A new process runs for every sample;
// its warm-up is not measured.
func llamaPeers(ctx context.Context, o PeerOptions, threads int, run func(peers.Contest) error) error {
	for _, l := range []peers.Llama{{Dir: o.Llama}, {Dir: o.IKLlama, Fork: true}} {
		if l.Dir == "" {
			continue
		}
		if threads == 0 {
			return fmt.Errorf("comparing with %s: say how many threads: -t 2", l.Name())
		}
		l.Threads = threads
		for _, f := range llamaFiles {
			if l.Model = modelFile(f.file, l.Dir, o.Llama); l.Model == "" {
				o.Say("no %s in %s: left out", f.file, l.Dir)
				continue
			}
			o.DType = f.t
			if err := llamaModel(ctx, o, l, run); err != nil {
				return err
			}
		}
	}
	return nil
}

// modelFile is the file in the first of the folders that has it, or "".
func modelFile(name string, dirs ...string) string {
	for _, d := range dirs {
		file := filepath.Join(d, name)
		if _, err := os.Stat(file); d != "" && err == nil {
			return file
		}
	}
	return ""
}

// llamaModel runs all tests of one file.
func llamaModel(ctx context.Context, o PeerOptions, llama peers.Llama, run func(peers.Contest) error) error {
	var r *modelRun
	var done func()
	defer func() {
		if done != nil {
			done()
		}
	}()
	all := ModelTests{Prompt: llamaTests.prompt, Gen: llamaTests.gen, Batch: llamaTests.batch}
	test := func(name string, unit func(r *modelRun) error, work int,
		theirs func(ctx context.Context) (float64, error)) error {
		return run(peers.Contest{Name: name, Peer: llama.Name(), DType: o.DType.String(), Unit: "t/s", Theirs: theirs,
			Ours: func(ctx context.Context) (_ float64, err error) {
				if r == nil {
					if r, done, err = ourModel(ctx, o, all, llama.Threads); err != nil {
						return 0, err
					}
				}
				x, err := measure.Once(ctx, func() error { return unit(r) })
				return float64(work) / x, err
			}})
	}
	for _, n := range all.Prompt {
		if err := test(fmt.Sprintf("pp%d", n), func(r *modelRun) error { _, err := r.request(r.ids(n), 1); return err },
			n, func(ctx context.Context) (float64, error) { return llama.Single(ctx, n, 0) }); err != nil {
			return err
		}
	}
	for _, n := range all.Gen {
		if err := test(fmt.Sprintf("tg%d", n), func(r *modelRun) error { return r.together(1, n) }, n,
			func(ctx context.Context) (float64, error) { return llama.Single(ctx, 0, n) }); err != nil {
			return err
		}
		for _, b := range all.Batch {
			if err := test(fmt.Sprintf("tg%d@b%d", n, b), func(r *modelRun) error { return r.together(b, n) }, n*b,
				func(ctx context.Context) (float64, error) { return llama.Batched(ctx, b, n) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// ourModel opens the model in a new engine.
func ourModel(ctx context.Context, o PeerOptions, t ModelTests, threads int) (*modelRun, func(), error) {
	d, m, closeModel, err := o.openAlone(threads, false)
	if err != nil {
		return nil, nil, err
	}
	r, err := newModelRun(ctx, o.Options, t, d, m)
	if err != nil {
		closeModel()
		return nil, nil, err
	}
	return r, func() { r.eng.Close(); closeModel() }, nil
}
