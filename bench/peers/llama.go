package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Llama is a build of llama.cpp, or of its fork ik_llama.cpp, with a model file.
type Llama struct {
	Dir     string // of the build: its programs are in bin
	Model   string // a GGUF file
	Threads int
	Fork    bool // ik_llama.cpp
}

// Name is the name of the peer.
func (l Llama) Name() string {
	if l.Fork {
		return "ik_llama.cpp"
	}
	return "llama.cpp"
}

// flags are what makes the fork fast and is off by default: weights repacked when they are loaded, and flash attention.
func (l Llama) flags(bench bool) []string {
	switch {
	case !l.Fork:
		return nil
	case bench:
		return []string{"-rtr", "1", "-fa", "1"}
	}
	return []string{"-rtr", "-fa", "on"}
}

// Single is the rate of llama-bench, in tokens a second: a prompt of so many tokens, or so many new tokens.
func (l Llama) Single(ctx context.Context, prompt, gen int) (float64, error) {
	out, _, err := runLlama(ctx, append([]string{filepath.Join(l.Dir, "bin", "llama-bench"), "-m", l.Model,
		"-t", strconv.Itoa(l.Threads), "-p", strconv.Itoa(prompt), "-n", strconv.Itoa(gen), "-r", "1", "-o", "json"},
		l.flags(true)...))
	if err != nil {
		return 0, err
	}
	return parseLlamaBench(out)
}

// Batched is the rate of llama-batched-bench, in tokens a second: gen new tokens in each of batch sequences at once.
func (l Llama) Batched(ctx context.Context, batch, gen int) (float64, error) {
	t := strconv.Itoa(l.Threads)
	out, log, err := runLlama(ctx, append([]string{filepath.Join(l.Dir, "bin", "llama-batched-bench"), "-m", l.Model, "-t", t,
		"-tb", t, "-c", strconv.Itoa(batch * (gen + 16)), "-b", "2048", "-ub", "512", "-npp", "1",
		"-ntg", strconv.Itoa(gen), "-npl", strconv.Itoa(batch), "--output-format", "jsonl"}, l.flags(false)...))
	if err != nil {
		return 0, err
	}
	return parseBatchedBench(append(append(out, '\n'), log...))
}

// runLlama returns the output of one of llama.cpp's programs, and what it logs.
func runLlama(ctx context.Context, args []string) (out, log []byte, err error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err = cmd.Output()
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended) && ended.String() == "signal: segmentation fault":
		// In GCC 12 _tile_loadconfig reads eight bytes of the 64, and the stores to the others are left out as dead.
		return nil, nil, fmt.Errorf("running %s: %w: where the CPU has AMX a build by GCC 12 ends so with q8_0: build it "+
			"with CXXFLAGS=\"-fno-dse -fno-tree-dse\"", args[0], err)
	case err != nil:
		return nil, nil, fmt.Errorf("running %s: %w", args[0], err)
	}
	return out, said.Bytes(), nil
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

// parseBatchedBench reads the generation's tokens a second of `llama-batched-bench --output-format jsonl`: one test. The
// fork logs a table, of which the eighth column is this rate.
func parseBatchedBench(out []byte) (float64, error) {
	for line := range bytes.Lines(out) {
		if cells := bytes.Split(line, []byte("|")); len(cells) == 12 {
			if x, err := strconv.ParseFloat(string(bytes.TrimSpace(cells[8])), 64); err == nil && x > 0 {
				return x, nil
			}
			continue
		}
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
