package engine

import (
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// What the process may have is the least of the machine and of every group it is in, less what is used there. The
// machine has 64 GiB, 40 of them available. A line is a file and what is in it, ";" ends its lines, 4G is 4 GiB.
func TestMachineMemory(t *testing.T) {
	const (
		meminfo = "/proc/meminfo MemTotal: 67108864 kB;MemFree: 1048576 kB;MemAvailable: 41943040 kB;" +
			"Buffers: 1048576 kB;Cached: 2097152 kB\n"
		v2 = meminfo +
			"/proc/self/mountinfo 30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
		v1 = meminfo + "/proc/self/mountinfo 31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro;" +
			"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct;" +
			"35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory;" +
			"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
		unlimited = " 9223372036854771712\n" // of version 1
	)
	for _, c := range []struct {
		name, files      string
		total, available int64
	}{
		{"no groups", meminfo, 64, 40},
		{"an old kernel", strings.Replace(meminfo, "MemAvailable", "Other", 1), 64, 4},
		{"no limit", v2 + "/proc/self/cgroup 0::/a\na/memory.max max\na/memory.current 30G", 64, 40},
		{"its own", v2 + "/proc/self/cgroup 0::/a/b\na/b/memory.max 16G\na/b/memory.current 1G\na/memory.max max", 16,
			15},
		{"one above", v2 + "/proc/self/cgroup 0::/a/b/c\na/b/c/memory.max 16G\na/b/c/memory.current 1G\n" +
			"a/memory.max 8G\na/memory.current 5G", 8, 3},
		{"a larger one above that others have filled", v2 + "/proc/self/cgroup 0::/a/b\na/b/memory.max 8G\n" +
			"a/b/memory.current 1G\na/memory.max 32G\na/memory.current 30G", 8, 2},
		{"caches are free", v2 + "/proc/self/cgroup 0::/a\na/memory.max 16G\na/memory.current 14G\n" +
			"a/memory.stat anon 2G;file 12G;shmem 1G;inactive_file 6G;active_file 4G;slab_reclaimable 1G", 16, 13},
		{"throttled", v2 + "/proc/self/cgroup 0::/a\na/memory.max 16G\na/memory.high 12G\na/memory.current 2G", 12, 10},
		{"more than the machine has", v2 + "/proc/self/cgroup 0::/a\na/memory.max 128G\na/memory.current 60G", 64, 40},
		{"used up", v2 + "/proc/self/cgroup 0::/a\na/memory.max 4G\na/memory.current 5G", 4, 0},
		{"a container with a name space", v2 + "/proc/self/cgroup 0::/\nmemory.max 4G\nmemory.current 1G", 4, 3},
		{"a container without", strings.Replace(v2, " / ", " /docker/12ab ", 1) +
			"/proc/self/cgroup 0::/docker/12ab\n" +
			"memory.max 4G\nmemory.current 1G", 4, 3},
		{"outside of what is mounted", v2 + "/proc/self/cgroup 0::/../other\nmemory.max 4G\nmemory.current 1G", 4, 3},
		{"no mountinfo", meminfo + "/proc/self/cgroup 0::/a\na/memory.max 4G", 4, 4},
		{"version 1", v1 + "/proc/self/cgroup 5:cpu,cpuacct:/;4:memory:/x/y;0::/\n" +
			"memory/x/y/memory.limit_in_bytes" + unlimited + "memory/x/y/memory.usage_in_bytes 1G\n" +
			"memory/x/memory.limit_in_bytes 8G\nmemory/x/memory.usage_in_bytes 6G\n" +
			"memory/x/memory.stat cache 4G;inactive_file 0;total_inactive_file 1G;total_active_file 2G\n" +
			"memory/memory.limit_in_bytes" + unlimited + "memory/memory.usage_in_bytes 30G", 8, 5},
		{"version 1, a group above that cannot be seen", strings.Replace(v1, "0:32 / ", "0:32 /docker/1 ", 1) +
			"/proc/self/cgroup 4:memory:/docker/1\nmemory/memory.limit_in_bytes" + unlimited +
			"memory/memory.usage_in_bytes 1G\nmemory/memory.stat hierarchical_memory_limit 8G", 8, 7},
		{"damaged", meminfo + "/proc/self/cgroup ;:;0::/a;x\n/proc/self/mountinfo 1 2; - \na/memory.max lots\n" +
			"a/memory.stat inactive_file;anon x", 64, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for line := range strings.SplitSeq(strings.TrimSpace(c.files), "\n") {
				name, text, _ := strings.Cut(line, " ")
				if name, ok := strings.CutPrefix(name, "/"); ok {
					root[name] = &fstest.MapFile{Data: sizes(text)}
				} else {
					root["sys/fs/cgroup/"+name] = &fstest.MapFile{Data: sizes(text)}
				}
			}
			m := readMachine(root)
			require.NotNil(t, m)
			require.Equal(t, Machine{c.total << 30, c.available << 30}, *m)
		})
	}
	require.Nil(t, readMachine(fstest.MapFS{}))
	if m := MachineMemory(); runtime.GOOS == "linux" {
		require.Positive(t, m.Available)
		require.LessOrEqual(t, m.Available, m.Total)
	}
}

var gigabytes = regexp.MustCompile(`\b\d+G\b`)

// sizes is the content of a file.
func sizes(text string) []byte {
	text = gigabytes.ReplaceAllStringFunc(text, func(s string) string {
		n, _ := strconv.ParseInt(strings.TrimSuffix(s, "G"), 10, 64)
		return strconv.FormatInt(n<<30, 10)
	})
	return []byte(strings.ReplaceAll(text, ";", "\n") + "\n")
}
