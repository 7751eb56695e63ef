package verify

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// Line is a line of episodes.jsonl and the episode in it.
type Line struct {
	Text []byte
	*episode.Episode
}

// RecordedSteps are the steps in metrics.jsonl, in ascending order.
func RecordedSteps(dir string) (steps []int, err error) {
	err = eachLine(filepath.Join(dir, "metrics.jsonl"), func(n int, line []byte) error {
		var at struct{ Step int }
		if err := json.Unmarshal(line, &at); err != nil {
			return fmt.Errorf("line %d is damaged", n)
		}
		steps = append(steps, at.Step)
		return nil
	})
	slices.Sort(steps)
	return steps, err
}

// metricsOf reads the metrics of a step, each as the text in metrics.jsonl.
func metricsOf(dir string, step int) (map[string]string, error) {
	out := map[string]string{}
	return out, eachLine(filepath.Join(dir, "metrics.jsonl"), func(n int, line []byte) error {
		values := map[string]json.RawMessage{}
		if err := json.Unmarshal(line, &values); err != nil {
			return fmt.Errorf("line %d is damaged: %w", n, err)
		}
		if string(values["step"]) == strconv.Itoa(step) {
			if len(out) > 0 {
				return fmt.Errorf("line %d is the second one of step %d", n, step)
			}
			for k, v := range values {
				out[k] = string(v)
			}
		}
		return nil
	})
}

// eachLine calls each for every complete line of a file; n counts from 1.
func eachLine(path string, each func(n int, line []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return nil // a last line without a line break is incomplete
		}
		if err == nil {
			err = each(n, line)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
}

// EpisodesOf reads the episodes of the steps from first to last, by step.
func EpisodesOf(dir string, first, last int) (map[int][]Line, error) {
	out := map[int][]Line{}
	return out, eachLine(filepath.Join(dir, "episodes.jsonl"), func(n int, line []byte) error {
		var step int
		if k, _ := fmt.Sscanf(string(line[:min(len(line), 40)]), `{"step":%d,`, &step); k != 1 {
			return fmt.Errorf("line %d is damaged: it does not begin with a step", n)
		}
		if step < first || step > last {
			return nil
		}
		e := new(episode.Episode)
		if err := json.Unmarshal(line, e); err != nil {
			return fmt.Errorf("line %d is damaged: %w", n, err)
		}
		out[step] = append(out[step], Line{bytes.TrimSuffix(line, []byte("\n")), e})
		return nil
	})
}

// SameBits reports whether two kernel paths compute the same bits: see docs/numbers.md.
func SameBits(a, b, dtype string) bool {
	if a == b || b == "" {
		return true
	}
	differs := func(path string) bool { return path == "amx" || path == "ref" }
	return dtype == kernels.BF16.String() && !differs(a) && !differs(b)
}

// SavedAs is the data type of the weights in a checkpoint. It may differ between checkpoints, because --save-dtype may
// be changed when a run is resumed.
func SavedAs(dir string) (kernels.DType, bool) {
	for _, name := range []string{"model.safetensors", "adapter_model.safetensors"} {
		f, err := safetensors.Open(filepath.Join(dir, name))
		if err != nil {
			continue // the checkpoint is of the other kind; if the file is damaged, compareTensors reports it
		}
		defer f.Close()
		for _, n := range f.Names() {
			x, _ := f.Tensor(n)
			dtype, err := kernels.ParseDType(strings.ToLower(fmt.Sprint(x.DType)))
			return dtype, err == nil
		}
	}
	return 0, false
}
