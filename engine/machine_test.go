package engine

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// What the process may have is the least of the machine and of every group it is in, less what is used there. The machine has 64 GiB, 40 of
// them available; sizes are GiB.
func TestMachineMemory(t *testing.T) {
	const meminfo = "MemTotal:       67108864 kB\nMemFree:         1048576 kB\nMemAvailable:   41943040 kB\nBuffers:         1048576 kB\nCached:          2097152 kB\n"
	const (
		v2  = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
		v1  = "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
		all = "9223372036854771712" // version 1 without a limit
	)
	for _, c := range []struct {
		name             string
		files            map[string]string // "4G" in a file is 4 GiB
		total, available int64
	}{
		{"no groups", nil, 64, 40},
		{"no limit", map[string]string{"proc/self/cgroup": "0::/user.slice\n", "proc/self/mountinfo": v2, "sys/fs/cgroup/user.slice/memory.max": "max\n",
			"sys/fs/cgroup/user.slice/memory.current": "30G\n"}, 64, 40},
		{"its own", map[string]string{"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": v2, "sys/fs/cgroup/a/b/memory.max": "16G\n",
			"sys/fs/cgroup/a/b/memory.current": "1G\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 16, 15},
		{"one above", map[string]string{"proc/self/cgroup": "0::/a/b/c\n", "proc/self/mountinfo": v2, "sys/fs/cgroup/a/b/c/memory.max": "16G\n",
			"sys/fs/cgroup/a/b/c/memory.current": "1G\n", "sys/fs/cgroup/a/memory.max": "8G\n", "sys/fs/cgroup/a/memory.current": "5G\n"}, 8, 3},
		{"a larger one above that others have filled", map[string]string{"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/a/b/memory.max": "8G\n", "sys/fs/cgroup/a/b/memory.current": "1G\n", "sys/fs/cgroup/a/memory.max": "32G\n",
			"sys/fs/cgroup/a/memory.current": "30G\n"}, 8, 2},
		{"caches are free", map[string]string{"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": v2, "sys/fs/cgroup/a/memory.max": "16G\n",
			"sys/fs/cgroup/a/memory.current": "14G\n", "sys/fs/cgroup/a/memory.stat": "anon 2G\nfile 12G\nshmem 1G\ninactive_file 6G\nactive_file 4G\nslab_reclaimable 1G\n"}, 16, 13},
		{"throttled", map[string]string{"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": v2, "sys/fs/cgroup/a/memory.max": "16G\n",
			"sys/fs/cgroup/a/memory.high": "12G\n", "sys/fs/cgroup/a/memory.current": "2G\n"}, 12, 10},
		{"more than the machine has", map[string]string{"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": v2, "sys/fs/cgroup/a/memory.max": "128G\n",
			"sys/fs/cgroup/a/memory.current": "60G\n"}, 64, 40},
		{"used up", map[string]string{"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": v2, "sys/fs/cgroup/a/memory.max": "4G\n",
			"sys/fs/cgroup/a/memory.current": "5G\n"}, 4, 0},
		{"a container with a name space", map[string]string{"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2, "sys/fs/cgroup/memory.max": "4G\n",
			"sys/fs/cgroup/memory.current": "1G\n"}, 4, 3},
		{"a container without", map[string]string{"proc/self/cgroup": "0::/docker/12ab\n",
			"proc/self/mountinfo":      "30 23 0:26 /docker/12ab /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
			"sys/fs/cgroup/memory.max": "4G\n", "sys/fs/cgroup/memory.current": "1G\n"}, 4, 3},
		{"outside of what is mounted", map[string]string{"proc/self/cgroup": "0::/../other\n", "proc/self/mountinfo": v2, "sys/fs/cgroup/memory.max": "4G\n",
			"sys/fs/cgroup/memory.current": "1G\n"}, 4, 3},
		{"no mountinfo", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "4G\n"}, 4, 4},
		{"version 1", map[string]string{"proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/x/y\n0::/\n", "proc/self/mountinfo": v1,
			"sys/fs/cgroup/memory/x/y/memory.limit_in_bytes": all + "\n", "sys/fs/cgroup/memory/x/y/memory.usage_in_bytes": "1G\n",
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "8G\n", "sys/fs/cgroup/memory/x/memory.usage_in_bytes": "6G\n",
			"sys/fs/cgroup/memory/x/memory.stat":         "cache 4G\ninactive_file 0\ntotal_inactive_file 1G\ntotal_active_file 2G\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": all + "\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "30G\n"}, 8, 5},
		{"version 1, a group above that cannot be seen", map[string]string{"proc/self/cgroup": "4:memory:/docker/1\n",
			"proc/self/mountinfo":                        "35 31 0:32 /docker/1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": all + "\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "1G\n",
			"sys/fs/cgroup/memory/memory.stat": "hierarchical_memory_limit 8G\n"}, 8, 7},
		{"damaged", map[string]string{"proc/self/cgroup": "\n:\n0::/a\nx", "proc/self/mountinfo": "1 2\n - \n", "sys/fs/cgroup/a/memory.max": "lots\n",
			"sys/fs/cgroup/a/memory.stat": "inactive_file\nanon x\n"}, 64, 40},
		{"an old kernel", map[string]string{"proc/meminfo": strings.Replace(meminfo, "MemAvailable", "Other", 1)}, 64, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := fstest.MapFS{"proc/meminfo": {Data: []byte(meminfo)}}
			for name, text := range c.files {
				for n := range int64(129) {
					text = strings.ReplaceAll(text, " "+strconv.FormatInt(n, 10)+"G", " "+strconv.FormatInt(n<<30, 10))
					if strings.HasPrefix(text, strconv.FormatInt(n, 10)+"G") {
						text = strconv.FormatInt(n<<30, 10) + "\n"
					}
				}
				root[name] = &fstest.MapFile{Data: []byte(text)}
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
