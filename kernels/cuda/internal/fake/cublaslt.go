//go:build !nogpu && linux

package fake

import (
	"fmt"
	"unsafe"
)

// BLAS is cublasLt in Go, behind the same functions as NVIDIA's. As there, setting an attribute checks its size only;
// whether all values fit together is found out by the heuristic, by AlgoCheck and by the product.
type BLAS struct {
	Major, Minor, Patch int
	Without             string // a function that it does not have, without "cublasLt"

	// Fail is asked before every call, as Machine.Fail; its result is a cublasStatus_t.
	Fail func(function string, n int) int
	// Splits lets algorithms split sums in two where a product has more than 100 columns, whatever was asked for.
	Splits bool
	// Orders lets the algorithm for few columns sum in another order than that for many.
	Orders bool
	// OnlySplit leaves the heuristic with algorithms that split sums in two unless that is set otherwise.
	OnlySplit bool
	// Loses the last k of each sum.
	Loses bool

	Calls    map[string]int
	Products []string // that were queued: "MxNxK by ALGORITHM in SPLITS"
	Problem  string   // of the last call that was refused

	objects map[uintptr]any
	next    uintptr
}

func newBLAS() BLAS {
	return BLAS{Major: 13, Minor: 10, Calls: map[string]int{}, objects: map[uintptr]any{}, next: 0x900000}
}

// Results: cublasStatus_t.
const (
	BLASNotInitialised  = 1
	BLASInvalidValue    = 7
	BLASExecutionFailed = 13
	BLASNotSupported    = 15
)

// BLASSymbol finds a function of cublasLt.
func (m *Machine) BLASSymbol(name string) (uintptr, error) {
	if name == "cublasLt"+m.BLAS.Without {
		return 0, fmt.Errorf("undefined symbol: %s", name)
	}
	return symbol(blasFunctions, name)
}

// left lists the objects that were not destroyed.
func (b *BLAS) left() (what []string) {
	count := map[string]int{}
	for _, o := range b.objects {
		count[fmt.Sprintf("%T", o)[len("*fake."):]]++
	}
	for name, n := range count {
		what = append(what, fmt.Sprintf("%d of cublasLt: %s", n, name))
	}
	return what
}

// The objects behind handles.
type (
	blasHandle struct{ gpu *GPU }
	blasDesc   struct {
		compute, scale int32
		transA, transB int32
	}
	blasLayout struct {
		kind       uint32
		rows, cols uint64
		ld         int64
	}
	blasPreference struct {
		workspace  uint64
		reductions uint32
		align      [4]uint32
	}
)

// blasAlgorithm is what cublasLtMatmulAlgo_t's 64 bytes hold here.
type blasAlgorithm struct {
	magic            uint64
	id               int32
	splits           int32
	reduction, order uint32
	workspace        uint64
	_                [4]uint64
}

const blasMagic = 0x60D0A160

// blasResult is cublasLtMatmulHeuristicResult_t.
type blasResult struct {
	algorithm blasAlgorithm
	workspace uint64
	state     int32
	_         float32  // waves
	_         [4]int32 // reserved
}

// blas counts a call, asks Fail, and does f.
func blas(name string, f func(m *Machine, b *BLAS) uintptr) uintptr {
	m := machine
	m.mu.Lock()
	defer m.mu.Unlock()
	b := &m.BLAS
	b.Calls[name]++
	if b.Fail != nil {
		if r := b.Fail(name, b.Calls[name]); r != 0 {
			return uintptr(r)
		}
	}
	return f(m, b)
}

// refuse keeps why a call is refused.
func (b *BLAS) refuse(status uintptr, format string, args ...any) uintptr {
	b.Problem = fmt.Sprintf(format, args...)
	return status
}

func object[T any](b *BLAS, h uintptr) *T {
	x, _ := b.objects[h].(*T)
	return x
}

func (b *BLAS) keep(x any) uintptr {
	b.next += 16
	b.objects[b.next] = x
	return b.next
}

var blasFunctions = []function{
	{"cublasLtGetProperty", ltGetProperty}, {"cublasLtGetStatusName", ltGetStatusName},
	{"cublasLtGetStatusString", ltGetStatusString},
	{"cublasLtCreate", ltCreate}, {"cublasLtDestroy", ltDestroy},
	{"cublasLtMatmulDescCreate", ltDescCreate}, {"cublasLtMatmulDescSetAttribute", ltDescSet},
	{"cublasLtMatmulDescDestroy", ltDescDestroy}, {"cublasLtMatrixLayoutCreate", ltLayoutCreate},
	{"cublasLtMatrixLayoutDestroy", ltLayoutDestroy}, {"cublasLtMatmulPreferenceCreate", ltPreferenceCreate},
	{"cublasLtMatmulPreferenceSetAttribute", ltPreferenceSet}, {"cublasLtMatmulPreferenceDestroy", ltPreferenceDestroy},
	{"cublasLtMatmulAlgoGetHeuristic", ltHeuristic}, {"cublasLtMatmulAlgoConfigGetAttribute", ltConfigGet},
	{"cublasLtMatmulAlgoConfigSetAttribute", ltConfigSet}, {"cublasLtMatmulAlgoCheck", ltCheck},
	{"cublasLtMatmul", ltMatmul},
}

func ltGetProperty(which uintptr, v *int32) uintptr {
	return blas("GetProperty", func(_ *Machine, b *BLAS) uintptr {
		if which > 2 {
			return BLASInvalidValue
		}
		*v = int32([]int{b.Major, b.Minor, b.Patch}[which])
		return 0
	})
}

var blasName, blasText = []byte("CUBLAS_STATUS_FAKE\x00"), []byte("the fake library refused it\x00")

func ltGetStatusName(uintptr) uintptr   { return uintptr(unsafe.Pointer(&blasName[0])) }
func ltGetStatusString(uintptr) uintptr { return uintptr(unsafe.Pointer(&blasText[0])) }

func ltCreate(h *uintptr) uintptr {
	return blas("Create", func(m *Machine, b *BLAS) uintptr {
		if m.gpu() == nil {
			return b.refuse(BLASNotInitialised, "no context is current")
		}
		*h = b.keep(&blasHandle{m.gpu()})
		return 0
	})
}

// destroy forgets an object of type T.
func destroy[T any](name string, h uintptr) uintptr {
	return blas(name, func(_ *Machine, b *BLAS) uintptr {
		if object[T](b, h) == nil {
			return b.refuse(BLASInvalidValue, "%s: %#x is no such object", name, h)
		}
		delete(b.objects, h)
		return 0
	})
}

func ltDestroy(h uintptr) uintptr       { return destroy[blasHandle]("Destroy", h) }
func ltDescDestroy(h uintptr) uintptr   { return destroy[blasDesc]("MatmulDescDestroy", h) }
func ltLayoutDestroy(h uintptr) uintptr { return destroy[blasLayout]("MatrixLayoutDestroy", h) }
func ltPreferenceDestroy(h uintptr) uintptr {
	return destroy[blasPreference]("MatmulPreferenceDestroy", h)
}

func ltDescCreate(h *uintptr, compute, scale uintptr) uintptr {
	return blas("MatmulDescCreate", func(_ *Machine, b *BLAS) uintptr {
		*h = b.keep(&blasDesc{compute: int32(compute), scale: int32(scale)})
		return 0
	})
}

func ltLayoutCreate(h *uintptr, kind, rows, cols, ld uintptr) uintptr {
	return blas("MatrixLayoutCreate", func(_ *Machine, b *BLAS) uintptr {
		*h = b.keep(&blasLayout{uint32(kind), uint64(rows), uint64(cols), int64(ld)})
		return 0
	})
}

func ltPreferenceCreate(h *uintptr) uintptr {
	return blas("MatmulPreferenceCreate", func(_ *Machine, b *BLAS) uintptr {
		*h = b.keep(&blasPreference{reductions: 7, align: [4]uint32{256, 256, 256, 256}})
		return 0
	})
}

// copyAttribute copies a value of a size that must be right.
func (b *BLAS) copyAttribute(to, from unsafe.Pointer, have, want uintptr) uintptr {
	if from == nil || to == nil || have != want {
		return b.refuse(BLASInvalidValue, "an attribute of %d bytes where %d are needed", have, want)
	}
	copy(unsafe.Slice((*byte)(to), want), unsafe.Slice((*byte)(from), want))
	return 0
}

func ltDescSet(h, attribute uintptr, v unsafe.Pointer, size uintptr) uintptr {
	return blas("MatmulDescSetAttribute", func(_ *Machine, b *BLAS) uintptr {
		d := object[blasDesc](b, h)
		if d == nil {
			return b.refuse(BLASInvalidValue, "no description of a product")
		}
		switch attribute {
		case 3:
			return b.copyAttribute(unsafe.Pointer(&d.transA), v, size, 4)
		case 4:
			return b.copyAttribute(unsafe.Pointer(&d.transB), v, size, 4)
		}
		return b.refuse(BLASInvalidValue, "attribute %d of a product", attribute)
	})
}

func ltPreferenceSet(h, attribute uintptr, v unsafe.Pointer, size uintptr) uintptr {
	return blas("MatmulPreferenceSetAttribute", func(_ *Machine, b *BLAS) uintptr {
		p := object[blasPreference](b, h)
		if p == nil {
			return b.refuse(BLASInvalidValue, "no preferences")
		}
		switch attribute {
		case 1:
			return b.copyAttribute(unsafe.Pointer(&p.workspace), v, size, 8)
		case 3:
			return b.copyAttribute(unsafe.Pointer(&p.reductions), v, size, 4)
		case 5, 6, 7, 8:
			return b.copyAttribute(unsafe.Pointer(&p.align[attribute-5]), v, size, 4)
		}
		return b.refuse(BLASInvalidValue, "preference %d", attribute)
	})
}

// config is an attribute of an algorithm.
func (a *blasAlgorithm) config(attribute uintptr) unsafe.Pointer {
	switch attribute {
	case 0:
		return unsafe.Pointer(&a.id)
	case 2:
		return unsafe.Pointer(&a.splits)
	case 3:
		return unsafe.Pointer(&a.reduction)
	}
	return nil
}

func ltConfigGet(a *blasAlgorithm, attribute uintptr, v unsafe.Pointer, size uintptr, written *uintptr) uintptr {
	return blas("MatmulAlgoConfigGetAttribute", func(_ *Machine, b *BLAS) uintptr {
		*written = 4
		return b.copyAttribute(v, a.config(attribute), size, 4)
	})
}

func ltConfigSet(a *blasAlgorithm, attribute uintptr, v unsafe.Pointer, size uintptr) uintptr {
	return blas("MatmulAlgoConfigSetAttribute", func(_ *Machine, b *BLAS) uintptr {
		if attribute == 0 {
			return b.refuse(BLASInvalidValue, "an algorithm's number cannot be set")
		}
		return b.copyAttribute(a.config(attribute), v, size, 4)
	})
}
