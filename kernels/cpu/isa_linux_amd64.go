//go:build !noasm

package cpu

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// permitAMX asks Linux to permit AMX for all threads of this process, and returns what is missing if it refuses (Linux
// documentation, arch/x86/xstate.rst).
func permitAMX() string {
	const requestPermission, tileData = 0x1023, 18 // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
	if _, _, err := unix.RawSyscall(unix.SYS_ARCH_PRCTL, requestPermission, tileData, 0); err != 0 {
		return fmt.Sprintf("the kernel's permission to use AMX tiles, Linux 5.16 or later (arch_prctl: %v)", err)
	}
	return ""
}
