package model

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/internal/pyjson"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// configCase is one of testdata/configs/make.py.
type configCase struct {
	Config   string
	Tensors  map[string][]int
	Same     bool // the output matrix of the file is the embedding
	LogProbs []float64
	Error    string
}

// formulaWeight is the script's weight.
func formulaWeight(name string, n int) []float32 {
	h := uint32(2166136261)
	for _, b := range []byte(name) {
		h = (h ^ uint32(b)) * 16777619
	}
	w := make([]float32, n)
	for i := range w {
		x := uint32(i)*2654435761 + h
		x ^= x >> 16
		x *= 2246822507
		x ^= x >> 13
		w[i] = float32(float64(x)/(1<<32) - 0.5)
		if strings.Contains(name, "norm") {
			w[i]++
		}
	}
	return w
}

// write makes the checkpoint of a case.
func (c *configCase) write(t *testing.T) (dir string) {
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(c.Config), 0o666))
	var sizes struct {
		Layers int `json:"num_hidden_layers"`
	}
	require.NoError(t, pyjson.Unmarshal([]byte(c.Config), &sizes))
	var specs []safetensors.Spec
	for name, shape := range c.Tensors {
		for l := range sizes.Layers {
			if full := strings.Replace(name, "layers.*", fmt.Sprintf("layers.%d", l), 1); full != name || l == 0 {
				specs = append(specs, safetensors.Spec{Name: full, DType: safetensors.F32, Shape: shape})
			}
		}
	}
	require.NoError(t, safetensors.WriteSharded(dir, "model", 0, specs, nil, func(name string, w io.Writer) error {
		n := 1
		for _, s := range specs {
			if s.Name == name {
				for _, d := range s.Shape {
					n *= d
				}
			}
		}
		if c.Same && name == headName {
			name = embedName
		}
		return safetensors.EncodeFloat32(w, safetensors.F32, formulaWeight(name, n))
	}))
	return dir
}

// caseLines opens a file of cases, or the one that the environment variable names, and reads its first line into head.
func caseLines(t *testing.T, variable, path string, head any) *bufio.Scanner {
	file, err := os.Open(cmp.Or(os.Getenv(variable), path))
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	require.True(t, lines.Scan())
	require.NoError(t, json.Unmarshal(lines.Bytes(), head))
	return lines
}

// Whatever a config.json says in odd words is computed as transformers computes it, or refused; and what is saved is
// computed the same.
func TestConfigCases(t *testing.T) {
	path := filepath.Join("testdata", "configs", "cases.jsonl")
	var head struct{ IDs []int32 }
	lines := caseLines(t, "ZEROSEARCH_CONFIG_CASES", path, &head)
	var same, refused, failed int
	why := map[string]int{}
	for n := 1; lines.Scan(); n++ {
		var c configCase
		require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
		if c.Error != "" {
			failed++ // whether it is read here does not matter
			continue
		}
		m, err := Load(ref.New(), c.write(t), Options{DType: kernels.F32})
		if err != nil {
			refused++
			named := func(key string) bool { return strings.Contains(err.Error(), key) }
			require.True(t, slices.ContainsFunc(slices.Collect(maps.Keys(verdicts["config.json"])), named),
				"no key is named: %v", err)
			why[err.Error()[max(0, strings.LastIndex(err.Error(), "config.json: ")):]]++
			continue
		}
		same++
		again := t.TempDir()
		require.NoError(t, m.Save(again, SaveOptions{DType: kernels.F32}))
		saved := load(t, ref.New(), again, Options{DType: kernels.F32})
		for what, m := range map[string]*Model{"loaded": m, "saved": saved} {
			r := newRig(t, m, len(head.IDs), WorkspaceOptions{})
			seqs := [][]int32{head.IDs}
			for i, got := range r.score(r.forward(seqs, nil), seqs, 1).logp {
				if math.Abs(float64(got)-c.LogProbs[i]) > 1e-4 {
					t.Errorf("case %d, %s: log-prob %d is %v, transformers computes %v: %s", n, what, i, got,
						c.LogProbs[i], c.Config)
					break
				}
			}
		}
		m.Close()
	}
	require.NoError(t, lines.Err())
	t.Logf("%d the same, %d refused, %d refused by transformers", same, refused, failed)
	for w, n := range why {
		t.Logf("%3d %s", n, w)
	}
	if os.Getenv("ZEROSEARCH_CONFIG_CASES") == "" {
		require.Equal(t, [3]int{24, 19, 5}, [3]int{same, refused, failed})
	}
}
