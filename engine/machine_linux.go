package engine

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// MachineMemory reads the kernel's book-keeping, and the control group's limit where there is one.
func MachineMemory() *Machine {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	var m Machine
	for s := bufio.NewScanner(f); s.Scan(); {
		name, rest, _ := strings.Cut(s.Text(), ":")
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		switch {
		case err != nil:
		case name == "MemTotal":
			m.Total = kb << 10
		case name == "MemAvailable":
			m.Available = kb << 10
		}
	}
	if text, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && limit < m.Total {
			m.Total = limit
			m.Available = min(m.Available, limit)
		}
	}
	if m.Total == 0 {
		return nil
	}
	return &m
}
