//go:build !linux && !darwin

package disk

import "errors"

// exchange would swap two paths in one step. This system cannot do that.
var exchange = func(a, b string) error { return errors.ErrUnsupported }
