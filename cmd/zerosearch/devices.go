package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/cuda"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
)

type devicesCmd struct {
	JSON    bool `name:"json" help:"Print the result as JSON on stdout, and nothing else."`
	Measure bool `name:"measure" help:"Measure what the processor can do at most; takes a second."`
	Threads int  `name:"threads" help:"Threads to compute with; 0: all usable cores." default:"0"`
}

// deviceList is what --json prints.
type deviceList struct {
	Devices []deviceInfo `json:"devices"`
	Auto    string       `json:"auto"` // what --device auto stands for here
	AutoWhy string       `json:"auto_why"`
	OS      string       `json:"os"`
	Arch    string       `json:"arch"`
}

// deviceInfo is one device that --device names; cuda stands for all GPUs.
type deviceInfo struct {
	Name      string          `json:"name"`
	Available bool            `json:"available"`
	Why       string          `json:"why,omitempty"` // it is not available, or is not chosen
	Path      string          `json:"path,omitempty"`
	Paths     []pathInfo      `json:"paths,omitempty"`
	Threads   int             `json:"threads,omitempty"`
	Memory    *engine.Machine `json:"memory,omitempty"`
	Limits    *limits         `json:"limits,omitempty"`
	Driver    *driverInfo     `json:"driver,omitempty"`
	CUBLAS    *cublasInfo     `json:"cublas,omitempty"`
	GPUs      []gpuInfo       `json:"gpus,omitempty"`
}

type pathInfo struct {
	Name    string `json:"name"`
	Missing string `json:"missing,omitempty"` // what this machine or build lacks to run it
}

// limits are measured: operations (a multiplication and an addition count two) and bytes a second.
type limits struct {
	F32  float64 `json:"f32_flops"`
	BF16 float64 `json:"bf16_flops"`
	Q8   float64 `json:"q8_ops"`
	Read float64 `json:"read_bytes_per_second"`
}

// driverInfo is NVIDIA's driver.
type driverInfo struct {
	Library string `json:"library"`
	CUDA    string `json:"cuda"` // the newest version that it knows
}

// cublasInfo is NVIDIA's library of matrix products, or why it is not used.
type cublasInfo struct {
	Library string `json:"library,omitempty"`
	Version string `json:"version,omitempty"`
	Why     string `json:"why,omitempty"`
}

type gpuInfo struct {
	Name       string     `json:"name"` // as --device takes it
	Available  bool       `json:"available"`
	Why        string     `json:"why,omitempty"` // it is not
	Model      string     `json:"model"`
	UUID       string     `json:"uuid"`
	Capability string     `json:"compute_capability"`
	SMs        int        `json:"multiprocessors"`
	Memory     *gpuMemory `json:"memory"`
}

type gpuMemory struct {
	Total     int64  `json:"total_bytes"`
	Available *int64 `json:"available_bytes,omitempty"` // nil: not known
}

func (c *devicesCmd) Run(w *world) error {
	d, err := c.cpu()
	if err != nil {
		return err
	}
	return listDevices(w, d, devices.List(), c.JSON)
}

// cpu describes the processor.
func (c *devicesCmd) cpu() (deviceInfo, error) {
	d := deviceInfo{Name: devices.CPU, Available: true, Memory: engine.MachineMemory()}
	dev, err := cpu.New(cpu.Options{Threads: c.Threads})
	if err != nil {
		return d, fmt.Errorf("opening device cpu: %w", err)
	}
	defer dev.Close()
	d.Path, d.Threads = dev.Path(), dev.Threads()
	for _, p := range cpu.Paths.List() {
		d.Paths = append(d.Paths, pathInfo{p.Name, p.Missing})
	}
	if c.Measure {
		l, err := dev.Measure()
		if err != nil {
			return d, fmt.Errorf("measuring the cpu: %w", err)
		}
		d.Limits = &limits{l.F32, l.BF16, l.Q8, l.Read}
	}
	return d, nil
}

// listDevices prints the processor and what else there is.
func listDevices(w *world, processor deviceInfo, l devices.Listing, asJSON bool) error {
	ref := deviceInfo{Name: devices.Ref, Available: true,
		Why: "plain scalar Go, the specification of the others: for checks, not for speed"}
	gpus := cudaInfo(l)
	if asJSON {
		return writeJSON(w, deviceList{[]deviceInfo{processor, gpus, ref}, l.Auto.Name, l.Auto.Why, runtime.GOOS,
			runtime.GOARCH})
	}
	var b strings.Builder
	processor.processor(&b)
	gpus.gpus(&b)
	fmt.Fprintf(&b, "ref   %s\n", ref.Why)
	fmt.Fprintf(&b, "auto  %s\n", l.Auto.Name)
	if _, err := w.out.Write([]byte(b.String())); err != nil {
		return fmt.Errorf("writing the list: %w", err)
	}
	return nil
}

// cudaInfo describes driver and GPUs.
func cudaInfo(l devices.Listing) deviceInfo {
	d := deviceInfo{Name: devices.CUDA, Available: l.NoCUDA == "", Why: l.NoCUDA}
	if s := l.CUDA; s.Library != "" {
		d.Driver = &driverInfo{s.Library, s.Version}
	}
	if c := l.CUBLAS; c != (cuda.CUBLAS{}) {
		d.CUBLAS = &cublasInfo{c.Library, c.Version, c.Why}
	}
	for _, g := range l.CUDA.GPUs {
		d.GPUs = append(d.GPUs, newGPUInfo(g, l.Usable(g)))
	}
	return d
}

func newGPUInfo(g cuda.Info, usable bool) gpuInfo {
	i := gpuInfo{Name: fmt.Sprintf("%s:%d", devices.CUDA, g.Index), Available: usable, Why: g.Why, Model: g.Name,
		UUID: g.UUID, Capability: fmt.Sprintf("%d.%d", g.Major, g.Minor), SMs: g.SMs,
		Memory: &gpuMemory{Total: g.Memory}}
	if g.Free >= 0 {
		i.Memory.Available = &g.Free
	}
	return i
}

func (d deviceInfo) processor(b *strings.Builder) {
	fmt.Fprintf(b, "cpu   %s/%s, %d threads, path %s", runtime.GOOS, runtime.GOARCH, d.Threads, d.Path)
	if m := d.Memory; m != nil {
		fmt.Fprintf(b, ", memory %.1f GB, %.1f GB available", float64(m.Total)/1e9, float64(m.Available)/1e9)
	}
	b.WriteByte('\n')
	for _, p := range d.Paths {
		state := "runs here"
		if p.Missing != "" {
			state = "needs " + p.Missing
		}
		fmt.Fprintf(b, "        %-11s %s\n", p.Name, state)
	}
	if l := d.Limits; l != nil {
		fmt.Fprintf(b, "        at most %.0f GFLOP/s f32, %.0f GFLOP/s bf16, %.0f GOP/s q8, %.1f GB/s read\n",
			l.F32/1e9, l.BF16/1e9, l.Q8/1e9, l.Read/1e9)
	}
}

func (d deviceInfo) gpus(b *strings.Builder) {
	b.WriteString("cuda  ")
	if d.Available {
		b.WriteString("runs here")
	} else {
		b.WriteString("not available: " + d.Why)
	}
	b.WriteByte('\n')
	if d.Driver != nil {
		fmt.Fprintf(b, "        driver      %s, CUDA %s\n", d.Driver.Library, d.Driver.CUDA)
	}
	switch c := d.CUBLAS; {
	case c == nil:
	case c.Why == "":
		fmt.Fprintf(b, "        cuBLAS      %s, %s\n", c.Library, c.Version)
	default:
		fmt.Fprintf(b, "        cuBLAS      not used, the program's own kernels multiply: %s\n", c.Why)
	}
	for _, g := range d.GPUs {
		fmt.Fprintf(b, "        %-11s %s, compute capability %s, %d multiprocessors, memory %.1f GB", g.Name, g.Model,
			g.Capability,
			g.SMs, float64(g.Memory.Total)/1e9)
		if free := g.Memory.Available; free != nil {
			fmt.Fprintf(b, ", %.1f GB available", float64(*free)/1e9)
		}
		fmt.Fprintf(b, "\n        %-11s %s\n", "", g.UUID)
		if g.Why != "" {
			fmt.Fprintf(b, "        %-11s not usable: %s\n", "", g.Why)
		}
	}
}
