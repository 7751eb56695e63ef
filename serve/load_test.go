package serve

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Two hundred clients stream for the duration ZEROSEARCH_LOAD (2s by default). Some disconnect in the middle. Only 429
// may fail a request, each answer is what the client would get alone, memory does not grow, and no goroutine or page is
// leaked.
func TestLoad(t *testing.T) {
	// with one thread, requests arrive one by one
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0))))
	const clients = 200
	lasts := 2 * time.Second
	if v := os.Getenv("ZEROSEARCH_LOAD"); v != "" {
		var err error
		lasts, err = time.ParseDuration(v)
		require.NoError(t, err)
	}
	r := newServer(t, Options{MaxSequences: 192})
	want := make([]streamed, 16)
	stop, ended := r.listen()
	r.http.Transport = &http.Transport{MaxIdleConnsPerHost: clients}
	ask := func(i int) object {
		return object{
			"messages": []object{{"role": "user", "content": fmt.Sprintf("What do whales sing, verse %d?", i)}},
			"seed":     i, "max_tokens": 8 + 3*i, "stop": "qq"}
	}
	for i := range want {
		want[i] = r.stream(chatPath, ask(i))
	}
	r.http.CloseIdleConnections()
	time.Sleep(50 * time.Millisecond)
	goroutines := runtime.NumGoroutine()

	var answered, busy, left, wrong atomic.Int64
	ctx, end := context.WithTimeout(t.Context(), lasts)
	defer end()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(c), 1))
			for ctx.Err() == nil {
				i := rng.IntN(len(want))
				q := ask(i)
				q["stream"] = true
				mine, leave := context.WithCancel(context.Background())
				if rng.IntN(20) == 0 {
					time.AfterFunc(time.Duration(rng.IntN(50))*time.Millisecond, leave)
				}
				req, err := http.NewRequestWithContext(mine, "POST", r.url+chatPath, bytes.NewReader(marshal(t, q)))
				if err != nil {
					wrong.Add(1)
				}
				resp, err := r.http.Do(req)
				switch {
				case err != nil && mine.Err() != nil:
					left.Add(1)
				case err != nil:
					t.Errorf("client %d: %v", c, err)
					wrong.Add(1)
				case resp.StatusCode == 429:
					busy.Add(1)
					resp.Body.Close()
					time.Sleep(20 * time.Millisecond)
				default:
					got, err := readStream(resp.Body)
					resp.Body.Close()
					switch {
					case mine.Err() != nil:
						left.Add(1)
					case err != nil || resp.StatusCode != 200 || !got.done || got.text[0] != want[i].text[0] ||
						got.finish[0] != want[i].finish[0]:
						t.Errorf("client %d: status %d, %v: %q, alone %q", c, resp.StatusCode, err, got.text[0],
							want[i].text[0])
						wrong.Add(1)
					default:
						answered.Add(1)
					}
				}
				leave()
				if wrong.Load() > 0 {
					return
				}
			}
		})
	}
	early, late := int64(0), int64(0)
	for at := range 10 {
		time.Sleep(lasts / 11)
		if rss := residentBytes(); at < 4 {
			early = max(early, rss)
		} else {
			late = max(late, rss)
		}
	}
	wg.Wait()
	r.quiet()
	t.Logf("%d answered, %d told to come back, %d left; %d MiB, later %d MiB; %d tokens sampled", answered.Load(),
		busy.Load(), left.Load(), early>>20, late>>20, r.s.metrics.sampled.Load())
	require.Zero(t, wrong.Load())
	require.Positive(t, answered.Load())
	require.Positive(t, busy.Load(), "the queue was never full: the test is too small")
	if lasts >= 20*time.Second {
		require.Less(t, float64(late), 1.15*float64(early), "memory grows")
	}
	r.http.CloseIdleConnections()
	for range 500 {
		if runtime.NumGoroutine() <= goroutines {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines, "goroutines are left behind")
	stop()
	require.NoError(t, <-ended)
}
