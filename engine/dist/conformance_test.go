package dist_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/engine/dist/disttest"
)

// together runs f in all ranks of a local group.
func together(t *testing.T, size int, f func(g dist.Group) error) {
	groups := dist.Local(size)
	errs := make(chan error, size)
	for _, g := range groups {
		go func() {
			err := f(g)
			if err != nil {
				g.Abort(1)
				err = fmt.Errorf("rank %d of %d: %w", g.Rank(), size, err)
			}
			errs <- errors.Join(err, g.Close())
		}()
	}
	for range groups {
		select {
		case err := <-errs:
			require.NoError(t, err)
		case <-time.After(60 * time.Second):
			t.Fatal("the ranks hang")
		}
	}
}

func TestLocal(t *testing.T) {
	for _, size := range []int{1, 2, 3, 5} {
		together(t, size, disttest.Conform)
		together(t, size, disttest.Fail)
	}
}

// Ranks that are not in the same operation are told so: nobody waits for ever, and no bytes are mistaken.
func TestLostStep(t *testing.T) {
	together(t, 2, func(g dist.Group) error {
		var err error
		if g.Rank() == 0 {
			err = g.Barrier()
		} else {
			_, err = g.AllGather(nil, nil)
		}
		if err == nil {
			return errors.New("no error")
		}
		return nil
	})
}

func TestAbortEndsWaiting(t *testing.T) {
	together(t, 3, func(g dist.Group) error {
		if g.Rank() == 1 {
			g.Abort(1)
			return nil
		}
		if err := g.Barrier(); err == nil {
			return errors.New("no error")
		}
		return nil
	})
}

func TestShapesPanic(t *testing.T) {
	g := dist.Alone()
	require.Panics(t, func() { g.AllToAll(make([]byte, 2), []int{1}, make([]byte, 1), []int{1}) })
	require.Panics(t, func() { g.Broadcast(1, nil) })
}
