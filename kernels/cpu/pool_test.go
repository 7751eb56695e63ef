package cpu

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/usage"
	"github.com/zerosearch-go/zerosearch/kernels"
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
	require.Eventually(t, func() bool { return p.parked.Load() == 3 }, 5*time.Second, time.Millisecond,
		"idle workers keep their processors")
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
	began, used := time.Now(), usage.CPU()
	spent := func() time.Duration { return usage.CPU() - used } // of this process: the load of others does not count
	if used == 0 {
		spent = func() time.Duration { return time.Since(began) }
	}
	for spent() < 500*time.Millisecond {
		p.Run(2, func(int) {
			for range 200 {
				pause()
			}
		})
	}
	close(stop)
	require.Greater(t, turns.Load(), int64(5), "turns of the other goroutine")
}

// TestPoolSurvivesPanics: whoever panics, Run panics in its caller, after every task under way has ended; the next
// Run is as good as any.
func TestPoolSurvivesPanics(t *testing.T) {
	p := newPool(4)
	defer p.close()
	var under atomic.Int64
	// run gives each of many tasks to f, with the worker that has it, and returns what Run panicked with.
	run := func(f func(worker, task int)) (v any) {
		defer func() {
			v = recover()
			require.Zero(t, under.Load(), "Run returned before a task did")
		}()
		p.RunWorker(200, func(worker, task int) {
			under.Add(1)
			defer under.Add(-1)
			for range 100 {
				pause()
			}
			if task%10 == 0 {
				time.Sleep(20 * time.Microsecond) // every worker gets some
			}
			f(worker, task)
		})
		return nil
	}
	well := func() {
		ran := make([]atomic.Int32, 200)
		require.Nil(t, run(func(_, task int) { ran[task].Add(1) }))
		for i := range ran {
			require.EqualValues(t, 1, ran[i].Load())
		}
	}
	of := func(v any) any { // what was panicked with, in a worker or in the caller
		if w, ok := v.(*kernels.Panic); ok {
			require.Contains(t, string(w.Stack), "pool_test.go")
			return w.Value
		}
		return v
	}
	panicked := map[int]int{}
	for round := range 50 {
		if round%10 == 0 {
			time.Sleep(time.Millisecond) // let the workers park
		}
		for worker := range p.threads {
			v := run(func(w, _ int) {
				if w == worker {
					panic(worker)
				}
			})
			if v == nil {
				continue // others were quicker and left it no task
			}
			panicked[worker]++
			require.Equal(t, worker, of(v))
			_, wrapped := v.(*kernels.Panic)
			require.Equal(t, worker > 0, wrapped, "the caller's own panic stays as it is")
		}
		require.Equal(t, "all", of(run(func(int, int) { panic("all") })))
		require.Equal(t, "last", of(run(func(_, task int) {
			if task == 199 {
				panic("last")
			}
		})))
		require.Contains(t, of(run(func(_, task int) { p.Run(2, func(int) {}) })), "while another was under way")
		require.ErrorContains(t, of(run(func(_, task int) { _ = []int{}[task] })).(error), "index out of range")
		well()
	}
	require.Positive(t, panicked[0])
	require.Positive(t, panicked[1]+panicked[2]+panicked[3])
	exit := make(chan any)
	go func() { // as t.FailNow does
		defer func() { exit <- of(recover()) }()
		run(func(worker, _ int) {
			if worker > 0 {
				runtime.Goexit()
			}
			time.Sleep(time.Millisecond)
		})
	}()
	<-exit
	go func() {
		defer func() { exit <- recover() }()
		p.Run(200, func(int) { runtime.Goexit() })
	}()
	<-exit
	well()
	there := func() bool { return p.parked.Load() == 3 }
	require.Eventually(t, there, 5*time.Second, time.Millisecond, "every worker is there")
}
