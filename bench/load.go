package bench

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"
)

// The machine's other work, from Linux' /proc; elsewhere it is not known and reported as zero.

// ticks is the unit of times in /proc/stat and /proc/PID/stat: USER_HZ, 100 on every Linux that Go supports.
const ticks = 100

// busyMachine is how many seconds all processors have worked since boot, time stolen by the host included.
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

// busyProcess is how many seconds a process has computed, with or without the children that it has waited for.
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

// watch measures the load that others put on the machine.
type watch struct {
	pids  []int // processes that are ours besides this one
	since time.Time
	busy  float64
	own   float64
}

// newWatch starts watching; pids are live processes that count as ours.
func newWatch(pids ...int) *watch {
	w := &watch{pids: pids, since: time.Now()}
	w.busy, w.own = w.read()
	return w
}

func (w *watch) read() (busy, own float64) {
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

// foreign is how many cores others kept busy on average since the watch began; unknown if that was too short ago, as a few ticks of
// the clock say nothing.
func (w *watch) foreign() float64 {
	d := time.Since(w.since).Seconds()
	if d < 0.2 {
		return unknown
	}
	busy, own := w.read()
	return max(0, (busy-w.busy-(own-w.own))/d)
}

// unknown is the load of a row that was measured too quickly; it takes that of the whole run.
const unknown = -1

// memory watches how much of it this process holds.
type memory struct {
	end  chan struct{}
	most chan int64
}

// watchMemory begins; the kernel keeps the high-water mark of resident memory, where it lets us start that anew, and none of anonymous.
func watchMemory() *memory {
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	m := &memory{make(chan struct{}), make(chan int64)}
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

// stop gives the most bytes of resident and of anonymous memory since watchMemory; 0 if that is not known.
func (m *memory) stop() (resident, anonymous int64) {
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
