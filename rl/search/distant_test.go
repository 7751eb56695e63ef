package search

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// writer is a generator that says what it was asked.
type writer struct{ asked, block chan string }

func (w writer) Generate(_ context.Context, m []Message, o GenerateOptions) (Generation, error) {
	switch m[0].Content {
	case "fails":
		return Generation{}, errors.New("a prompt of 2 tokens is too long")
	case "lost":
		return Generation{}, &Unavailable{Engine: "the simulator", Host: "cuda:0", Tries: 1, Err: errors.New("no GPU")}
	case "waits":
		w.asked <- ""
		<-w.block
	}
	return Generation{Text: fmt.Sprint(m, o), Prefill: "<think>", PromptTokens: 3, CompletionTokens: 4}, nil
}

// A generator of another process gives what it gives here, from many goroutines at once; what it cannot do is an error,
// and where it is gone, the engine is.
func TestDistant(t *testing.T) {
	w := writer{make(chan string), make(chan string)}
	var at []GeneratorAt
	var listeners []net.Listener
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		go ServeGenerator(t.Context(), l, w, "secret")
		listeners = append(listeners, l)
		at = append(at, GeneratorAt{[]string{"127.0.0.1:1", l.Addr().String()}, "secret"}) // nobody answers at the first
	}
	_, err := Reach(t.Context(), []GeneratorAt{{at[0].Addresses, "guessed"}})
	require.ErrorContains(t, err, "a rank that serves the simulator is not reached at")

	d, err := Reach(t.Context(), at)
	require.NoError(t, err)
	defer d.Close()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			m, o := []Message{{"user", fmt.Sprint("q", i)}}, GenerateOptions{MaxTokens: i, Temperature: 0.1, Stream: 1 << 63}
			want, _ := w.Generate(t.Context(), m, o)
			got, err := d.Generate(t.Context(), m, o)
			if err != nil || got != want {
				t.Errorf("%v, %v where %v is wanted", got, err, want)
			}
		})
	}
	all.Wait()
	ask := func(ctx context.Context, what string) error {
		_, err := d.Generate(ctx, []Message{{"user", what}}, GenerateOptions{})
		return err
	}
	require.EqualError(t, ask(t.Context(), "fails"), "the simulator: a prompt of 2 tokens is too long")
	var gone *Unavailable
	require.ErrorAs(t, ask(t.Context(), "lost"), &gone)
	require.ErrorContains(t, gone, "no GPU")

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- ask(ctx, "waits") }()
	<-w.asked
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	close(w.block)

	for i, x := range d.all {
		listeners[i].Close()
		x.client.Close()
	}
	require.ErrorAs(t, ask(t.Context(), "q"), &gone)
	_, err = Reach(t.Context(), at)
	require.ErrorContains(t, err, "connection refused")
}
