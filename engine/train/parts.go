package train

import (
	"errors"
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// openPart opens the file that rank 0 has created; tests replace it to simulate hosts that do not see the file.
var openPart = func(s safetensors.Shared, _ dist.Group) (*safetensors.Part, error) { return s.Open() }

// writeParts writes a file of which each rank holds parts. A rank that sees the file that rank 0 has created writes its
// parts into it; the others send theirs to rank 0. If one rank fails, all ranks return an error, and a file that was at
// path before stays as it was.
func (x *exchange) writeParts(path string, list []stateEntry, meta map[string]string) error {
	defer func() { x.host = staging{} }()
	var w *safetensors.Writer
	var begun safetensors.Shared
	var err error
	if x.ranks.Rank() == 0 {
		if w, err = createTensors(path, list, meta); err == nil {
			defer w.Abort()
			begun, err = w.Share()
		}
	}
	all, err := dist.Agree(x.ranks, begun, err)
	if err != nil {
		return err
	}
	part, err := openPart(all[0], x.ranks)
	sees := err == nil
	if !sees && x.ranks.Rank() > 0 && errors.Is(err, safetensors.ErrNotShared) {
		err = nil
	}
	direct, err := dist.Agree(x.ranks, sees, err)
	if err == nil {
		err = x.fill(part, list, direct)
	}
	if sees {
		err = errors.Join(err, part.Close())
	}
	if err = x.agreeOn(err); err == nil && w != nil {
		err = w.Close()
	}
	return err
}

// agreeOn returns the error of one rank in all ranks. ErrDiverged stays recognisable with errors.Is.
func (x *exchange) agreeOn(err error) error {
	diverged := errors.Is(err, ErrDiverged)
	text := ""
	if diverged {
		text, err = err.Error(), nil
	}
	all, err := dist.Agree(x.ranks, text, err)
	for _, text := range all {
		if text != "" {
			return fmt.Errorf("%s%w", text[:len(text)-len(ErrDiverged.Error())], ErrDiverged)
		}
	}
	return err
}

// fill writes the tensors of list. direct says which ranks see the file and write their own parts; rank 0 writes those
// of the others. A rank that fails keeps sending and receiving, because the others wait for it.
func (x *exchange) fill(part *safetensors.Part, list []stateEntry, direct []bool) (failed error) {
	rank := x.ranks.Rank()
	put := func(e stateEntry, from int, values []float32) {
		switch {
		case failed != nil || len(values) == 0:
		case !allFinite(values):
			failed = fmt.Errorf("%s: %w", e.name, ErrDiverged)
		default:
			failed = part.WriteFloat32(e.name, from, values)
		}
	}
	send := false
	for _, d := range direct {
		send = send || !d
	}
	for _, e := range list {
		own := e.part(rank)
		x.host.send = sized(x.host.send, own.len())
		if own.len() > 0 && failed == nil {
			failed = kernels.Download(x.dev, x.host.send, e.t.Reshape(1, own.len()))
		}
		if direct[rank] && (e.parts != nil || rank == 0) {
			put(e, own.from, x.host.send)
		}
		if !send || e.parts == nil {
			continue
		}
		if err := x.collect(e, direct); err != nil {
			return errors.Join(failed, err)
		}
		at := 0
		for r, p := range e.parts {
			if rank == 0 && !direct[r] {
				put(e, p.from, x.host.recv[at:at+p.len()])
				at += p.len()
			}
		}
	}
	return failed
}

// collect sends to rank 0 the parts of e of ranks that do not see the file.
func (x *exchange) collect(e stateEntry, direct []bool) error {
	sent, received, total := make([]int, len(direct)), make([]int, len(direct)), 0
	own := x.host.send[:0]
	if !direct[x.ranks.Rank()] {
		own = x.host.send
		sent[0] = 4 * len(own)
	}
	if x.ranks.Rank() == 0 {
		for r, p := range e.parts {
			if !direct[r] {
				received[r] = 4 * p.len()
				total += p.len()
			}
		}
	}
	x.host.recv = sized(x.host.recv, total)
	return x.ranks.AllToAll(bytesOf(x.host.recv), received, bytesOf(own), sent)
}
