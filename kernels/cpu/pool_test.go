package cpu

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPoolRunsEachTaskOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		p := newPool(threads)
		for round := range 2000 {
			n := round % 17
			ran := make([]atomic.Int32, n)
			p.RunWorker(n, func(worker, task int) {
				if worker < 0 || worker >= threads {
					panic("worker out of range")
				}
				ran[task].Add(1)
			})
			for i := range ran {
				require.EqualValues(t, 1, ran[i].Load(), "task %d of %d with %d threads", i, n, threads)
			}
			if round%500 == 0 {
				time.Sleep(time.Millisecond) // let the workers park
			}
		}
		p.close()
	}
}

func TestPoolParks(t *testing.T) {
	p := newPool(4)
	defer p.close()
	p.Run(8, func(int) {})
	require.Eventually(t, func() bool { return p.parked.Load() == 3 }, 5*time.Second, time.Millisecond, "idle workers keep their processors")
	var sum atomic.Int64
	p.Run(100, func(i int) { sum.Add(int64(i)) })
	require.EqualValues(t, 4950, sum.Load())
}

func BenchmarkForkJoin(b *testing.B) {
	p := newPool(2)
	defer p.close()
	for b.Loop() {
		p.Run(2, func(int) {})
	}
}

// TestPoolStarvesNobody: with as many workers as processors and work all the time, another goroutine still runs.
func TestPoolStarvesNobody(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	p := newPool(2)
	defer p.close()
	var turns atomic.Int64
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				turns.Add(1)
				time.Sleep(100 * time.Microsecond)
			}
		}
	}()
	for start := time.Now(); time.Since(start) < 300*time.Millisecond; {
		p.Run(2, func(int) {
			for range 200 {
				pause()
			}
		})
	}
	close(stop)
	require.Greater(t, turns.Load(), int64(5), "turns of the other goroutine in 300 ms")
}
