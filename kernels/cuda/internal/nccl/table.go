//go:build !nogpu && linux

package nccl

import (
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/zerosearch-go/zerosearch/internal/foreign"
)

// table holds the functions that are used. A function is called nccl followed by the name of its field.
// https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/api.html
type table struct {
	GetVersion     uintptr
	GetUniqueId    uintptr
	CommInitRank   uintptr
	CommDestroy    uintptr
	CommAbort      uintptr
	GetErrorString uintptr
	GetLastError   uintptr `optional:"2.13"`

	GroupStart uintptr
	GroupEnd   uintptr
	Send       uintptr
	Recv       uintptr
	AllGather  uintptr
}

// ID is a ncclUniqueId. C passes it by value: on the stack of amd64, by the address of a copy on arm64.
type ID struct{ Internal [128]byte }

// joinFunc is ncclCommInitRank.
type joinFunc func(comm *uintptr, n int32, id ID, rank int32) int32

// foreignJoin makes a Go function of ncclCommInitRank at fn, which takes a struct by value. All other functions take
// only numbers and addresses and are called directly.
func foreignJoin(fn uintptr) (f joinFunc) {
	purego.RegisterFunc(&f, fn)
	return f
}

// typeByte is ncclUint8: all data are sent as bytes, because NCCL computes nothing here.
const typeByte = 1

// status is a ncclResult_t.
type status uint32

const (
	success       status = 0
	unhandledCUDA status = 1
	systemError   status = 2
	invalidUsage  status = 5
	remoteError   status = 6
)

// remedies say what the user can do about a result.
var remedies = map[status]string{
	unhandledCUDA: "the GPU failed, or has not enough free memory",
	systemError: "the hosts do not reach each other, or shared memory is short (in a container: --shm-size=1g, " +
		"--ipc=host)",
	invalidUsage: "do two ranks use the same GPU? Give each its own by CUDA_VISIBLE_DEVICES",
	remoteError:  "another rank has ended, or the network is gone",
}

// call calls a function. Pointers must be converted in its list of arguments, so that they stay valid during the call.
//
//go:uintptrescapes
func (t *table) call(fn uintptr, args ...uintptr) status {
	return status(uint32(foreign.Call(fn, args...)))
}

// check makes an error of a result.
func (t *table) check(s status, doing string) error {
	if s == success {
		return nil
	}
	text := t.text(t.GetErrorString, uintptr(s))
	if t.GetLastError != 0 {
		if last := t.text(t.GetLastError, 0); last != "" {
			text += " (" + last + ")"
		}
	}
	if r := remedies[s]; r != "" {
		text += ": " + r
	}
	return fmt.Errorf("%s: NCCL error %d, %s (%s=off goes on without it; NCCL_DEBUG=WARN prints more)", doing, s,
		text, Variable)
}

// text returns the string that a function of the library returns.
func (t *table) text(fn, argument uintptr) string {
	p := foreign.Call(fn, argument)
	if p == 0 {
		return ""
	}
	return foreign.Text(*(**byte)(unsafe.Pointer(&p))) // a string of the library, which Go does not move
}
