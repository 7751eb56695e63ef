package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
)

// discovery says what there is, or why nothing can be used.
func discovery(j *job) error {
	l := devices.List()
	if s := l.CUDA; s.Library != "" {
		j.say("driver %s, CUDA %s", s.Library, s.Version)
	}
	if text, err := os.ReadFile("/proc/driver/nvidia/version"); err == nil {
		first, _, _ := strings.Cut(string(text), "\n")
		j.say("kernel module: %s", strings.TrimSpace(strings.TrimPrefix(first, "NVRM version:")))
	}
	for _, g := range l.CUDA.GPUs {
		why := ""
		if g.Why != "" {
			why = ": " + g.Why
		}
		j.say("cuda:%d %s, compute capability %d.%d, %d multiprocessors, %.1f GB, %s%s", g.Index, g.Name, g.Major,
			g.Minor, g.SMs,
			float64(g.Memory)/1e9, g.UUID, why)
	}
	if l.NoCUDA != "" {
		return errors.New(l.NoCUDA)
	}
	d, err := j.open()
	if err != nil {
		return err
	}
	defer d.Close()
	total, available, err := d.(kernels.OwnMemory).Memory()
	if err != nil {
		return err
	}
	j.say("%s has %.1f GB, of which %.1f GB are available", d.Name(), float64(total)/1e9, float64(available)/1e9)
	if c := cuda.FindCUBLAS(); c.Why != "" {
		j.say("cuBLAS cannot be used: %s; the program's own kernels make all products", c.Why)
	} else {
		j.say("cuBLAS %s, %s", c.Version, c.Library)
	}
	j.values["memory_bytes"], j.values["available_bytes"] = float64(total), float64(available)
	return nil
}

// sayLibrary says which library computes the products, and which products it does not compute.
func (j *job) sayLibrary(dev kernels.Device) {
	d, ok := dev.(*cuda.Device)
	if !ok {
		return
	}
	library, why, plans := d.Products()
	if library == "" {
		j.say("products: all by the program's own kernels: %s", why)
		return
	}
	own := 0
	for _, p := range plans {
		if p.Own != "" {
			own++
			j.say("%s of [%d, %d]: by the program's own kernels: %s", p.Product, p.N, p.K, p.Own)
		}
	}
	j.say("products: by %s, %d shapes; %d by the program's own kernels", library, len(plans)-own, own)
	j.values["shapes"], j.values["shapes_by_own_kernels"] = float64(len(plans)), float64(own)
}

// jit says what the driver made of the kernels. A kernel of the products and of attention that spills loses most of its
// speed.
func jit(j *job) error {
	dev, err := j.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	d, ok := dev.(*cuda.Device)
	if !ok {
		return fmt.Errorf("%s is no CUDA device", dev.Name())
	}
	modules, err := d.Compiled()
	if err != nil {
		return err
	}
	var spilling []string
	all := 0.0
	for _, m := range modules {
		var most cuda.Kernel
		local := 0
		for _, k := range m.Kernels {
			if k.Registers > most.Registers {
				most = k
			}
			local = max(local, k.Local)
			if k.Local > 0 {
				j.say("%s: %s has %d bytes of local memory a thread (%d registers)", m.Name, k.Name, k.Local,
					k.Registers)
			}
			if k.Local > 0 && hot(m.Name) {
				spilling = append(spilling, k.Name)
			}
		}
		all += m.Took.Seconds()
		j.say("%-30s %6.2f s  %2d kernels for %d.%d, at most %3d registers (%s), %d bytes of local memory", m.Name,
			m.Took.Seconds(),
			len(m.Kernels), most.Capability/10, most.Capability%10, most.Registers, most.Name, local)
		for _, k := range m.Kernels {
			j.values[k.Name+" registers"], j.values[k.Name+" local"] = float64(k.Registers), float64(k.Local)
		}
	}
	j.values["seconds"] = all
	if len(spilling) > 0 {
		return fmt.Errorf("kernels that decide the speed spill registers: %s", strings.Join(spilling, ", "))
	}
	return nil
}

// hot are the modules of products and of attention.
func hot(module string) bool {
	return strings.HasPrefix(module, "gemm") || strings.Contains(module, "_tiles")
}
