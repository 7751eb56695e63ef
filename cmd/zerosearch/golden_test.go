package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// eachModel runs a test on every golden model that is here: those of this checkout, and the whole set where it lies.
func eachModel(t *testing.T, kind string, test func(t *testing.T, dir string)) {
	seen := map[string]bool{}
	for _, root := range []string{"../../model/testdata", goldens.Root()} {
		dirs, _ := filepath.Glob(filepath.Join(root, kind, "*", "golden.safetensors"))
		for _, d := range dirs {
			if dir := filepath.Dir(d); root != "" && !seen[filepath.Base(dir)] {
				seen[filepath.Base(dir)] = true
				t.Run(filepath.Base(dir), func(t *testing.T) { test(t, dir) })
			}
		}
	}
	require.NotEmpty(t, seen)
}

// golden reads golden.safetensors of a folder.
type golden struct {
	t *testing.T
	f *safetensors.File
}

func openGolden(t *testing.T, dir string) golden {
	f, err := safetensors.Open(filepath.Join(dir, "golden.safetensors"))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return golden{t, f}
}

func (g golden) floats(name string) []float32 {
	x, ok := g.f.Tensor(name)
	require.True(g.t, ok, name)
	out := make([]float32, x.Elements())
	require.NoError(g.t, x.Float32(out))
	return out
}

// ints reads an I32 tensor.
func (g golden) ints(name string) []int32 {
	x, ok := g.f.Tensor(name)
	require.True(g.t, ok, name)
	b := x.Bytes()
	out := make([]int32, len(b)/4)
	for i := range out {
		out[i] = int32(uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24)
	}
	return out
}

// sftRows writes the batches of the golden's AdamW run as rows for sft.
func (g golden) sftRows(steps int) (file string, batch int) {
	var text strings.Builder
	for s := range steps {
		ids, mask := g.ints(fmt.Sprintf("adamw.step%d.ids", s)), g.ints(fmt.Sprintf("adamw.step%d.mask", s))
		lens := g.ints(fmt.Sprintf("adamw.step%d.lens", s))
		batch = len(lens)
		for _, n := range lens {
			line, err := json.Marshal(map[string][]int32{"ids": ids[:n], "mask": mask[:n]})
			require.NoError(g.t, err)
			text.WriteString(string(line) + "\n")
			ids, mask = ids[n:], mask[n:]
		}
	}
	file = filepath.Join(g.t.TempDir(), "rows.jsonl")
	require.NoError(g.t, os.WriteFile(file, []byte(text.String()), 0o644))
	return file, batch
}

// adamw runs sft on the golden's rows and compares losses and gradient norms with torch's; it returns the last
// checkpoint.
func (g golden) adamw(dir string, flags ...string) string {
	var scalars struct {
		Scalars struct {
			AdamW []struct {
				Loss     float64
				GradNorm float64 `json:"grad_norm"`
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	require.NoError(g.t, err)
	require.NoError(g.t, json.Unmarshal(text, &scalars))
	want := scalars.Scalars.AdamW
	require.NotEmpty(g.t, want)
	rows, batch := g.sftRows(len(want))
	out := filepath.Join(g.t.TempDir(), "run")
	mustRun(g.t, "",
		append([]string{"sft", "--data", rows, "--out", out, "--steps", fmt.Sprint(len(want)), "--batch-size",
			fmt.Sprint(batch),
			"--no-shuffle", "--dtype", "f32", "--lr", "1e-3", "--betas", "0.9,0.95", "--eps", "1e-8", "--weight-decay",
			"0.1", "--max-grad-norm", "1"}, flags...)...)
	f, err := os.Open(filepath.Join(out, "metrics.jsonl"))
	require.NoError(g.t, err)
	defer f.Close()
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); n++ {
		var m map[string]float64
		require.NoError(g.t, json.Unmarshal(s.Bytes(), &m))
		require.EqualValues(g.t, n+1, m["step"])
		require.InDelta(g.t, want[n].Loss, m["train/loss"], 1e-5, "loss of step %d", n+1)
		require.InEpsilon(g.t, want[n].GradNorm, m["train/grad_norm"], 1e-5, "gradient norm of step %d", n+1)
	}
	require.Equal(g.t, len(want), n)
	return filepath.Join(out, "checkpoints", fmt.Sprintf("step-%d", n))
}

// final compares saved weights with the golden's after its last step.
func (g golden) final(file string) (compared int) {
	f, err := safetensors.Open(file)
	require.NoError(g.t, err)
	defer f.Close()
	off := 0
	for _, name := range f.Names() {
		if _, ok := g.f.Tensor("adamw.final." + name); !ok {
			continue
		}
		want := g.floats("adamw.final." + name)
		x, _ := f.Tensor(name)
		got := make([]float32, len(want))
		require.NoError(g.t, x.Float32(got))
		for i := range want {
			d := math.Abs(float64(want[i]) - float64(got[i]))
			require.Less(g.t, d, 2e-3, "%s[%d]", name, i)
			if d > 3e-6 {
				off++
			}
		}
		compared += len(want)
	}
	require.LessOrEqual(g.t, 1000*off, compared, "weights off by more than 3e-6")
	return compared
}

// The loss, the gradient norm and the weights of every step of torch's AdamW, with clipping and weight decay, from the
// command line.
func TestSFTReproducesTorch(t *testing.T) {
	weights := 0
	eachModel(t, "models", func(t *testing.T, dir string) {
		g := openGolden(t, dir)
		weights += g.final(filepath.Join(g.adamw(dir, "--model", dir), "model.safetensors"))
	})
	require.NotZero(t, weights, "no weights were compared")
}

func TestSFTReproducesPeft(t *testing.T) {
	eachModel(t, "lora", func(t *testing.T, dir string) {
		var about struct{ Base string }
		text, err := os.ReadFile(filepath.Join(dir, "golden.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &about))
		g := openGolden(t, dir)
		base := filepath.Join(filepath.Dir(filepath.Dir(dir)), "models", about.Base)
		require.NotZero(t,
			g.final(filepath.Join(g.adamw(dir, "--model", base, "--adapter", dir), "adapter_model.safetensors")))
	})
}

// score and generate give transformers' log-probabilities and greedy ids.
func TestModelsFromTheCommandLine(t *testing.T) {
	eachModel(t, "models", func(t *testing.T, dir string) {
		g := openGolden(t, dir)
		var stdin strings.Builder
		var want [][]float32
		for i := 0; ; i++ {
			if _, ok := g.f.Tensor(fmt.Sprintf("seq%d.ids", i)); !ok {
				break
			}
			line, _ := json.Marshal(map[string][]int32{"ids": g.ints(fmt.Sprintf("seq%d.ids", i))})
			stdin.WriteString(string(line) + "\n")
			want = append(want, g.floats(fmt.Sprintf("seq%d.logp", i)))
		}
		require.NotEmpty(t, want)
		lines := strings.Split(strings.TrimSpace(mustRun(t, stdin.String(), "score", "--model", dir, "--dtype", "f32")),
			"\n")
		require.Len(t, lines, len(want))
		for i, line := range lines {
			var got scoreAnswer
			require.NoError(t, json.Unmarshal([]byte(line), &got))
			require.Len(t, got.Logprobs, len(want[i])-1)
			for k, lp := range got.Logprobs {
				require.InDelta(t, want[i][k+1], lp, 1e-4, "sequence %d, id %d", i, k+1)
			}
		}
		for i := 0; ; i++ {
			if _, ok := g.f.Tensor(fmt.Sprintf("gen%d.prompt", i)); !ok {
				require.NotZero(t, i)
				break
			}
			line, _ := json.Marshal(map[string][]int32{"ids": g.ints(fmt.Sprintf("gen%d.prompt", i))})
			ids := g.ints(fmt.Sprintf("gen%d.ids", i))
			var got generateAnswer
			out := mustRun(t, string(line), "generate", "--model", dir, "--dtype", "f32", "--temperature", "0",
				"--ignore-eos", "--max-tokens", fmt.Sprint(len(ids)))
			require.NoError(t, json.Unmarshal([]byte(out), &got))
			require.Equal(t, ids, got.IDs)
		}
	})
}
