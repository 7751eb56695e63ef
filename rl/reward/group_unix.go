//go:build unix

package reward

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps an interrupt typed at the terminal away from the program: training finishes its step first, and needs it.
func ownGroup(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends the program and its children.
func killGroup(c *exec.Cmd) { syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
