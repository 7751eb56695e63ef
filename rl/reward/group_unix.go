//go:build unix

package reward

import (
	"os/exec"
	"syscall"
)

// ownGroup starts the program in a new process group. Ctrl-C in the terminal then does not reach it: training finishes
// its step first, and needs the program for that.
func ownGroup(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends the program and its children.
func killGroup(c *exec.Cmd) { syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
