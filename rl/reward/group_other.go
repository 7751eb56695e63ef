//go:build !unix

package reward

import "os/exec"

// ownGroup does nothing: this system has no process groups.
func ownGroup(*exec.Cmd) {}

// killGroup ends the program.
func killGroup(c *exec.Cmd) { c.Process.Kill() }
