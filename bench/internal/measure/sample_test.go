package measure

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLoopedWaits: a device queues its work, and each sample is the time until that has ended.
func TestLoopedWaits(t *testing.T) {
	queued := 0
	each := 200 * time.Microsecond
	seconds, err := Looped(t.Context(), 3, 20*each, func(int) { queued++ }, func() error {
		time.Sleep(time.Duration(queued) * each)
		queued = 0
		return nil
	})
	require.NoError(t, err)
	require.Len(t, seconds, 3)
	for _, s := range seconds {
		require.Greater(t, s, each.Seconds())
	}
	require.Zero(t, queued)
}

func TestStats(t *testing.T) {
	mean, dev, median := Stats([]float64{4, 1, 2, 3})
	require.Equal(t, 2.5, mean)
	require.InDelta(t, 1.2909944, dev, 1e-6)
	require.Equal(t, 2.5, median)
	_, dev, median = Stats([]float64{7})
	require.Zero(t, dev)
	require.Equal(t, 7.0, median)
	mean, _, _ = Stats(nil)
	require.Zero(t, mean)
}

func TestProcParsers(t *testing.T) {
	require.InDelta(t, 1.5+0.5+0.25+0.1+0.2+0.3, busyMachine("cpu  150 50 25 9999 777 10 20 30 40 50\ncpu0 1 2"), 1e-9)
	require.Zero(t, busyMachine("cpu x y"))
	stat := "42 (a (b) c) R 1 2 3 4 5 6 7 8 9 10 300 200 100 50 20 0 1 0 5"
	require.InDelta(t, 5.0, busyProcess(stat, false), 1e-9)
	require.InDelta(t, 6.5, busyProcess(stat, true), 1e-9)
	require.Zero(t, busyProcess("", true))
	require.Zero(t, busyProcess("1 (x) R", true))
	require.Equal(t, int64(12<<10), statusBytes([]byte("Name:\tx\nVmHWM:\t      12 kB\n"), "VmHWM:"))
	require.Zero(t, statusBytes([]byte("VmHWM:\n"), "VmHWM:"))
}
