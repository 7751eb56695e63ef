package safetensors

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/internal/disk"
)

// fileSystem is what a Writer asks of the disk; tests let each step of it fail. Errors leave out the path.
type fileSystem interface {
	// Create makes a new file beside path with room for size bytes.
	Create(path string, size int64) (f tempFile, temp string, err error)
	Rename(from, to string) error
	Remove(path string) error
	// SyncDir makes a renaming of path durable.
	SyncDir(path string) error
}

type tempFile interface {
	io.WriterAt
	Sync() error
	Close() error
}

type osFS struct{}

func (osFS) Create(path string, size int64) (tempFile, string, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, "", errors.New("something that is not a file has this name")
	}
	temp := disk.Temporary(path)
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666) // the umask decides, as for every file
	if err != nil {
		return nil, "", bare(err)
	}
	if err := reserve(f, size); err != nil {
		f.Close()
		os.Remove(temp)
		return nil, "", err
	}
	return osFile{f}, temp, nil
}

func (osFS) Rename(from, to string) error { return bare(os.Rename(from, to)) }

func (osFS) Remove(path string) error { return bare(os.Remove(path)) }

func (osFS) SyncDir(path string) error { return bare(disk.SyncDir(filepath.Dir(path))) }

// osFile is a file whose errors leave out the path.
type osFile struct{ f *os.File }

func (o osFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := o.f.WriteAt(b, at)
	return n, bare(err)
}

func (o osFile) Sync() error { return bare(o.f.Sync()) }

func (o osFile) Close() error { return bare(o.f.Close()) }
