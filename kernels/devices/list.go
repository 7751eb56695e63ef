package devices

import "github.com/zerosearch-go/zerosearch/kernels/cuda"

// Listing is what there is on this machine.
type Listing struct {
	Auto   Choice      // what Auto stands for
	CUDA   cuda.System // NVIDIA's driver and its GPUs, each with what keeps it from being used
	CUBLAS cuda.CUBLAS // what multiplies there; empty where there is no driver
	// NoCUDA is why no GPU is used, and what to do; "" where one is.
	NoCUDA string
}

// List looks for devices. The CPU and the reference are always there.
func List() Listing { return here.list() }

func (m machine) list() Listing {
	l := Listing{CUDA: m.probe()}
	if l.CUDA.Library != "" && m.cublas != nil {
		l.CUBLAS = m.cublas()
	}
	l.Auto, _ = m.among(l.CUDA)
	if _, err := m.find(l.CUDA, first); err != nil {
		l.NoCUDA = err.Error()
	}
	return l
}

// Usable reports whether Open opens g.
func (l *Listing) Usable(g cuda.Info) bool { return l.NoCUDA == "" && g.Why == "" }
