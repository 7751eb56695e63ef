package measure

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"
)

// This file measures the load of other processes from Linux' /proc. On other systems it is unknown and reported as
// zero.

// ticks is the unit of times in /proc/stat and /proc/PID/stat: USER_HZ, 100 on every Linux that Go supports.
const ticks = 100

// busyMachine is the busy time of all processors since boot, in seconds, including time stolen by the host.
func busyMachine(stat string) float64 {
	line, _, _ := strings.Cut(stat, "\n")
	sum := 0.0
	for i, f := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // name, idle, waiting for disks; guests are counted in user
			continue
		}
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return 0
		}
		sum += n
	}
	return sum / ticks
}

// busyProcess is the processor time of a process in seconds, with or without the children that it has waited for.
func busyProcess(stat string, children bool) float64 {
	// pid (name) state ...: the name may hold anything, so count from its closing bracket.
	i := strings.LastIndexByte(stat, ')')
	f := strings.Fields(stat[i+1:])
	if i < 0 || len(f) < 15 {
		return 0
	}
	last := 12
	if children {
		last = 14
	}
	sum := 0.0
	for _, s := range f[11 : last+1] {
		n, _ := strconv.ParseFloat(s, 64)
		sum += n
	}
	return sum / ticks
}

// Watch measures the load of other processes.
type Watch struct {
	pids  []int // other processes that count as ours
	since time.Time
	busy  float64
	own   float64
}

// NewWatch starts watching; pids are live processes that count as ours.
func NewWatch(pids ...int) *Watch {
	w := &Watch{pids: pids, since: time.Now()}
	w.busy, w.own = w.read()
	return w
}

func (w *Watch) read() (busy, own float64) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	self, _ := os.ReadFile("/proc/self/stat")
	own = busyProcess(string(self), true)
	for _, pid := range w.pids {
		s, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		own += busyProcess(string(s), true)
	}
	return busyMachine(string(stat)), own
}

// Foreign is the average number of cores that other processes kept busy since the watch began; Unknown if the time is
// too short for the clock's resolution.
func (w *Watch) Foreign() float64 {
	d := time.Since(w.since).Seconds()
	if d < 0.2 {
		return Unknown
	}
	busy, own := w.read()
	return max(0, (busy-w.busy-(own-w.own))/d)
}

// Unknown is the load of a row whose measurement was too short; the row then gets the load of the whole run.
const Unknown = -1

// Disturbed is the load of other processes, in cores, above which a measurement is marked.
const Disturbed = 0.1

// Memory measures the peak memory of this process.
type Memory struct {
	end  chan struct{}
	most chan int64
}

// WatchMemory starts the measurement. The kernel keeps a high-water mark of resident memory, which may be resettable,
// but none of anonymous memory.
func WatchMemory() *Memory {
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	m := &Memory{make(chan struct{}), make(chan int64)}
	go func() {
		most := int64(0)
		for {
			status, _ := os.ReadFile("/proc/self/status")
			most = max(most, statusBytes(status, "RssAnon:"))
			select {
			case <-m.end:
				m.most <- most
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return m
}

// Stop returns the peak of resident and of anonymous memory since WatchMemory, in bytes; 0 if it is not known.
func (m *Memory) Stop() (resident, anonymous int64) {
	close(m.end)
	status, _ := os.ReadFile("/proc/self/status")
	return statusBytes(status, "VmHWM:"), <-m.most
}

// statusBytes reads a line "Key:   123 kB" of /proc/PID/status.
func statusBytes(status []byte, key string) int64 {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok {
			f := strings.Fields(string(rest))
			if len(f) == 2 && f[1] == "kB" {
				n, _ := strconv.ParseInt(f[0], 10, 64)
				return n << 10
			}
		}
	}
	return 0
}
