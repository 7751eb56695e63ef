package model

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// Adapter is a LoRA (Hu et al., arXiv 2106.09685) on a model's projections: y = W x + scale B (A x), with scale =
// alpha/R or, with RSLoRA, alpha/sqrt(R). Segments of a batch name the adapter they use; several adapters share one
// base. An adapter can be used only with the Model that it was made or loaded for.
type Adapter struct {
	Config AdapterConfig
	*bank
	m       *Model
	id      uint64
	pairs   [][numProjs]*pair // by layer and projection; nil: no adapter there
	maxRank int
}

// pair is the adapter of one projection: A [R, K], B [N, R].
type pair struct {
	A, B  *Param
	r     int
	scale float32
}

// Names of the two files of an adapter's folder, and what the names of its tensors begin with.
const (
	adapterConfigFile = "adapter_config.json"
	adapterFile       = "adapter_model.safetensors"
	adapterPrefix     = "base_model.model."
)

// NewAdapter initialises a new adapter for m as peft does: A is uniform within 1/sqrt(K) and B is zero, so that at
// first it changes nothing. The same seed gives the same values on every machine.
func NewAdapter(m *Model, c AdapterConfig, trainable bool, seed uint64) (*Adapter, error) {
	a, err := newAdapter(m, c, trainable)
	if err != nil {
		return nil, fmt.Errorf("making an adapter: %w", err)
	}
	for _, p := range a.params {
		n, k := p.size()
		bound, g := 1/math.Sqrt(float64(k)), newDraw(seed, p.Name)
		a.fill(p, n, k, func(row []float32) {
			if !strings.Contains(p.Name, ".lora_A.") {
				return
			}
			for i := range row {
				row[i] = float32(bound * (2*g.uniform() - 1))
			}
		})
	}
	a.wide = nil
	return a, nil
}

// LoadAdapter reads a folder as peft writes it: adapter_config.json and adapter_model.safetensors. What changes the
// computation in a way that is not supported (DoRA, other adapters, trained embeddings) is refused by name.
func LoadAdapter(m *Model, dir string, trainable bool) (*Adapter, error) {
	c, err := ReadAdapterConfig(dir)
	if err != nil {
		return nil, err
	}
	if trainable && c.dropout != 0 {
		return nil, fmt.Errorf("%s: lora_dropout is %v: training with dropout is not supported, set it to 0", dir,
			c.dropout)
	}
	f, err := safetensors.OpenDir(filepath.Join(dir, adapterFile))
	if err != nil {
		if _, bin := os.Stat(filepath.Join(dir, "adapter_model.bin")); bin == nil && errors.Is(err, fs.ErrNotExist) {
			return nil,
				fmt.Errorf("loading the adapter %s: it has adapter_model.bin, which holds Python objects and is not "+
					"read, and no %s: save it again with peft, which writes the latter", dir, adapterFile)
		}
		return nil, err
	}
	defer f.Close()
	a, err := newAdapter(m, c, trainable)
	if err != nil {
		return nil, fmt.Errorf("loading the adapter %s: %w", dir, err)
	}
	if err := a.loadAll(f); err != nil {
		a.Close()
		return nil, fmt.Errorf("loading the adapter %s: %w", dir, err)
	}
	return a, nil
}

func (a *Adapter) loadAll(f *safetensors.Set) error {
	tensors, err := adapterTensors(f)
	if err != nil {
		return err
	}
	for _, t := range f.Names() {
		name, _ := adapterName(t)
		if a.byName[name] != nil {
			continue
		}
		for _, p := range a.params {
			if prefix, ok := strings.CutSuffix(name, p.Name); ok {
				return fmt.Errorf(
					"the names of its tensors begin with %q (%s): take that out of them, so that they begin with "+
						"%s", prefix, t, adapterPrefix)
			}
			if strings.HasSuffix(p.Name, "."+name) {
				return fmt.Errorf("the names of its tensors do not begin with %s (%s): add what is missing (%s)",
					adapterPrefix,
					t, p.Name)
			}
		}
		return fmt.Errorf("tensor %s does not belong to an adapter of this model with target_modules %s", t,
			a.Config.targetText())
	}
	for _, p := range a.params {
		t, ok := f.Tensor(tensors[p.Name])
		if !ok {
			return fmt.Errorf("tensor %s is missing", p.Name)
		}
		if !slices.Equal(t.Shape, p.Shape) {
			return fmt.Errorf("tensor %s has shape %v, the model and the rank call for %v", p.Name, t.Shape, p.Shape)
		}
		if dtypeOf(t) == 0 {
			return fmt.Errorf("tensor %s has type %s: only F32, BF16 and F16 can be loaded", p.Name, t.DType)
		}
		if err := a.load(p, t); err != nil {
			return err
		}
	}
	a.wide = nil
	return nil
}

// newAdapter allocates a zeroed adapter. Its matrices have the model's type, or BF16 on a quantised model.
func newAdapter(m *Model, c AdapterConfig, trainable bool) (*Adapter, error) {
	match, err := c.matcher()
	if err != nil {
		return nil, err
	}
	if err := c.over(m.Dir); err != nil {
		return nil, err
	}
	a := &Adapter{Config: c, m: m, id: adapters.Add(1), pairs: make([][numProjs]*pair, m.Config.Layers)}
	var params []*Param
	for l := range m.layers {
		for j := proj(0); j < numProjs; j++ {
			module := moduleName(l, j)
			if !match(module) {
				continue
			}
			r, alpha, err := c.rankAlpha(module)
			if err != nil {
				return nil, err
			}
			n, k := m.layers[l].lin[j].W.size()
			scale := c.scale(r, alpha)
			if scale == 0 || !finite(float64(scale)) {
				return nil,
					fmt.Errorf(
						"lora_alpha or alpha_pattern gives %s alpha %v, which scales its update by %v: leave the "+
							"module out, or correct it", module, alpha, scale)
			}
			p := &pair{r: r, scale: scale,
				A: &Param{Name: adapterPrefix + module + ".lora_A.weight", Shape: []int{r, k}},
				B: &Param{Name: adapterPrefix + module + ".lora_B.weight", Shape: []int{n, r}}}
			a.pairs[l][j] = p
			a.maxRank = max(a.maxRank, r)
			params = append(params, p.A, p.B)
		}
	}
	if len(params) == 0 {
		return nil, fmt.Errorf("target_modules %s match none of this model's projections (%s)", c.targetText(),
			strings.Join(projNames(), ", "))
	}
	dtype := m.DType
	if dtype.Quantised() {
		dtype = kernels.BF16
	}
	a.bank, err = newBank(m.Device, dtype, trainable, params)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Params are the adapter's matrices, A and B of every projection; none if it is frozen.
func (a *Adapter) Params() []*Param { return a.trained() }

// ZeroGrads clears all gradients.
func (a *Adapter) ZeroGrads() { a.zeroGrads() }

// Repack packs p's weight from its master, after an optimizer step.
func (a *Adapter) Repack(p *Param) { a.repack(p) }

// adapters counts the adapters of this process, for ID.
var adapters atomic.Uint64

// ID is a number above 0 that no other adapter of this process has or will have.
func (a *Adapter) ID() uint64 { return a.id }

// CheckAdapter reports an adapter that cannot be used with m: it is closed, or was made for another model, even one of
// the same shapes. nil means no adapter and is valid.
func (m *Model) CheckAdapter(a *Adapter) error {
	switch {
	case a == nil:
	case a.m != m:
		return fmt.Errorf("the adapter was made for another model: load it for this one")
	case a.bank == nil:
		return fmt.Errorf("the adapter is closed")
	}
	return nil
}

// Rank is the largest rank of the adapter's pairs.
func (a *Adapter) Rank() int { return a.maxRank }

// Close frees the adapter's memory.
func (a *Adapter) Close() {
	if a.bank != nil {
		a.free()
		a.bank = nil
	}
}

// Save writes the adapter into dir as peft does, F32, for PeftModel.from_pretrained: the masters of a trainable
// adapter; of a frozen one the values as they are computed with, rounded to its type.
func (a *Adapter) Save(dir string) error {
	var specs []safetensors.Spec
	values := map[string][]float32{}
	for _, p := range slices.SortedFunc(slices.Values(a.params),
		func(x, y *Param) int { return cmp.Compare(x.Name, y.Name) }) {
		v, err := a.read(p)
		if err != nil {
			return fmt.Errorf("saving the adapter: %w", err)
		}
		specs, values[p.Name] = append(specs, safetensors.Spec{Name: p.Name, DType: safetensors.F32, Shape: p.Shape}), v
	}
	if err := makeDir(dir); err != nil {
		return err
	}
	w, err := safetensors.Create(filepath.Join(dir, adapterFile), specs, map[string]string{"format": "pt"})
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, s := range specs {
		if err := w.WriteFloat32(s.Name, values[s.Name]); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return disk.WriteFile(filepath.Join(dir, adapterConfigFile), a.Config.JSON())
}

// read copies p to the host.
func (a *Adapter) read(p *Param) ([]float32, error) {
	n, k := p.size()
	out := make([]float32, n*k)
	if !p.Master.IsZero() {
		return out, kernels.Download(a.dev, out, p.Master)
	}
	t, err := kernels.NewTensor(a.dev, kernels.F32, n, k)
	if err != nil {
		return nil, err
	}
	defer t.Buf.Free()
	a.dev.Unpack(t, p.W, 0)
	return out, kernels.Download(a.dev, out, t)
}

// pairOf finds the adapter of the model's weight p, nil if it has none. a may be nil.
func (a *Adapter) pairOf(p *Param) *pair {
	if a == nil {
		return nil
	}
	module, ok := strings.CutSuffix(p.Name, ".weight")
	A := a.byName[adapterPrefix+module+".lora_A.weight"]
	if !ok || A == nil {
		return nil
	}
	for l := range a.pairs {
		for _, pr := range a.pairs[l] {
			if pr != nil && pr.A == A {
				return pr
			}
		}
	}
	return nil
}
