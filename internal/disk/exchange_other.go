//go:build !linux && !darwin

package disk

import "errors"

// exchange swaps two paths in one step, which this system cannot.
var exchange = func(a, b string) error { return errors.ErrUnsupported }
