package fingerprint

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// blockBytes is the size of a block, which one goroutine hashes. A file's digest is computed from its size and its
// blocks' digests.
const blockBytes = 8 << 20

// digest computes the digest of a part.
type digest struct{ hash.Hash }

func newDigest() digest { return digest{sha256.New()} }

// text adds the length of s and s, so that different lists of texts never give the same bytes.
func (d digest) text(s string) {
	fmt.Fprintf(d, "%d ", len(s))
	io.WriteString(d, s)
}

// sum is Mark and the first 128 bits of the digest, in hexadecimal.
func (d digest) sum() string { return Mark + hex.EncodeToString(d.Sum(nil)[:16]) }

// file adds every byte of the file at path.
func (d digest) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() { // a pipe can be read only once
		return fmt.Errorf("%s is not a regular file", path)
	}
	blocks, err := blocks(f, st.Size())
	if err != nil {
		return err
	}
	fmt.Fprintf(d, "%d ", st.Size())
	for _, b := range blocks {
		d.Write(b[:])
	}
	return nil
}

// blocks hashes the blocks of a file of size bytes, several at a time.
func blocks(f io.ReaderAt, size int64) ([][sha256.Size]byte, error) {
	out := make([][sha256.Size]byte, (size+blockBytes-1)/blockBytes)
	workers := min(runtime.GOMAXPROCS(0), 8, len(out))
	var g errgroup.Group
	for w := range workers {
		g.Go(func() error {
			buf := make([]byte, min(size, blockBytes))
			for i := w; i < len(out); i += workers {
				from := int64(i) * blockBytes
				part := buf[:min(blockBytes, size-from)]
				if n, err := f.ReadAt(part, from); n < len(part) {
					return fmt.Errorf("reading %d bytes at %d: %w", len(part), from, err)
				}
				out[i] = sha256.Sum256(part)
			}
			return nil
		})
	}
	return out, g.Wait()
}
