// Package await lets a caller leave when its context ends, though what it waits for has no context.
package await

import "context"

// Call is what f returns, or ctx's error as soon as ctx ends. f goes on until it returns, so it must not touch what
// the caller frees then: it is for reading files and for work on the heap, not on a device. A panic of f is one of the
// caller.
func Call[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v     T
		err   error
		panic any
	}
	if err := ctx.Err(); err != nil {
		var none T
		return none, err
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			r.panic = recover()
			done <- r
		}()
		r.v, r.err = f()
	}()
	select {
	case r := <-done:
		if r.panic != nil {
			panic(r.panic)
		}
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
