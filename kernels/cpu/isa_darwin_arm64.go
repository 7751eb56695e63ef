//go:build !noasm

package cpu

import "golang.org/x/sys/unix"

// hasBF16 reports whether the processor has BFMLALB and BFMLALT.
func hasBF16() bool {
	have, err := unix.SysctlUint32("hw.optional.arm.FEAT_BF16")
	return err == nil && have != 0
}
