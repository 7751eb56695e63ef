//go:build !nogpu && (linux || windows)

package driver

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/internal/foreign"
)

// Driver is the driver's library, loaded and initialised.
type Driver struct {
	Path    string
	Version int // the newest version of CUDA that the driver supports, 1000*major + 10*minor
	t       *table
}

// Info describes a GPU that the driver lists.
type Info struct {
	Index        int
	Name, UUID   string
	Major, Minor int // compute capability
	SMs          int // multiprocessors
	Memory       int64
	shared       int // bytes of shared memory a block
	pools        bool
}

// oldest is the first version of CUDA that has all functions that are used; those of memory pools are the newest.
const oldest = 11020

var theDriver = sync.OnceValues(func() (*Driver, error) {
	defer keepSignals()()
	path, symbol, err := library()
	if err != nil {
		return nil, err
	}
	return Open(path, symbol)
})

// replaced, if not nil, is called by Load instead of loading the library.
var replaced atomic.Pointer[func() (*Driver, error)]

// Load loads the driver's library, once.
func Load() (*Driver, error) {
	if load := replaced.Load(); load != nil {
		return (*load)()
	}
	return theDriver()
}

// Replace makes Load call load until restore is called: for tests with a simulated driver.
func Replace(load func() (*Driver, error)) (restore func()) {
	was := replaced.Swap(&load)
	return func() { replaced.Store(was) }
}

// Open initialises a driver whose functions symbol finds.
func Open(path string, symbol func(name string) (uintptr, error)) (*Driver, error) {
	t, err := load(symbol)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	d := &Driver{Path: path, t: t}
	var version int32
	if err := t.check(call(t.DriverGetVersion, uintptr(unsafe.Pointer(&version))),
		"asking for the driver's version"); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if d.Version = int(version); d.Version < oldest {
		return nil, fmt.Errorf("%s: NVIDIA's driver knows CUDA %d.%d, and %d.%d is needed: update it (460 or later)",
			path, version/1000, version%1000/10, oldest/1000, oldest%1000/10)
	}
	defer keepSignals()()
	if err := t.check(call(t.Init, 0), "initialising the driver"); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// Attributes of a device: CUdevice_attribute.
const (
	attrSMs    = 16
	attrMajor  = 75
	attrMinor  = 76
	attrShared = 97 // of a block that asks for it
	attrPools  = 115
)

// List returns the GPUs of the driver.
func (d *Driver) List() ([]Info, error) {
	var n int32
	if err := d.t.check(call(d.t.DeviceGetCount, uintptr(unsafe.Pointer(&n))), "counting GPUs"); err != nil {
		return nil, err
	}
	var all []Info
	for i := range int(n) {
		_, x, err := d.info(i)
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, nil
}

// info asks the driver about GPU i.
func (d *Driver) info(i int) (dev int32, x Info, err error) {
	ask := func(s status, what string) {
		if err == nil {
			err = d.t.check(s, "asking for %s of GPU %d", what, i)
		}
	}
	attr := func(a int) int {
		var v int32
		ask(call(d.t.DeviceGetAttribute, uintptr(unsafe.Pointer(&v)), uintptr(a), uintptr(dev)), "an attribute")
		return int(v)
	}
	ask(call(d.t.DeviceGet, uintptr(unsafe.Pointer(&dev)), uintptr(i)), "the handle")
	var name [128]byte
	ask(call(d.t.DeviceGetName, uintptr(unsafe.Pointer(&name)), uintptr(len(name)-1), uintptr(dev)), "the name")
	var uuid, instance [16]byte
	ask(call(d.t.DeviceGetUuid, uintptr(unsafe.Pointer(&uuid)), uintptr(dev)), "the UUID")
	if instance = uuid; d.t.DeviceGetUuidMIG != 0 {
		ask(call(d.t.DeviceGetUuidMIG, uintptr(unsafe.Pointer(&instance)), uintptr(dev)), "the UUID of its instance")
	}
	var memory uint64
	ask(call(d.t.DeviceTotalMem, uintptr(unsafe.Pointer(&memory)), uintptr(dev)), "the memory")
	x = Info{Index: i, Name: foreign.Text(&name[0]), UUID: uuidText(uuid, instance), Memory: int64(memory),
		Major: attr(attrMajor),
		Minor: attr(attrMinor), SMs: attr(attrSMs), shared: attr(attrShared), pools: attr(attrPools) != 0}
	return dev, x, err
}

// uuidText is a UUID as nvidia-smi -L prints it and CUDA_VISIBLE_DEVICES takes it. An instance of a GPU that is divided
// (MIG) has one of its own, beside the GPU's.
func uuidText(gpu, instance [16]byte) string {
	kind := "GPU"
	if instance != gpu {
		kind = "MIG"
	}
	u := instance
	return fmt.Sprintf("%s-%x-%x-%x-%x-%x", kind, u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// Usable returns the reason why GPU x cannot be used, or "" if it can be used.
func (x Info) Usable() string {
	switch {
	case x.Major < 8:
		return fmt.Sprintf(
			"its compute capability is %d.%d, and 8.0 (Ampere) or later is needed: use another GPU or --device cpu",
			x.Major, x.Minor)
	case !x.pools:
		return "its driver gives it no memory pools (a virtual GPU?): use another GPU or --device cpu"
	}
	return ""
}

// current makes ctx the context of the calling goroutine's thread until the function that it returns is called.
func (t *table) current(ctx uintptr) (leave func()) {
	runtime.LockOSThread()
	call(t.CtxSetCurrent, ctx)
	return runtime.UnlockOSThread
}

// word puts x in memory, for functions that read a number through a pointer.
func word(x uint64) *[8]byte {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], x)
	return &b
}
