package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/internal/disk"
)

// Unpack writes the files into the new folder dir, atomically. If dir exists already, its files must have the bundle's
// hashes; otherwise Unpack returns an error and changes nothing.
func (b *Bundle) Unpack(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); !missing(err) {
		return b.verify(ctx, dir)
	}
	err := disk.NewDir(dir, func(tmp string) error {
		for _, f := range b.Files {
			if err := b.extract(ctx, f, filepath.Join(tmp, filepath.FromSlash(f.Name))); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	if errors.Is(err, fs.ErrExist) { // another process unpacked it first
		return b.verify(ctx, dir)
	}
	return err
}

// extract writes one file and checks it.
func (b *Bundle) extract(ctx context.Context, f File, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if f.Run {
		mode = 0o755
	}
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	return errors.Join(b.copy(ctx, f, w), w.Close())
}

// copy writes a file's content to w. It returns an error if size or SHA-256 do not match the manifest.
func (b *Bundle) copy(ctx context.Context, f File, w io.Writer) error {
	from, err := b.zip.Open(f.Name)
	if err != nil {
		return b.damaged(err)
	}
	defer from.Close()
	h := sha256.New()
	in := &reader{ctx: ctx, r: from}
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(in, f.Bytes+1))
	switch {
	case in.err != nil && ctx.Err() == nil:
		err = b.damaged(fmt.Errorf("%s: %w", f.Name, in.err))
	case err == nil && (n != f.Bytes || hex.EncodeToString(h.Sum(nil)) != f.SHA256):
		err = b.damaged(fmt.Errorf("%s does not match its SHA-256", f.Name))
	}
	return err
}

// reader fails when ctx has ended. It keeps its error, so that the caller can tell read errors from write errors.
type reader struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		r.err = err
		return 0, err
	}
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// verify compares the files in dir with the bundle's.
func (b *Bundle) verify(ctx context.Context, dir string) error {
	for _, f := range b.Files {
		same, err := matches(ctx, f, filepath.Join(dir, filepath.FromSlash(f.Name)))
		if err != nil && !missing(err) {
			return err
		}
		if !same {
			return fmt.Errorf("%s in %s differs from the file in the bundle: remove %s, and it is unpacked again",
				f.Name, dir, dir)
		}
	}
	return nil
}

func matches(ctx context.Context, f File, path string) (bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	if st, err := file.Stat(); err != nil || st.Size() != f.Bytes {
		return false, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, &reader{ctx: ctx, r: file}); err != nil {
		return false, err
	}
	return hex.EncodeToString(h.Sum(nil)) == f.SHA256, nil
}
