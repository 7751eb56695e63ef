//go:build !nogpu && linux

package dist

import "unsafe"

// address returns the address of a slice's first element, for a C function.
func address[E any](x []E) uintptr { return addressOf(unsafe.SliceData(x)) }

// addressOf returns the address of a variable, for a C function. The assignment, which is never executed, makes the
// compiler allocate the variable on the heap, where it does not move. The caller keeps it alive as long as C uses it.
func addressOf[E any](x *E) uintptr {
	if never {
		heap = unsafe.Pointer(x)
	}
	return uintptr(unsafe.Pointer(x))
}

var never bool

//lint:ignore U1000 it is only written: see addressOf
var heap unsafe.Pointer
