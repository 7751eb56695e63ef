//go:build !nogpu && (linux || windows)

package cublaslt

import (
	"fmt"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/internal/foreign"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// table holds the functions that are used. A function is called cublasLt followed by the name of its field.
type table struct {
	GetProperty     uintptr
	GetStatusName   uintptr
	GetStatusString uintptr

	Create  uintptr
	Destroy uintptr

	MatmulDescCreate             uintptr
	MatmulDescSetAttribute       uintptr
	MatmulDescDestroy            uintptr
	MatrixLayoutCreate           uintptr
	MatrixLayoutDestroy          uintptr
	MatmulPreferenceCreate       uintptr
	MatmulPreferenceSetAttribute uintptr
	MatmulPreferenceDestroy      uintptr

	MatmulAlgoGetHeuristic       uintptr
	MatmulAlgoConfigGetAttribute uintptr
	MatmulAlgoConfigSetAttribute uintptr
	MatmulAlgoCheck              uintptr
	Matmul                       uintptr
}

// Numbers of cublasLt.h, cublas_api.h and library_types.h, the same in CUDA 12 and 13.
const (
	typeF32  = 0  // CUDA_R_32F
	typeBF16 = 14 // CUDA_R_16BF

	computeF32 = 68 // CUBLAS_COMPUTE_32F

	descTransA = 3 // int32
	descTransB = 4 // int32

	prefWorkspace  = 1 // uint64
	prefReductions = 3 // uint32, a mask of reduction schemes; 0 allows none
	prefAlignA     = 5 // uint32, bytes; B, C and D follow
	prefAlignD     = 8

	configSplits    = 2 // int32
	configReduction = 3 // uint32
)

// status is a cublasStatus_t.
type status uint32

const (
	success        status = 0
	notInitialised status = 1
	allocFailed    status = 3
	invalidValue   status = 7
	archMismatch   status = 8
	notSupported   status = 15
)

// remedies say what the user can do about a status.
var remedies = map[status]string{
	notInitialised: "cuBLAS does not work with this driver or GPU: " +
		"update NVIDIA's driver, or install the cuBLAS of an older CUDA",
	allocFailed:  "the GPU or the host has not enough free memory for cuBLAS",
	archMismatch: "this cuBLAS does not know this GPU: install a newer one",
}

// call calls a function. Pointers must be converted in its list of arguments, so that they stay valid during the call.
//
//go:uintptrescapes
func (t *table) call(fn uintptr, args ...uintptr) status {
	return status(uint32(foreign.Call(fn, args...)))
}

// check makes an error of a status. It wraps gpu.ErrRefused if the library does not support the product.
func (t *table) check(s status, op string, args ...any) error {
	if s == success {
		return nil
	}
	name, text := "unknown", remedies[s]
	if p := t.text(t.GetStatusName, s); p != "" {
		name = p
	}
	if text == "" {
		text = t.text(t.GetStatusString, s)
	}
	err := fmt.Errorf("%s: cuBLAS error %d (%s): %s", fmt.Sprintf(op, args...), s, name, text)
	if s == invalidValue || s == archMismatch || s == notSupported {
		return fmt.Errorf("%w: %w", gpu.ErrRefused, err)
	}
	return err
}

// text returns the string that a function of the library returns for s.
func (t *table) text(fn uintptr, s status) string {
	p := foreign.Call(fn, uintptr(s))
	if p == 0 {
		return ""
	}
	return foreign.Text(*(**byte)(unsafe.Pointer(&p))) // a string of the library, which Go does not move
}
