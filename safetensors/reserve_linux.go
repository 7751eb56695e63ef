package safetensors

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// reserve reserves size bytes of disk space. Only a full disk is an error: on file systems that cannot reserve, a later
// write fails.
func reserve(f *os.File, size int64) error {
	for {
		switch err := unix.Fallocate(int(f.Fd()), 0, 0, size); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
			return err
		default:
			return nil
		}
	}
}
