//go:build !nogpu && (linux || windows)

// Package driver implements gpu.GPU with NVIDIA's driver, libcuda. The library is loaded when it is first needed; the
// program links nothing of CUDA.
package driver

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/internal/foreign"
)

// table holds the functions of the driver that are used. A function is called cu followed by the name of its field, and
// has a suffix if the driver has several versions of it. Optional functions are 0 if the driver does not have them.
type table struct {
	Init             uintptr
	DriverGetVersion uintptr
	GetErrorName     uintptr
	GetErrorString   uintptr

	DeviceGetCount     uintptr
	DeviceGet          uintptr
	DeviceGetName      uintptr
	DeviceGetAttribute uintptr
	DeviceGetUuid      uintptr
	DeviceGetUuidMIG   uintptr `name:"cuDeviceGetUuid_v2" optional:"CUDA 11.4"`
	DeviceTotalMem     uintptr `suffix:"_v2"`

	DeviceGetDefaultMemPool uintptr
	MemPoolSetAttribute     uintptr
	MemPoolGetAttribute     uintptr

	DevicePrimaryCtxRetain  uintptr
	DevicePrimaryCtxRelease uintptr `suffix:"_v2"`
	CtxSetCurrent           uintptr

	MemGetInfo    uintptr `suffix:"_v2"`
	MemAllocAsync uintptr
	MemFreeAsync  uintptr
	MemHostAlloc  uintptr
	MemFreeHost   uintptr
	MemcpyHtoD    uintptr `suffix:"Async_v2"`
	MemcpyDtoH    uintptr `suffix:"Async_v2"`
	MemcpyDtoD    uintptr `suffix:"Async_v2"`
	MemsetD8      uintptr `suffix:"Async"`

	StreamCreate      uintptr
	StreamDestroy     uintptr `suffix:"_v2"`
	StreamSynchronize uintptr
	EventCreate       uintptr
	EventDestroy      uintptr `suffix:"_v2"`
	EventRecord       uintptr
	EventSynchronize  uintptr

	ModuleLoadDataEx  uintptr
	ModuleUnload      uintptr
	ModuleGetFunction uintptr
	FuncSetAttribute  uintptr
	FuncGetAttribute  uintptr
	LaunchKernel      uintptr

	// Of CUDA graphs; drivers before 470 lack some.
	StreamBeginCapture uintptr `suffix:"_v2" optional:"true"`
	StreamEndCapture   uintptr `optional:"true"`
	GraphInstantiate   uintptr `suffix:"WithFlags" optional:"true"`
	GraphDestroy       uintptr `optional:"true"`
	GraphExecDestroy   uintptr `optional:"true"`
	GraphLaunch        uintptr `optional:"true"`
}

// load finds all functions.
func load(symbol func(name string) (uintptr, error)) (*table, error) {
	t := &table{}
	if missing := foreign.Resolve(t, "cu", symbol); missing != "" {
		return nil, fmt.Errorf("it has no function %s: update NVIDIA's driver (460 or later)", missing)
	}
	return t, nil
}

// call calls a function of the driver. Pointers must be converted in its list of arguments, so that they stay valid
// during the call.
//
//go:uintptrescapes
func call(fn uintptr, args ...uintptr) status { return status(uint32(foreign.Call(fn, args...))) }

// status is a CUresult.
type status uint32

// The results that are treated differently: https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html
const (
	success            status = 0
	outOfMemory        status = 2
	stubLibrary        status = 34
	noDevice           status = 100
	invalidContext     status = 201
	noBinary           status = 209
	unsupportedPTX     status = 222
	invalidHandle      status = 400
	notFound           status = 500
	illegalAddress     status = 700
	launchFailed       status = 719
	systemNotReady     status = 802
	driverMismatch     status = 803
	unsupportedOnThis  status = 804
	deviceUnavailable  status = 46
	deviceNotLicensed  status = 102
	eccUncorrectable   status = 214
	launchTooManyRes   status = 701
	contextIsDestroyed status = 709
	unknown            status = 999
)

// remedies say what the user can do about a result.
var remedies = map[status]string{
	outOfMemory: "the GPU has not enough free memory: use a smaller model, q8 weights, fewer pages of keys " +
		"and values, or stop other programs on it (nvidia-smi lists them)",
	stubLibrary: "libcuda is the toolkit's stub, not the driver: take its folder (.../stubs) out of " +
		"LD_LIBRARY_PATH and install NVIDIA's driver",
	noDevice:       "no GPU is visible: look at CUDA_VISIBLE_DEVICES, and in a container run it with --gpus all",
	noBinary:       "the driver cannot compile for this GPU: update NVIDIA's driver",
	unsupportedPTX: "NVIDIA's driver is too old for the kernels of this program: update it (460 or later)",
	notFound: "libcuda and the kernel's driver do not belong together: in a container its own libcuda " +
		"hides the host's; remove it",
	illegalAddress: "a kernel failed, and the GPU can be used again only by a new process: resume the run with " +
		"--resume auto; if it happens again, please report it",
	launchFailed: "a kernel failed, and the GPU can be used again only by a new process: resume the run with " +
		"--resume auto; if it happens again, please report it",
	launchTooManyRes: "a kernel needs more registers than this GPU has: please report it with the GPU's name",
	systemNotReady:   "the GPU's fabric is not ready: start nvidia-fabricmanager, or wait for it",
	driverMismatch: "libcuda and the kernel module have different versions: restart the machine after an update " +
		"of the driver",
	unsupportedOnThis: "this GPU does not support the libcuda that was found (a compatibility package?): use the " +
		"driver's own",
	deviceUnavailable: "the GPU is used exclusively by another process: stop it, or choose another GPU with " +
		"--device cuda:N",
	deviceNotLicensed: "the virtual GPU has no licence",
	eccUncorrectable: "the GPU's memory had an error that cannot be corrected: resume the run with --resume auto " +
		"on another GPU",
	contextIsDestroyed: "the GPU was reset: start again, with --resume auto",
	unknown: "the driver is in a bad state: nvidia-smi must work; restart the machine, or on a laptop " +
		"reload nvidia_uvm after a sleep",
}

// Error is a failure of a function of the driver.
type Error struct {
	Op     string // "allocating 4096 bytes"
	Code   int    // CUresult
	Name   string // "CUDA_ERROR_OUT_OF_MEMORY"
	Text   string // the driver's explanation
	Remedy string
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s: error %d (%s): %s", e.Op, e.Code, e.Name, e.Text)
	if e.Remedy != "" {
		s = fmt.Sprintf("%s: error %d (%s): %s", e.Op, e.Code, e.Name, e.Remedy)
	}
	return s
}

// check makes an error of a result.
func (t *table) check(s status, op string, args ...any) error {
	if s == success {
		return nil
	}
	e := &Error{Op: fmt.Sprintf(op, args...), Code: int(s), Name: "unknown", Text: "unknown", Remedy: remedies[s]}
	var p *byte
	if call(t.GetErrorName, uintptr(s), uintptr(unsafe.Pointer(&p))) == success && p != nil {
		e.Name = foreign.Text(p)
	}
	if call(t.GetErrorString, uintptr(s), uintptr(unsafe.Pointer(&p))) == success && p != nil {
		e.Text = strings.TrimSpace(foreign.Text(p))
	}
	return e
}
