package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zerosearch-go/zerosearch/internal/disk"
)

// PullOptions say what to download.
type PullOptions struct {
	Repo     Repo
	Revision string // a branch, a tag or a commit; "" is the main branch
	// Include are patterns of Python's fnmatch. Without any, all files of a data set are downloaded and the files of a
	// model that this program reads.
	Include []string
	// Progress is called a few times a second, unless it is nil.
	Progress func(Progress)
	// Note is called with what the user should know, unless it is nil.
	Note func(text string)
}

// Progress is how far a download is.
type Progress struct {
	Bytes, Total int64 // of all files, what was there before included
	Fetched      int64 // bytes that came over the network
	Files, Of    int   // files that are complete
}

// Pulled is a revision that lies in the cache.
type Pulled struct {
	Repo     Repo
	Revision string
	Commit   string
	Dir      string // its folder in the cache
	Files    int
	Bytes    int64
	Fetched  int64 // bytes that came over the network
	LeftOut  int   // files that were not chosen
	LeftSize int64 // their bytes
}

const (
	filesAtOnce  = 4
	progressTick = 200 * time.Millisecond
)

// Pull downloads a revision into the cache. What an earlier one has downloaded, of it or of Python, is not downloaded
// again; of a file that was interrupted, only the rest is. Every file is compared with the digest that the hub gives
// for it. Other processes may do the same at the same time. With Settings.Offline it is Snapshot.
func Pull(ctx context.Context, s *Settings, o PullOptions) (*Pulled, error) {
	if o.Note == nil {
		o.Note = func(string) {}
	}
	p, err := newPuller(s, o).pull(ctx)
	if err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("pulling %s: %w", o.Repo, err)
	}
	return p, err
}

// puller is a download of a revision.
type puller struct {
	*client
	PullOptions
	commit string
	root   string // the repository's folder in the cache
	slots  chan struct{}
	part   int64

	files                 int
	total                 int64
	bytes, fetched, ready atomic.Int64
}

func newPuller(s *Settings, o PullOptions) *puller {
	return &puller{client: newClient(s, o.Note), PullOptions: o, root: filepath.Join(s.Cache, o.Repo.Folder()),
		slots: make(chan struct{}, connections), part: partBytes}
}

func (p *puller) pull(ctx context.Context) (*Pulled, error) {
	revision := p.Revision
	if revision == "" {
		revision = mainRevision
	}
	out := &Pulled{Repo: p.Repo, Revision: revision}
	if p.Offline {
		return p.cached(out)
	}
	var err error
	if p.commit, err = p.client.commit(ctx, p.Repo, revision); err != nil {
		return nil, err
	}
	all, err := p.client.files(ctx, p.Repo, p.commit)
	if err != nil {
		return nil, err
	}
	take, leave, err := choose(all, p.Include, p.Repo.Dataset)
	if err != nil {
		return nil, err
	}
	if len(take) == 0 {
		return nil, fmt.Errorf("no file of it is one that zerosearch reads: it has %s: choose files with --include",
			some(all))
	}
	out.Commit, out.Dir = p.commit, p.snapshot("")
	for _, e := range take {
		p.total += e.size
	}
	p.files, out.Files, out.Bytes, out.LeftOut = len(take), len(take), p.total, len(leave)
	for _, e := range leave {
		out.LeftSize += e.size
	}
	if err := p.all(ctx, take); err != nil {
		return nil, err
	}
	out.Fetched = p.fetched.Load()
	return out, p.setRef(revision)
}

// cached is pull without the network.
func (p *puller) cached(out *Pulled) (_ *Pulled, err error) {
	if out.Dir, err = p.Snapshot(p.Repo, p.Revision); err != nil {
		return nil, fmt.Errorf("%w with the network, which --offline or HF_HUB_OFFLINE forbids now", err)
	}
	out.Commit = filepath.Base(out.Dir)
	files, err := snapshotFiles(out.Dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		out.Files++
		out.Bytes += f.size
	}
	return out, nil
}

// all downloads files, several at a time.
func (p *puller) all(ctx context.Context, files []entry) error {
	stop := p.report()
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(filesAtOnce)
	for _, e := range files {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := p.file(ctx, e); err != nil {
				return p.explain(p.Repo, p.commit, e.path, err)
			}
			p.ready.Add(1)
			return nil
		})
	}
	return g.Wait()
}

// report calls Progress until stop is called.
func (p *puller) report() (stop func()) {
	if p.Progress == nil {
		return func() {}
	}
	show := func() { // the first time before anything has come
		p.Progress(Progress{Bytes: p.bytes.Load(), Total: p.total, Fetched: p.fetched.Load(),
			Files: int(p.ready.Load()),
			Of:    p.files})
	}
	show()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(progressTick)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				show()
			case <-end:
				show()
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

// snapshot is the path of a file of the revision.
func (p *puller) snapshot(file string) string {
	return filepath.Join(p.root, "snapshots", p.commit, filepath.FromSlash(file))
}

// file makes one file of the revision be there.
func (p *puller) file(ctx context.Context, e entry) error {
	pointer, blob := p.snapshot(e.path), filepath.Join(p.root, "blobs", e.digest)
	if st, err := os.Stat(pointer); err == nil && st.Mode().IsRegular() && st.Size() == e.size {
		p.bytes.Add(e.size)
		return nil
	}
	for _, dir := range []string{filepath.Dir(pointer), filepath.Dir(blob)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	lock, err := disk.WaitShared(ctx, filepath.Join(p.Cache, ".locks", p.Repo.Folder(), e.digest+".lock"), func() {
		p.note(fmt.Sprintf("another process is downloading %s: waiting for it", e.path))
	})
	if err != nil {
		return err
	}
	defer lock.Unlock()
	fresh := false
	if st, err := os.Stat(blob); err == nil && st.Size() == e.size {
		p.bytes.Add(e.size)
	} else {
		if err := p.blob(ctx, e, blob); err != nil {
			return err
		}
		fresh = true
	}
	return point(pointer, blob, fresh)
}

// blob downloads what a digest names. If what has come has another one it begins again, once: the beginning may have
// been left by a machine that crashed.
func (p *puller) blob(ctx context.Context, e entry, blob string) error {
	incomplete := blob + ".incomplete"
	for again := false; ; again = true {
		var got int64 // what this try has added to the progress
		if st, err := os.Stat(incomplete); err == nil && st.Size() <= e.size {
			got = st.Size()
			p.bytes.Add(got)
		}
		var fetched atomic.Int64
		d := &download{client: p.client, entry: e, address: p.resolve(p.Repo, p.commit, e.path), commit: p.commit,
			slots: p.slots, part: p.part, fetched: func(n int) {
				fetched.Add(int64(n))
				p.bytes.Add(int64(n))
				p.fetched.Add(int64(n))
			}}
		err := d.to(ctx, incomplete)
		wrong := new(wrongSum)
		if !errors.As(err, &wrong) || again {
			if err == nil {
				err = os.Rename(incomplete, blob)
			}
			return err
		}
		p.bytes.Add(-got - fetched.Load())
		p.note(fmt.Sprintf("%s arrived damaged: it is downloaded again", e.path))
	}
}

// point makes pointer a relative link to blob. Where the system has no links, the file itself lies there, as Python
// does it: moved if no other pointer can need it, else copied.
func point(pointer, blob string, fresh bool) error {
	to, err := filepath.Rel(filepath.Dir(pointer), blob)
	if err != nil {
		return err
	}
	if err := os.Remove(pointer); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := link(to, pointer); err == nil || errors.Is(err, os.ErrExist) { // another process was faster
		return nil
	}
	if fresh {
		return os.Rename(blob, pointer)
	}
	from, err := os.Open(blob)
	if err != nil {
		return err
	}
	defer from.Close()
	return disk.Write(pointer, 0o666, func(w io.Writer) error {
		_, err := io.Copy(w, from)
		return err
	})
}

// link is os.Symlink; a test takes it away.
var link = os.Symlink

// setRef notes the commit of a branch or tag. It is written last: a name stands for files that are all there.
func (p *puller) setRef(revision string) error {
	if revision == p.commit {
		return nil
	}
	path := filepath.Join(p.root, "refs", filepath.FromSlash(revision))
	if old, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(old)) == p.commit {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return disk.WriteFile(path, []byte(p.commit))
}

// etag is the value of a header ETag: without quotes, and without the mark of a weak one.
func etag(s string) string { return strings.Trim(strings.TrimPrefix(s, "W/"), `"`) }
