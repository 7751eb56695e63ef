package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
)

const (
	// connections is how many requests for parts of files are on their way at once.
	connections = 8
	// partBytes is the size of a part. Parts that come too early wait in memory: connections of them at most.
	partBytes = 8 << 20
)

// errNoRanges is the error of a server that answers a request for a part of a file with something else.
var errNoRanges = errors.New("the server does not send parts of files")

// download fetches one blob into its .incomplete file. Parts are fetched at the same time and written in their order,
// so that the file holds the beginning of the blob whenever the process ends, and its digest is computed on the way.
type download struct {
	*client
	entry
	address string
	commit  string        // of the revision, to compare with what the server says
	slots   chan struct{} // one for each connection; shared by all downloads
	part    int64         // bytes of a part
	fetched func(n int)   // told of every byte that arrives

	f    *os.File
	sum  hash.Hash
	have int64 // bytes in f and in sum
}

// newSum is the digest by which the hub names the blob.
func (e entry) newSum() hash.Hash {
	if len(e.digest) == 2*sha256.Size {
		return sha256.New()
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", e.size)
	return h
}

// wrongSum is the error of content that has another digest than the hub says.
type wrongSum struct {
	path, want, got string
	resumed         bool
}

func (w *wrongSum) Error() string {
	return fmt.Sprintf("%s arrived with digest %s instead of %s: it is damaged on the way or on the server: run the "+
		"command again later, or choose another HF_ENDPOINT", w.path, w.got, w.want)
}

// to fetches the blob to the file path, which is new or has the beginning of it. What has come stays there if it fails,
// unless its digest is wrong.
func (d *download) to(ctx context.Context, path string) (err error) {
	if d.f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, d.f.Close())
		if w := new(wrongSum); errors.As(err, &w) {
			err = errors.Join(w, os.Remove(path))
		}
	}()
	if err := d.resume(); err != nil {
		return err
	}
	resumed := d.have > 0
	for ranges := true; d.have < d.size; {
		err := d.persist(ctx, func() int64 { return d.have }, func() error { return d.more(ctx, ranges) })
		if errors.Is(err, errNoRanges) && ranges {
			ranges = false
		} else if err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(d.sum.Sum(nil)); got != d.digest {
		return &wrongSum{d.path, d.digest, got, resumed}
	}
	return d.f.Sync()
}

// resume takes what an earlier download has left in f.
func (d *download) resume() error {
	st, err := d.f.Stat()
	if err != nil {
		return err
	}
	if st.Size() > d.size {
		if err := d.f.Truncate(0); err != nil {
			return err
		}
	}
	d.sum = d.newSum()
	d.have, err = io.Copy(d.sum, d.f)
	return err
}

// Write appends to the file.
func (d *download) Write(b []byte) (int, error) {
	n, err := d.f.Write(b)
	d.sum.Write(b[:n])
	d.have += int64(n)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf(
			"%w: %d more bytes of %s are to come: make room, or set HF_HUB_CACHE to a folder on another disk; "+
				"what has come is kept", err, d.size-d.have, d.path)
	}
	return n, err
}

// more fetches what is missing, or a part of it.
func (d *download) more(ctx context.Context, ranges bool) error {
	switch {
	case ranges && d.size-d.have > d.part:
		return d.parts(ctx)
	case ranges && d.have > 0:
		return d.section(ctx, d.have, d.size, d)
	}
	return d.whole(ctx)
}

// parts fetches what is missing in parts, several at a time.
func (d *download) parts(ctx context.Context) (err error) {
	type piece struct {
		bytes []byte
		err   chan error
	}
	ctx, cancel := context.WithCancel(ctx)
	queue := make(chan *piece, connections)
	var all sync.WaitGroup
	defer func() {
		cancel()
		for range queue { // which have no goroutine that waits for them
			<-d.slots
		}
		all.Wait()
	}()
	start := d.have
	all.Go(func() {
		defer close(queue)
		for at := start; at < d.size; at += d.part {
			select {
			case d.slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			p := &piece{err: make(chan error, 1)}
			queue <- p // never blocks: it holds as many as there are slots
			all.Go(func() { p.err <- d.fetchPart(ctx, at, min(at+d.part, d.size), &p.bytes) })
		}
	})
	for p := range queue {
		if err = <-p.err; err == nil {
			_, err = d.Write(p.bytes)
		}
		p.bytes = nil
		<-d.slots
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// fetchPart fetches one part into memory, going on where a connection broke.
func (d *download) fetchPart(ctx context.Context, from, to int64, into *[]byte) error {
	b := buffer{make([]byte, 0, to-from)}
	err := d.persist(ctx, func() int64 { return int64(len(b.bytes)) }, func() error {
		return d.section(ctx, from+int64(len(b.bytes)), to, &b)
	})
	*into = b.bytes
	return err
}

// buffer is a bytes.Buffer that does not grow.
type buffer struct{ bytes []byte }

func (b *buffer) Write(p []byte) (int, error) {
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}

// section fetches the bytes from..to-1.
func (d *download) section(ctx context.Context, from, to int64, w io.Writer) error {
	wanted := fmt.Sprintf("bytes=%d-%d", from, to-1)
	err := d.get(ctx, d.address, wanted, func(answer *http.Response) error {
		if err := d.same(answer); err != nil {
			return err
		}
		says := fmt.Sprintf("bytes %d-%d/%d", from, to-1, d.size)
		if answer.StatusCode != http.StatusPartialContent || answer.Header.Get("Content-Range") != says {
			return errNoRanges
		}
		return d.copy(w, answer.Body, to-from)
	})
	if e := new(refusal); errors.As(err, &e) && e.status == http.StatusRequestedRangeNotSatisfiable {
		return errNoRanges
	}
	return err
}

// whole fetches the blob from its beginning and writes what is missing.
func (d *download) whole(ctx context.Context) error {
	return d.get(ctx, d.address, "", func(answer *http.Response) error {
		if err := d.same(answer); err != nil {
			return err
		}
		if n := answer.ContentLength; n >= 0 && n != d.size {
			return fmt.Errorf(
				"%s has %d bytes in the hub's listing, but %s sends %d: run the command again, or choose "+
					"another HF_ENDPOINT", d.path, d.size, answer.Request.URL.Host, n)
		}
		if _, err := io.CopyN(io.Discard, answer.Body, d.have); err != nil {
			return &brokenBody{err}
		}
		return d.copy(d, answer.Body, d.size-d.have)
	})
}

// copy writes the next n bytes of a body to w.
func (d *download) copy(w io.Writer, body io.Reader, n int64) error {
	buf := make([]byte, min(n, 256<<10))
	for n > 0 {
		got, err := body.Read(buf[:min(n, int64(len(buf)))])
		d.fetched(got)
		if _, err := w.Write(buf[:got]); err != nil {
			return err
		}
		if n -= int64(got); n > 0 && err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return &brokenBody{err}
		}
	}
	return nil
}

// same compares what the hub says of the file with the listing: the commit, and the digest of a large file, which stand
// in the headers of its answer or, where it sends the request on to another host, of the redirection. The ETag of a
// small file says nothing: a proxy may have its own.
func (d *download) same(answer *http.Response) error {
	for r := answer; r != nil; r = r.Request.Response {
		commit, digest := r.Header.Get("X-Repo-Commit"), etag(r.Header.Get("X-Linked-Etag"))
		if commitID.MatchString(commit) && commit != d.commit ||
			commitID.MatchString(digest) && len(digest) == len(d.digest) && digest != d.digest {
			return fmt.Errorf(
				"%s of commit %s was asked for, and %s gives another one: run the command again, or choose "+
					"another HF_ENDPOINT", d.path, d.commit, r.Request.URL.Host)
		}
	}
	return nil
}
