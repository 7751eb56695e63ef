package devices

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/cuda"
)

// Description is what this machine can compute with.
type Description struct {
	Devices []Info `json:"devices"`
	Auto    string `json:"auto"` // what --device auto stands for here
	AutoWhy string `json:"auto_why"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// Info is one device by its name; cuda stands for all GPUs.
type Info struct {
	Name      string  `json:"name"`
	Available bool    `json:"available"`
	Why       string  `json:"why,omitempty"` // it is not available, or is not chosen
	Path      string  `json:"path,omitempty"`
	Paths     []Path  `json:"paths,omitempty"`
	Threads   int     `json:"threads,omitempty"`
	Memory    *Memory `json:"memory,omitempty"`
	Limits    *Limits `json:"limits,omitempty"`
	Driver    *Driver `json:"driver,omitempty"`
	CUBLAS    *CUBLAS `json:"cublas,omitempty"`
	GPUs      []GPU   `json:"gpus,omitempty"`
}

// Path is an implementation of the CPU's operations.
type Path struct {
	Name    string `json:"name"`
	Missing string `json:"missing,omitempty"` // what this machine or build lacks to run it
}

// Limits are measured: operations (a multiplication and an addition count two) and bytes a second.
type Limits struct {
	F32  float64 `json:"f32_flops"`
	BF16 float64 `json:"bf16_flops"`
	Q8   float64 `json:"q8_ops"`
	Read float64 `json:"read_bytes_per_second"`
}

// Driver is NVIDIA's driver.
type Driver struct {
	Library string `json:"library"`
	CUDA    string `json:"cuda"` // the newest version that it knows
}

// CUBLAS is NVIDIA's library of matrix products, or why it is not used.
type CUBLAS struct {
	Library string `json:"library,omitempty"`
	Version string `json:"version,omitempty"`
	Why     string `json:"why,omitempty"`
}

// GPU is one of NVIDIA's.
type GPU struct {
	Name       string     `json:"name"` // as --device takes it
	Available  bool       `json:"available"`
	Why        string     `json:"why,omitempty"` // it is not
	Model      string     `json:"model"`
	UUID       string     `json:"uuid"`
	Capability string     `json:"compute_capability"`
	SMs        int        `json:"multiprocessors"`
	Memory     *GPUMemory `json:"memory"`
}

// GPUMemory is in bytes.
type GPUMemory struct {
	Total     int64  `json:"total_bytes"`
	Available *int64 `json:"available_bytes,omitempty"` // nil: not known
}

// Memory is the host's, in bytes: what this process may have at most, and what it could get now.
type Memory struct {
	Total     int64 `json:"total_bytes"`
	Available int64 `json:"available_bytes"`
}

// DescribeCPU opens the processor with so many threads (0: all) and describes it, with its limits where measure is set,
// which takes a second. memory may be nil.
func DescribeCPU(threads int, measure bool, memory *Memory) (Info, error) {
	d := Info{Name: CPU, Available: true, Memory: memory}
	dev, err := cpu.New(cpu.Options{Threads: threads})
	if err != nil {
		return d, fmt.Errorf("opening device cpu: %w", err)
	}
	defer dev.Close()
	d.Path, d.Threads = dev.Path(), dev.Threads()
	for _, p := range cpu.Paths.List() {
		d.Paths = append(d.Paths, Path{p.Name, p.Missing})
	}
	if measure {
		l, err := dev.Measure()
		if err != nil {
			return d, fmt.Errorf("measuring the cpu: %w", err)
		}
		d.Limits = &Limits{l.F32, l.BF16, l.Q8, l.Read}
	}
	return d, nil
}

// Describe describes all devices: the processor as given, and what l found.
func (l *Listing) Describe(processor Info) Description {
	ref := Info{Name: Ref, Available: true,
		Why: "plain scalar Go, the specification of the others: for checks, not for speed"}
	return Description{[]Info{processor, l.describeGPUs(), ref}, l.Auto.Name, l.Auto.Why, runtime.GOOS, runtime.GOARCH}
}

// String is the description for people.
func (d Description) String() string {
	var b strings.Builder
	d.Devices[0].processor(&b)
	d.Devices[1].gpus(&b)
	fmt.Fprintf(&b, "ref   %s\n", d.Devices[2].Why)
	fmt.Fprintf(&b, "auto  %s\n", d.Auto)
	return b.String()
}

// describeGPUs describes driver and GPUs.
func (l *Listing) describeGPUs() Info {
	d := Info{Name: CUDA, Available: l.NoCUDA == "", Why: l.NoCUDA}
	if s := l.CUDA; s.Library != "" {
		d.Driver = &Driver{s.Library, s.Version}
	}
	if c := l.CUBLAS; c != (cuda.CUBLAS{}) {
		d.CUBLAS = &CUBLAS{c.Library, c.Version, c.Why}
	}
	for _, g := range l.CUDA.GPUs {
		d.GPUs = append(d.GPUs, newGPU(g, l.Usable(g)))
	}
	return d
}

func newGPU(g cuda.Info, usable bool) GPU {
	i := GPU{Name: nameOf(g), Available: usable, Why: g.Why, Model: g.Name,
		UUID: g.UUID, Capability: fmt.Sprintf("%d.%d", g.Major, g.Minor), SMs: g.SMs,
		Memory: &GPUMemory{Total: g.Memory}}
	if g.Free >= 0 {
		i.Memory.Available = &g.Free
	}
	return i
}

func (d Info) processor(b *strings.Builder) {
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

func (d Info) gpus(b *strings.Builder) {
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
