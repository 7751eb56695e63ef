//go:build !nogpu && linux

package dist

import "unsafe"

// address is where a slice begins, for a C function.
func address[E any](x []E) uintptr { return addressOf(unsafe.SliceData(x)) }

// addressOf is where a variable lies, for a C function. The assignment, which never happens, makes the compiler put the
// variable where it does not move. The caller keeps it alive as long as C uses it.
func addressOf[E any](x *E) uintptr {
	if never {
		heap = unsafe.Pointer(x)
	}
	return uintptr(unsafe.Pointer(x))
}

var never bool

//lint:ignore U1000 it is only written: see addressOf
var heap unsafe.Pointer
