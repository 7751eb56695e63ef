package engine

import (
	"io/fs"
	"iter"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Machine is the memory of this machine in bytes: what this process may have at most, and what it could get now.
type Machine struct {
	Total     int64 `json:"total_bytes"`
	Available int64 `json:"available_bytes"`
}

// readMachine reads the memory that Linux reports; root is its file system. nil: it reports none.
//
// The process may use the memory of the machine, but no more than its control groups allow: its own and each above it,
// of version 1 and of version 2. What a group uses already is subtracted from its limit, except for file caches, which
// Linux frees when memory is short.
func readMachine(root fs.FS) *Machine {
	info := numbersOf(root, "proc/meminfo")
	m := Machine{Total: info["MemTotal"] << 10, Available: info["MemAvailable"] << 10}
	if m.Total == 0 {
		return nil
	}
	if _, ok := info["MemAvailable"]; !ok { // before Linux 3.14
		m.Available = (info["MemFree"] + info["Buffers"] + info["Cached"]) << 10
	}
	for dir, v := range controlGroups(root) {
		limit, used := v.read(root, dir)
		if limit < m.Total {
			m.Total = limit
		}
		m.Available = max(min(m.Available, limit-used), 0)
	}
	return &m
}

// groupVersion is how a version of control groups calls its files.
type groupVersion struct {
	fstype         string
	limits         []string // files
	used           string   // file
	stat           string   // file, with:
	caches, others []string // bytes that are given up when memory is short; limits of groups above
}

var groupVersions = []groupVersion{
	{fstype: "cgroup2", limits: []string{"memory.max", "memory.high"}, used: "memory.current", stat: "memory.stat",
		caches: []string{"inactive_file", "active_file", "slab_reclaimable"}},
	{fstype: "cgroup", limits: []string{"memory.limit_in_bytes"}, used: "memory.usage_in_bytes", stat: "memory.stat",
		caches: []string{"total_inactive_file", "total_active_file"}, others: []string{"hierarchical_memory_limit"}},
}

// controlGroups yields the folders of the groups that limit the memory of this process, from its own upwards, as far
// as they can be seen.
func controlGroups(root fs.FS) iter.Seq2[string, *groupVersion] {
	return func(yield func(string, *groupVersion) bool) {
		for line := range linesOf(root, "proc/self/cgroup") {
			_, rest, _ := strings.Cut(line, ":")
			controllers, of, _ := strings.Cut(rest, ":")
			v := &groupVersions[0]
			if controllers != "" {
				v = &groupVersions[1]
				if !slices.Contains(strings.Split(controllers, ","), "memory") {
					continue
				}
			}
			mount, top := v.mounted(root)
			below, ok := strings.CutPrefix(of, strings.TrimSuffix(top, "/"))
			if !ok || below != "" && below[0] != '/' || strings.HasPrefix(below, "/..") {
				below = "" // the group lies outside of what is mounted: that limits all the same
			}
			for dir := path.Clean("/" + below); ; dir = path.Dir(dir) {
				if !yield(path.Join(mount, dir)[1:], v) {
					return
				}
				if dir == "/" {
					break
				}
			}
		}
	}
}

// mounted finds where the groups are mounted, and which of them is the one on top there.
func (v *groupVersion) mounted(root fs.FS) (dir, top string) {
	for line := range linesOf(root, "proc/self/mountinfo") {
		left, right, _ := strings.Cut(line, " - ")
		where, what := strings.Fields(left), strings.Fields(right)
		if len(where) < 5 || len(what) < 3 || what[0] != v.fstype {
			continue
		}
		if v.fstype == "cgroup2" || slices.Contains(strings.Split(what[2], ","), "memory") {
			return path.Clean("/" + strings.ReplaceAll(where[4], `\040`, " ")), where[3]
		}
	}
	if v.fstype == "cgroup2" {
		return "/sys/fs/cgroup", "/"
	}
	return "/sys/fs/cgroup/memory", "/"
}

// read is the limit of a group, math.MaxInt64 without one, and what the group uses.
func (v *groupVersion) read(root fs.FS, dir string) (limit, used int64) {
	limit = math.MaxInt64
	for _, name := range v.limits {
		for text := range linesOf(root, path.Join(dir, name)) {
			if n, err := strconv.ParseInt(text, 10, 64); err == nil { // not "max"
				limit = min(limit, n)
			}
		}
	}
	stat := numbersOf(root, path.Join(dir, v.stat))
	for _, name := range v.others {
		if n, ok := stat[name]; ok {
			limit = min(limit, n)
		}
	}
	for text := range linesOf(root, path.Join(dir, v.used)) {
		used, _ = strconv.ParseInt(text, 10, 64)
	}
	for _, name := range v.caches {
		used -= stat[name]
	}
	return limit, max(used, 0)
}

// linesOf yields the lines of a file; none if it cannot be read.
func linesOf(root fs.FS, name string) iter.Seq[string] {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		text = nil
	}
	return strings.SplitSeq(strings.TrimRight(string(text), "\n"), "\n")
}

// numbersOf reads lines of a name, perhaps a colon, and a number.
func numbersOf(root fs.FS, name string) map[string]int64 {
	out := map[string]int64{}
	for line := range linesOf(root, name) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		if n, err := strconv.ParseInt(words[1], 10, 64); err == nil {
			out[strings.TrimSuffix(words[0], ":")] = n
		}
	}
	return out
}
