//go:build !noasm

package cpu

import "golang.org/x/sys/unix"

// hasBF16 reports whether the processor has BFMLALB and BFMLALT, as Linux tells every process.
func hasBF16() bool {
	const hwcap2, bf16 = 26, 1 << 14 // AT_HWCAP2, HWCAP2_BF16
	all, err := unix.Auxv()
	if err != nil {
		return false
	}
	for _, v := range all {
		if v[0] == hwcap2 {
			return v[1]&bf16 != 0
		}
	}
	return false
}
