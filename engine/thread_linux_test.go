package engine

import (
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// bound is a device that is best used by one thread.
type bound struct{ kernels.Device }

func (bound) ThreadBound() {}

// The loop keeps to one thread where the device wants it, while goroutines that block move others about.
func TestLoopKeepsItsThread(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	threads := func(dev kernels.Device) int {
		e := New(dev, Options{})
		defer e.Close()
		quit := make(chan struct{})
		for range 8 {
			go func() {
				for {
					select {
					case <-quit:
						return
					default:
						time.Sleep(10 * time.Microsecond)
					}
				}
			}()
		}
		defer close(quit)
		seen := map[int]bool{}
		for range 200 {
			require.NoError(t, e.Do(t.Context(), func() error {
				seen[syscall.Gettid()] = true
				return nil
			}))
			time.Sleep(20 * time.Microsecond)
		}
		return len(seen)
	}
	require.Equal(t, 1, threads(bound{ref.New()}))
	free := 1
	for range 50 { // of a device that does not mind, the loop moves sooner or later
		if free = threads(ref.New()); free > 1 {
			break
		}
	}
	require.Greater(t, free, 1)
}
