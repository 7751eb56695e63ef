package model

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// adapterCase is one of testdata/adapters/make.py.
type adapterCase struct {
	Config   string
	Name     string         // that the names of the tensors carry
	Ranks    map[string]int // of the modules, called as in "0.mlp.up_proj"
	Other    int            // tensors that are no A and no B
	LogProbs []float64
	Error    string
}

// write makes the folder of a case for m.
func (c *adapterCase) write(t *testing.T, m *Model) (dir string) {
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, adapterConfigFile), []byte(c.Config), 0o666))
	var specs []safetensors.Spec
	plain := map[string]string{}
	add := func(module, ab string, shape ...int) {
		name := adapterPrefix + module + ab + "weight"
		full := adapterPrefix + module + ab + strings.TrimPrefix(c.Name+".weight", ".")
		plain[full] = name
		specs = append(specs, safetensors.Spec{Name: full, DType: safetensors.F32, Shape: shape})
	}
	for module, r := range c.Ranks {
		module = "model.layers." + module
		p := m.byName[module+".weight"]
		if p == nil {
			continue // of a layer that layer_replication makes
		}
		n, k := p.size()
		add(module, ".lora_A.", r, k)
		add(module, ".lora_B.", n, r)
	}
	w, err := safetensors.Create(filepath.Join(dir, adapterFile), specs, nil)
	require.NoError(t, err)
	for _, s := range specs {
		require.NoError(t, w.WriteFloat32(s.Name, formulaWeight(plain[s.Name], s.Shape[0]*s.Shape[1])))
	}
	require.NoError(t, w.Close())
	return dir
}

// Whatever an adapter_config.json says is computed as peft computes it, or refused with the name of a key; and what is
// saved is computed the same.
func TestAdapterCases(t *testing.T) {
	path := filepath.Join("testdata", "adapters", "cases.jsonl")
	var head struct {
		IDs  []int32
		Base string
	}
	lines := caseLines(t, "ZEROSEARCH_ADAPTER_CASES", path, &head)
	config, err := ParseConfig([]byte(head.Base))
	require.NoError(t, err)
	m, err := newModel(ref.New(), config, Options{DType: kernels.F32})
	require.NoError(t, err)
	defer m.Close()
	for _, p := range m.All() {
		n, k := p.size()
		m.store(p, 0, bytesOf(formulaWeight(p.Name, n*k)), kernels.F32)
	}
	r := newRig(t, m, len(head.IDs), WorkspaceOptions{})
	var same, refused, failed int
	why := map[string]int{}
	for n := 1; lines.Scan(); n++ {
		var c adapterCase
		require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
		if c.Error != "" {
			failed++
			continue
		}
		a, err := LoadAdapter(m, c.write(t, m), false)
		if err != nil {
			refused++
			named := func(key string) bool { return strings.Contains(err.Error(), key) }
			keys := slices.Collect(maps.Keys(verdicts[adapterConfigFile]))
			require.True(t, slices.ContainsFunc(append(keys, "key_of_the_future"), named), "no key is named: %v", err)
			why[err.Error()[max(0, strings.LastIndex(err.Error(), adapterConfigFile)):]]++
			continue
		}
		same++
		require.Zero(t, c.Other, c.Config)
		again := t.TempDir()
		require.NoError(t, a.Save(again))
		saved, err := LoadAdapter(m, again, false)
		require.NoError(t, err)
		for what, a := range map[string]*Adapter{"loaded": a, "saved": saved} {
			r.a = a
			seqs := [][]int32{head.IDs}
			for i, got := range r.score(r.forward(seqs, nil), seqs, 1).logp {
				if math.Abs(float64(got)-c.LogProbs[i]) > 1e-4*max(1, math.Abs(c.LogProbs[i])) {
					t.Errorf("case %d, %s: log-prob %d is %v, peft computes %v: %s", n, what, i, got, c.LogProbs[i],
						c.Config)
					break
				}
			}
			a.Close()
		}
	}
	require.NoError(t, lines.Err())
	t.Logf("%d the same, %d refused, %d refused by peft", same, refused, failed)
	for w, n := range why {
		t.Logf("%3d %s", n, w)
	}
	if os.Getenv("ZEROSEARCH_ADAPTER_CASES") == "" {
		require.Equal(t, [3]int{17, 18, 1}, [3]int{same, refused, failed})
	}
}
