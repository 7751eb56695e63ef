package dist

import (
	"bytes"
	"cmp"
	"encoding/gob"
	"fmt"
)

// Share returns the values own of all ranks, [ranks]. They are encoded with encoding/gob: only exported fields are
// sent, and numbers keep every bit.
func Share[T any](g Group, own T) ([]T, error) {
	if g.Size() == 1 {
		return []T{own}, nil
	}
	var text bytes.Buffer
	if err := gob.NewEncoder(&text).Encode(&own); err != nil {
		return nil, fmt.Errorf("sending to the other ranks: %w", err)
	}
	all, err := g.AllGather(nil, text.Bytes())
	if err != nil {
		return nil, err
	}
	out := make([]T, len(all))
	for r, b := range all {
		if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&out[r]); err != nil {
			return nil, fmt.Errorf("reading what rank %d sent: %w", r, err)
		}
	}
	return out, nil
}

// Agree is Share for results that come with an error. If a rank passes an error, Agree fails in all ranks: with that
// error in the rank itself, with a *RankError of the first rank that has one in the others.
func Agree[T any](g Group, own T, err error) ([]T, error) {
	if g.Size() == 1 {
		return []T{own}, err
	}
	type outcome struct {
		Value  T
		Failed string
	}
	x := outcome{Value: own}
	if err != nil {
		x = outcome{Failed: cmp.Or(err.Error(), "unknown error")}
	}
	all, failed := Share(g, x)
	if err = cmp.Or(err, failed); err != nil {
		return nil, err
	}
	out := make([]T, len(all))
	for r, x := range all {
		if x.Failed != "" {
			return nil, &RankError{r, x.Failed}
		}
		out[r] = x.Value
	}
	return out, nil
}

// Owner returns the rank that item i of a list belongs to: i modulo the number of ranks.
func Owner(g Group, i int) int { return i % g.Size() }

// Any reports whether own is true in any rank.
func Any(g Group, own bool) (bool, error) {
	all, err := Share(g, own)
	for _, v := range all {
		own = own || v
	}
	return own, err
}

// First returns rank 0's own in every rank.
func First[T any](g Group, own T) (T, error) {
	if g.Rank() > 0 {
		var none T
		own = none
	}
	all, err := Share(g, own)
	if err != nil {
		return own, err
	}
	return all[0], nil
}

// Shard returns the part [from, to) of n elements that a rank of size ranks holds. Parts begin at multiples of align
// elements and have equal lengths, except for the last ones.
func Shard(n, align, rank, size int) (from, to int) {
	each := (n + size - 1) / size
	each = (each + align - 1) / align * align
	return min(rank*each, n), min((rank+1)*each, n)
}
