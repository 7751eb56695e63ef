//go:build !nogpu && (linux || windows)

// Package foreign calls functions of C libraries that are loaded while the program runs, without cgo.
package foreign

import (
	"cmp"
	"reflect"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Call calls a C function and returns its result. Pointers are converted in the list of arguments: they stay valid
// during the call.
//
//go:uintptrescapes
func Call(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, args...)
	return r
}

// Resolve sets each field of the struct that table points to to the address of a function: the one that its tag
// "name" says, or prefix, the field's name and its tag "suffix". It returns the name of the first function that is
// missing, or "". Fields with a tag "optional" stay 0 where there is none.
func Resolve(table any, prefix string, symbol func(name string) (uintptr, error)) (missing string) {
	v := reflect.ValueOf(table).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := cmp.Or(f.Tag.Get("name"), prefix+f.Name+f.Tag.Get("suffix"))
		p, err := symbol(name)
		if err != nil || p == 0 {
			if f.Tag.Get("optional") != "" {
				continue
			}
			return name
		}
		v.Field(i).SetUint(uint64(p))
	}
	return ""
}

// Text is the C string at p.
func Text(p *byte) string {
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}
