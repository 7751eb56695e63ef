// Package disttest is what every dist.dist.Group must do: the suite that each of them passes.
package disttest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/zerosearch-go/zerosearch/engine/dist"
)

// Conform is what every group does, as rank g.Rank() sees it; it is run by all ranks at once. The error of a rank is
// the first thing that is wrong.
func Conform(g dist.Group) error {
	for _, part := range []struct {
		name string
		run  func(dist.Group) error
	}{{"barrier", dist.Group.Barrier}, {"all-gather", gathers}, {"all-to-all", exchanges}, {"broadcast", broadcasts},
		{"share", shares}, {"shard", shards}, {"many", many}, {"late", late}, {"head", heads}} {
		if err := part.run(g); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// content are n bytes that only this rank has for this purpose.
func content(n, rank, purpose int) []byte {
	out := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(rank), byte(rank >> 8), byte(purpose), byte(purpose >> 8)}).Read(out)
	return out
}

func gathers(g dist.Group) error {
	var into []byte
	for _, n := range []int{0, 1, 1000, 1 << 20} {
		length := func(rank int) int { return n * (rank + 1) / (rank%3 + 1) }
		all, err := g.AllGather(into, content(length(g.Rank()), g.Rank(), n))
		if err != nil {
			return err
		}
		if len(all) != g.Size() {
			return fmt.Errorf("%d parts of %d ranks", len(all), g.Size())
		}
		for r, b := range all {
			if !bytes.Equal(b, content(length(r), r, n)) {
				return fmt.Errorf("rank %d's %d bytes are not what it sent", r, length(r))
			}
		}
	}
	return nil
}

func exchanges(g dist.Group) error {
	for _, n := range []int{0, 1, 777, 1 << 19} {
		length := func(from, to int) int {
			if (from+to)%4 == 3 {
				return 0
			}
			return n + from + 2*to
		}
		var send, want []byte
		var sent, received []int
		for r := range g.Size() {
			sent = append(sent, length(g.Rank(), r))
			send = append(send, content(sent[r], g.Rank()*100+r, n)...)
			received = append(received, length(r, g.Rank()))
			want = append(want, content(received[r], r*100+g.Rank(), n)...)
		}
		recv := make([]byte, len(want))
		if err := g.AllToAll(recv, received, send, sent); err != nil {
			return err
		}
		if !bytes.Equal(recv, want) {
			return fmt.Errorf("%d bytes are not what was sent", n)
		}
	}
	return nil
}

func broadcasts(g dist.Group) error {
	for root := range g.Size() {
		for _, n := range []int{0, 1, 1 << 20} {
			data := content(n, g.Rank(), n)
			if err := g.Broadcast(root, data); err != nil {
				return err
			}
			if !bytes.Equal(data, content(n, root, n)) {
				return fmt.Errorf("%d bytes are not what rank %d sent", n, root)
			}
		}
	}
	return nil
}

func shares(g dist.Group) error {
	type value struct {
		Rank int
		X    []float64
	}
	x := []float64{math.Copysign(0, -1), math.NaN(), math.Inf(1), 1.0 / 3}
	all, err := dist.Share(g, value{g.Rank(), x})
	if err != nil {
		return err
	}
	for r, v := range all {
		for i := range x {
			if v.Rank != r || math.Float64bits(v.X[i]) != math.Float64bits(x[i]) {
				return fmt.Errorf("rank %d has %v", r, v)
			}
		}
	}
	if v, err := dist.First(g, fmt.Sprint("rank ", g.Rank())); err != nil || v != "rank 0" {
		return fmt.Errorf("the first has %q, %v", v, err)
	}
	last := g.Rank() == g.Size()-1
	if got, err := dist.Any(g, false); err != nil || got {
		return fmt.Errorf("any of none is %v, %v", got, err)
	}
	if got, err := dist.Any(g, last); err != nil || !got {
		return fmt.Errorf("any is %v, %v", got, err)
	}
	return nil
}

func shards(g dist.Group) error {
	from, to := dist.Shard(1001, 16, g.Rank(), g.Size())
	all, err := dist.Share(g, [2]int{from, to})
	if err != nil {
		return err
	}
	at := 0
	for _, s := range all {
		if s[0] != at || s[0]%16 != 0 && s[0] != 1001 {
			return fmt.Errorf("shards %v", all)
		}
		at = s[1]
	}
	if at != 1001 {
		return fmt.Errorf("shards %v end at %d", all, at)
	}
	return nil
}

// many operations in a row do not mix.
func many(g dist.Group) error {
	for i := range 300 {
		all, err := g.AllGather(nil, []byte{byte(i), byte(g.Rank())})
		if err != nil {
			return err
		}
		for r, b := range all {
			if !bytes.Equal(b, []byte{byte(i), byte(r)}) {
				return fmt.Errorf("operation %d: rank %d sent %v", i, r, b)
			}
		}
	}
	return nil
}

// heads are groups of their own, beside the whole.
func heads(g dist.Group) error {
	for n := 1; n <= g.Size(); n++ {
		h, err := g.Head(n)
		if err != nil {
			return err
		}
		if (h == nil) != (g.Rank() >= n) {
			return fmt.Errorf("of the first %d ranks this is one: %v", n, h != nil)
		}
		for i := 0; h != nil && i < 3; i++ {
			all, err := dist.Share(h, g.Rank())
			if err != nil || len(all) != n || h.Size() != n || h.Rank() != g.Rank() || all[n-1] != n-1 {
				return fmt.Errorf("rank %d of %d shares %v, %w", h.Rank(), h.Size(), all, err)
			}
		}
		if err := g.Barrier(); err != nil {
			return err
		}
	}
	return nil
}

// late ranks are waited for.
func late(g dist.Group) error {
	time.Sleep(time.Duration(g.Rank()*50) * time.Millisecond)
	return g.Barrier()
}

// Fail is the end of a group in which the last rank fails while the others go on: the error is what was otherwise.
func Fail(g dist.Group) error {
	const text = "the disk is full"
	if g.Size() == 1 {
		return nil
	}
	if g.Rank() == g.Size()-1 {
		g.Fail(errors.New(text))
		if err := g.Barrier(); err == nil {
			return errors.New("a rank that has failed goes on")
		}
		return nil
	}
	for i := range 3 {
		_, err := g.AllGather(nil, make([]byte, 10))
		var failed *dist.RankError
		if !errors.As(err, &failed) || failed.Rank != g.Size()-1 || failed.Text != text {
			return fmt.Errorf("operation %d after a failure gives %v", i, err)
		}
	}
	g.Fail(errors.New("late")) // does nothing, and waits for nobody
	return nil
}
