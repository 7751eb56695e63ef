package dense

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/zerosearch-go/zerosearch/engine/embed"
	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/num"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Index ranks passages by the product of their vectors with that of a query, which is the cosine. It is a
// search.Ranker.
type Index struct {
	enc *Encoder
	x   *embed.Index
}

// IndexOptions say how an index is made.
type IndexOptions struct {
	// Keep is a folder that keeps the vectors of passages, keyed by the passages and by Model, so that only new
	// passages are embedded. "": nothing is kept.
	Keep string
	// Model is a digest of the model that makes the vectors.
	Model string
	// Progress, if not nil, is called with the number of passages that have a vector.
	Progress func(done, total int)
}

// blockPassages is the number of passages whose vectors are kept together.
const blockPassages = 64

// NewIndex embeds passages, at least one. If ctx ends, its error is returned, and vectors that were kept are not
// computed again.
func NewIndex(ctx context.Context, enc *Encoder, passages []string, o IndexOptions) (*Index, error) {
	enc.mu.Lock()
	x, err := embed.NewIndex(enc.m.Device, len(passages), enc.Dim())
	enc.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for at := 0; at < len(passages); at += blockPassages {
		block := passages[at:min(at+blockPassages, len(passages))]
		vectors, err := enc.block(ctx, block, o)
		if err != nil {
			x.Close()
			return nil, err
		}
		enc.mu.Lock()
		x.Put(at, vectors)
		enc.mu.Unlock()
		if o.Progress != nil {
			o.Progress(at+len(block), len(passages))
		}
	}
	return &Index{enc, x}, nil
}

// block gives the vectors of a few passages as BF16, little-endian.
func (e *Encoder) block(ctx context.Context, passages []string, o IndexOptions) ([]byte, error) {
	size := len(passages) * e.Dim() * 2
	path := ""
	if o.Keep != "" {
		h := sha256.New()
		fmt.Fprintf(h, "%q %q ", o.Model, e.DocumentPrefix)
		for _, p := range passages {
			fmt.Fprintf(h, "%d ", len(p))
			io.WriteString(h, p)
		}
		path = filepath.Join(o.Keep, hex.EncodeToString(h.Sum(nil)[:16])+".bf16")
		if kept, err := os.ReadFile(path); err == nil && len(kept) == size {
			search.Used(path)
			return kept, nil
		}
	}
	out := make([]byte, 0, size)
	for few := range slices.Chunk(passages, 8) { // so that an interruption is heard soon
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		vectors, err := e.Documents(few)
		if err != nil {
			return nil, err
		}
		for _, v := range vectors {
			out = binary.LittleEndian.AppendUint16(out, num.BF16FromF32(v))
		}
	}
	if path == "" {
		return out, nil
	}
	err := os.MkdirAll(o.Keep, 0o700)
	if err == nil { // the documents may be private
		err = disk.Write(path, 0o600, func(w io.Writer) error { _, err := w.Write(out); return err })
	}
	if err != nil {
		return nil, fmt.Errorf("keeping the vectors of documents: %w: choose another folder with --index", err)
	}
	return out, nil
}

// Rank gives the indices of the k best passages, best first.
func (x *Index) Rank(ctx context.Context, query string, k int) ([]int, error) {
	v, err := x.enc.Query(query)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	x.enc.mu.Lock()
	hits, err := x.x.Find(v, k)
	x.enc.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var out []int
	for _, h := range hits {
		out = append(out, h.Vector)
	}
	return out, nil
}

// Close gives the memory of the vectors back; the encoder stays open.
func (x *Index) Close() { x.x.Close() }
