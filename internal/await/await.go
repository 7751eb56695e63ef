// Package await waits for a function that takes no context, until a context ends.
package await

import "context"

// Call returns the results of f, or ctx's error as soon as ctx ends. In that case f keeps running until it returns, so
// it must not use what the caller frees: f may read files and use the heap, but not a device. If f panics, Call panics.
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
