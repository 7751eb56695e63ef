package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// llamaTests are the tests against llama.cpp: prompts, and decoding of one and of several sequences.
var llamaTests = struct{ prompt, gen, batch []int }{[]int{512, 4096}, []int{128}, []int{8, 16, 64}}

// llamaFiles are the model files in the folder of a llama.cpp build, by our type.
var llamaFiles = []struct {
	t    kernels.DType
	file string
}{{kernels.BF16, "model-bf16.gguf"}, {kernels.Q8, "model-q8_0.gguf"}}

// llamaPeers compares prompts and generation with llama.cpp. A new llama.cpp process runs for every sample; its warm-up
// is not measured.
func llamaPeers(ctx context.Context, o PeerOptions, threads int, run func(contest) error) error {
	if o.Llama == "" {
		return nil
	}
	if threads == 0 {
		return errors.New("comparing with llama.cpp: say how many threads: -t 2")
	}
	for _, f := range llamaFiles {
		file := filepath.Join(o.Llama, f.file)
		if _, err := os.Stat(file); err != nil {
			o.Say("no %s: left out", file)
			continue
		}
		o.DType = f.t
		if err := llamaModel(ctx, o, file, threads, run); err != nil {
			return err
		}
	}
	return nil
}

// llamaModel runs all tests of one file.
func llamaModel(ctx context.Context, o PeerOptions, file string, threads int, run func(contest) error) error {
	var r *modelRun
	var done func()
	defer func() {
		if done != nil {
			done()
		}
	}()
	all := ModelTests{Prompt: llamaTests.prompt, Gen: llamaTests.gen, Batch: llamaTests.batch}
	test := func(name string, unit func(r *modelRun) error, work int,
		argv func() ([]string, func([]byte) (float64, error))) error {
		return run(contest{name: name, peer: "llama.cpp", dtype: o.DType.String(), unit: "t/s",
			ours: func(ctx context.Context) (_ float64, err error) {
				if r == nil {
					if r, done, err = ourModel(ctx, o, all, threads); err != nil {
						return 0, err
					}
				}
				x, err := once(ctx, func() error { return unit(r) })
				return float64(work) / x, err
			},
			theirs: func(ctx context.Context) (float64, error) {
				args, parse := argv()
				out, err := runLlama(ctx, args)
				if err != nil {
					return 0, err
				}
				return parse(out)
			}})
	}
	bin := func(name string) string { return filepath.Join(o.Llama, "bin", name) }
	t := strconv.Itoa(threads)
	single := func(p, n int) func() ([]string, func([]byte) (float64, error)) {
		return func() ([]string, func([]byte) (float64, error)) {
			return []string{bin("llama-bench"), "-m", file, "-t", t, "-p", strconv.Itoa(p), "-n", strconv.Itoa(n), "-r",
				"1", "-o", "json"}, parseLlamaBench
		}
	}
	for _, n := range all.Prompt {
		err := test(fmt.Sprintf("pp%d", n), func(r *modelRun) error { _, err := r.request(r.ids(n), 1); return err }, n,
			single(n, 0))
		if err != nil {
			return err
		}
	}
	for _, n := range all.Gen {
		if err := test(fmt.Sprintf("tg%d", n), func(r *modelRun) error { return r.together(1, n) }, n,
			single(0, n)); err != nil {
			return err
		}
		for _, b := range all.Batch {
			err := test(fmt.Sprintf("tg%d@b%d", n, b), func(r *modelRun) error { return r.together(b, n) }, n*b,
				func() ([]string, func([]byte) (float64, error)) {
					return []string{bin("llama-batched-bench"), "-m", file, "-t", t, "-tb", t, "-c",
							strconv.Itoa(b * (n + 16)), "-b", "2048", "-ub", "512",
							"-npp", "1", "-ntg", strconv.Itoa(n), "-npl", strconv.Itoa(b), "--output-format", "jsonl"},
						parseBatchedBench
				})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// runLlama returns the output of one of llama.cpp's programs.
func runLlama(ctx context.Context, args []string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).Output()
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended) && ended.String() == "signal: segmentation fault":
		// In GCC 12 _tile_loadconfig reads eight bytes of the 64, and the stores to the others are left out as dead.
		return nil, fmt.Errorf("running %s: %w: where the CPU has AMX a build by GCC 12 ends so with q8_0: build it "+
			"with CXXFLAGS=\"-fno-dse -fno-tree-dse\"", args[0], err)
	case err != nil:
		return nil, fmt.Errorf("running %s: %w", args[0], err)
	}
	return out, nil
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

// parseLlamaBench reads the tokens a second of `llama-bench -o json`: one test.
func parseLlamaBench(out []byte) (float64, error) {
	i, j := bytes.Index(out, []byte("[\n")), bytes.LastIndexByte(out, ']') // other lines may stand around it
	var rows []struct {
		Rate float64 `json:"avg_ts"`
	}
	if i < 0 || j < i {
		return 0, errors.New("reading what llama-bench printed: there is no JSON array")
	}
	if err := json.Unmarshal(out[i:j+1], &rows); err != nil {
		return 0, fmt.Errorf("reading what llama-bench printed: %w", err)
	}
	if len(rows) != 1 || !(rows[0].Rate > 0) {
		return 0, fmt.Errorf("reading what llama-bench printed: %d tests instead of one with a rate", len(rows))
	}
	return rows[0].Rate, nil
}

// parseBatchedBench reads the generation's tokens a second of `llama-batched-bench --output-format jsonl`: one test.
func parseBatchedBench(out []byte) (float64, error) {
	for line := range bytes.Lines(out) {
		i := bytes.IndexByte(line, '{')
		if i < 0 || !bytes.Contains(line, []byte(`"speed_tg"`)) {
			continue
		}
		var row struct {
			Rate float64 `json:"speed_tg"`
		}
		if err := json.Unmarshal(line[i:], &row); err != nil {
			return 0, fmt.Errorf("reading what llama-batched-bench printed: %w", err)
		}
		if row.Rate > 0 {
			return row.Rate, nil
		}
	}
	return 0, errors.New("reading what llama-batched-bench printed: there is no rate")
}
