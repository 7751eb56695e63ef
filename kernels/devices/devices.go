// Package devices opens a device by its name and says what there is on this machine.
//
//	dev, err := devices.Open("auto", devices.Options{})
//	defer dev.Close()
package devices

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/cuda"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// The names that Open takes, beside "cuda:0", "cuda:1" and so on.
const (
	Auto = "auto" // a GPU where one can be used, else the CPU
	CPU  = "cpu"
	CUDA = "cuda" // the first GPU that can be used
	Ref  = "ref"
)

// Options are those of the devices that are opened.
type Options struct {
	Threads int // of the CPU; 0: all usable cores
	// Chosen is called with what Auto stood for, before Open returns. It may be nil.
	Chosen func(Choice)
}

// Choice is what Auto stood for.
type Choice struct {
	Name string // of the device
	Why  string
	GPU  bool // there are GPUs
}

// Check refuses what is the name of no device on any machine. Whether there is such a device here, Open says.
func Check(name string) error {
	_, _, err := parse(name)
	return err
}

// Open opens the device called name, which the caller closes.
func Open(name string, o Options) (kernels.Device, error) { return here.open(name, o) }

// Same reports whether two names open the same device of this machine, as "auto" and "cpu" do where there is no GPU.
func Same(a, b string) bool { return a == b || here.same(a, b) }

// Place is where Open would open a name: the device's own name, and the bytes that it could give if it has memory of
// its own, or -1. A name that does not open here stays as it is.
func Place(name string) (device string, available int64) { return here.place(name) }

// first is the index of CUDA, which names no number.
const first = -1

// parse splits a name into kind and number.
func parse(name string) (kind string, index int, err error) {
	switch name {
	case Auto, CPU, Ref, CUDA:
		return name, first, nil
	}
	if n, ok := strings.CutPrefix(name, CUDA+":"); ok {
		if i, err := strconv.ParseUint(n, 10, 16); err == nil && strconv.FormatUint(i, 10) == n {
			return CUDA, int(i), nil
		}
	}
	return "", 0, fmt.Errorf("%q is not a device: use auto, cpu, cuda, cuda:N with the number of a GPU as in cuda:0, "+
		"or ref (zerosearch devices lists what is here)", name)
}

// machine is where devices are opened; tests have others.
type machine struct {
	probe  func() cuda.System
	cublas func() cuda.CUBLAS
	gpu    func(index int) (kernels.Device, error)
	proven bool // the device of a GPU has run on one: Auto may choose it
}

var here = machine{probe: cuda.Probe, cublas: cuda.FindCUBLAS, proven: cuda.Proven,
	gpu: func(index int) (kernels.Device, error) {
		d, err := cuda.New(index)
		if err != nil {
			return nil, err
		}
		return d, nil
	}}

// unproven is why Auto leaves a GPU alone that could be used.
const unproven = "the CUDA backend has not run on a GPU yet: choose it by --device cuda"

func (m machine) open(name string, o Options) (kernels.Device, error) {
	kind, index, err := parse(name)
	if err != nil {
		return nil, fmt.Errorf("opening a device: %w", err)
	}
	switch kind {
	case Ref:
		return ref.New(), nil
	case CPU:
		return openCPU(o)
	case Auto:
		return m.auto(o)
	}
	g, err := m.find(m.probe(), index)
	if err != nil {
		return nil, fmt.Errorf("opening device %s: %w", name, err)
	}
	return m.openGPU(g)
}

func openCPU(o Options) (kernels.Device, error) {
	d, err := cpu.New(cpu.Options{Threads: o.Threads})
	if err != nil {
		return nil, fmt.Errorf("opening device cpu: %w", err)
	}
	return d, nil
}

func (m machine) openGPU(g cuda.Info) (kernels.Device, error) {
	d, err := m.gpu(g.Index)
	if err != nil {
		return nil, fmt.Errorf("opening device %s (%s): %w", nameOf(g), g.Name, err)
	}
	return d, nil
}

// auto opens the first GPU that can be used, or the CPU where there is none or it does not open.
func (m machine) auto(o Options) (kernels.Device, error) {
	c, g := m.choose()
	var d kernels.Device
	var err error
	if g != nil {
		if d, err = m.openGPU(*g); err != nil {
			c.Name, c.Why = CPU, err.Error()
		}
	}
	if d == nil {
		if d, err = openCPU(o); err != nil {
			return nil, err
		}
	}
	if o.Chosen != nil {
		o.Chosen(c)
	}
	return d, nil
}

// choose is what Auto stands for; g is nil for the CPU.
func (m machine) choose() (c Choice, g *cuda.Info) {
	return m.among(m.probe())
}

func (m machine) among(s cuda.System) (c Choice, g *cuda.Info) {
	c = Choice{Name: CPU, GPU: len(s.GPUs) > 0}
	found, err := m.find(s, first)
	if err != nil {
		c.Why = err.Error()
		return c, nil
	}
	if !m.proven {
		c.Why = unproven
		return c, nil
	}
	c.Name, c.Why = nameOf(found), found.Name+" is the first GPU that can be used"
	return c, &found
}

func (m machine) same(a, b string) bool {
	x, _ := m.place(a)
	y, _ := m.place(b)
	return x == y
}

func (m machine) place(name string) (device string, available int64) {
	kind, index, _ := parse(name)
	switch kind {
	case Auto:
		if c, g := m.choose(); g == nil {
			return c.Name, -1
		}
	case CUDA:
	default:
		return name, -1
	}
	g, err := m.find(m.probe(), index)
	if err != nil {
		return name, -1
	}
	return nameOf(g), g.Free
}

// find is the GPU of a number, or the first that can be used. The error says why there is none and what to do.
func (m machine) find(s cuda.System, index int) (cuda.Info, error) {
	switch {
	case s.Why != "":
		return cuda.Info{}, errors.New(s.Why)
	case len(s.GPUs) == 0:
		return cuda.Info{}, fmt.Errorf("the driver %s shows no GPU: use --device cpu", s.Library)
	}
	var all, unusable []string
	for _, g := range s.GPUs {
		if (index == first || g.Index == index) && g.Why == "" {
			return g, nil
		}
		if g.Index == index {
			return cuda.Info{}, fmt.Errorf("%s cannot be used: %s", g.Name, g.Why)
		}
		all = append(all, fmt.Sprintf("%s (%s)", nameOf(g), g.Name))
		unusable = append(unusable, fmt.Sprintf("%s (%s): %s", nameOf(g), g.Name, g.Why))
	}
	if index != first {
		return cuda.Info{}, fmt.Errorf("there is no GPU of this number: use %s, or cpu", strings.Join(all, ", "))
	}
	return cuda.Info{}, fmt.Errorf("no GPU can be used: %s", strings.Join(unusable, "; "))
}

func nameOf(g cuda.Info) string { return fmt.Sprintf("%s:%d", CUDA, g.Index) }
