//go:build !linux

package safetensors

import "os"

// reserve does nothing: on a full disk a later write fails.
func reserve(*os.File, int64) error { return nil }
