package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLoopedWaits: a device queues its work, and each sample is the time until that has ended.
func TestLoopedWaits(t *testing.T) {
	queued := 0
	each := 200 * time.Microsecond
	seconds, err := looped(t.Context(), 3, 20*each, func(int) { queued++ }, func() error {
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
