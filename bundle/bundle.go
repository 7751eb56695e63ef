// Package bundle appends files to an executable and extracts them again, so that one file holds a program and its data.
// The layout is
//
//	program | mark | zip archive, its comment of a fixed length last
//
// The operating system runs the file as the program, and zip tools can list it. The program reads the last bytes of its
// own file to find out whether it is a bundle. manifest.json in the archive lists every file with its SHA-256. The same
// program and files give the same bytes.
package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// ErrNone says that a file is not a bundle.
var ErrNone = errors.New("it is not a bundle")

// ErrDamaged says that a bundle is truncated or that a file in it does not match its SHA-256.
var ErrDamaged = errors.New("the bundle is damaged or was cut off: copy it again")

// Source is a file to put into a bundle: the file at Path, or Data if Path is "".
type Source struct {
	Name string // path in the bundle, with slashes
	Path string
	Data []byte
}

// File is a file of a bundle.
type File struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Run    bool   `json:"run,omitempty"` // it is executable
}

// Manifest describes a bundle.
type Manifest struct {
	Version  string `json:"version"`  // version of the program that made the bundle
	Platform string `json:"platform"` // such as linux/amd64
	Files    []File `json:"files"`
}

// Size is the number of bytes of all files.
func (m *Manifest) Size() (n int64) {
	for _, f := range m.Files {
		n += f.Bytes
	}
	return n
}

const manifestName = "manifest.json"

// mark stands between the program and the archive. It is assembled at run time, so that the program itself does not
// contain it.
func mark() []byte {
	return []byte(strings.ToUpper("zerosearch") + "\x00" + strings.ToUpper("bundle") + "\x00\x01\n")
}

// comment is the archive's comment, the last bytes of the file. program is the size of the executable in bytes. Its
// length is fixed.
func comment(program int64) string { return fmt.Sprintf("zerosearch bundle, program %20d\n", program) }

// tail reads the executable's size from the comment at the end of f; ErrNone if f does not end with one.
func tail(f io.ReaderAt, size int64) (program int64, err error) {
	end := make([]byte, len(comment(0)))
	if size < int64(len(end)) {
		return 0, ErrNone
	}
	if _, err := f.ReadAt(end, size-int64(len(end))); err != nil {
		return 0, err
	}
	if _, err := fmt.Sscanf(string(end), "zerosearch bundle, program %d\n", &program); err != nil ||
		string(end) != comment(program) {
		return 0, ErrNone
	}
	at := make([]byte, len(mark()))
	if program < 0 || program > size-int64(len(at)) {
		return 0, ErrDamaged
	}
	if _, err := f.ReadAt(at, program); err != nil || !bytes.Equal(at, mark()) {
		return 0, ErrDamaged
	}
	return program, nil
}

// Write writes the bundle name from the executable in the file program and from sources. If program is a bundle, only
// its executable is used. The write is atomic: if it fails or ctx ends, an existing file of that name stays as it was.
func Write(ctx context.Context, name, program string, m Manifest, sources []Source) (*Manifest, error) {
	from, err := os.Open(program)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	st, err := from.Stat()
	if err != nil {
		return nil, err
	}
	size, err := tail(from, st.Size())
	if errors.Is(err, ErrNone) {
		size, err = st.Size(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	err = disk.Write(name, 0o755, func(w io.Writer) error {
		w = &writer{ctx, w}
		if _, err := io.Copy(w, io.NewSectionReader(from, 0, size)); err != nil {
			return err
		}
		if _, err := w.Write(mark()); err != nil {
			return err
		}
		return archive(w, size, &m, sources)
	})
	if err != nil {
		return nil, err
	}
	return &m, nil
}

// writer fails when ctx has ended.
type writer struct {
	ctx context.Context
	w   io.Writer
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}

// archive writes the zip archive and adds its files to m.
func archive(w io.Writer, program int64, m *Manifest, sources []Source) error {
	z := zip.NewWriter(w)
	z.SetOffset(program + int64(len(mark())))
	if err := z.SetComment(comment(program)); err != nil {
		return err
	}
	for _, s := range sources {
		if slices.ContainsFunc(m.Files, func(f File) bool { return f.Name == s.Name }) {
			return fmt.Errorf("%s is given twice", s.Name)
		}
		f, err := put(z, s)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, f)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		_, err = put(z, Source{Name: manifestName, Data: append(text, '\n')})
	}
	if err != nil {
		return err
	}
	return z.Close()
}

// packed are the extensions of files that are stored uncompressed, because deflate hardly makes them smaller.
var packed = []string{".safetensors", ".gz", ".parquet", ".zip", ".zst"}

func put(z *zip.Writer, s Source) (File, error) {
	f := File{Name: s.Name}
	var from io.Reader = bytes.NewReader(s.Data)
	if s.Path != "" {
		file, err := os.Open(s.Path)
		if err != nil {
			return f, err
		}
		defer file.Close()
		st, err := file.Stat()
		if err != nil {
			return f, err
		}
		from, f.Run = file, st.Mode()&0o111 != 0
	}
	head := &zip.FileHeader{Name: s.Name, Method: zip.Deflate}
	if slices.Contains(packed, path.Ext(s.Name)) {
		head.Method = zip.Store
	}
	w, err := z.CreateHeader(head)
	if err != nil {
		return f, err
	}
	h := sha256.New()
	f.Bytes, err = io.Copy(io.MultiWriter(w, h), from)
	f.SHA256 = hex.EncodeToString(h.Sum(nil))
	return f, err
}

// Bundle is a bundle that is open for reading.
type Bundle struct {
	Manifest
	// ID is derived from the contents: 8 hexadecimal digits.
	ID      string
	file    io.Closer
	program int64
	zip     *zip.Reader
}

// Open opens the bundle name. If the file is not a bundle, Open returns ErrNone after reading only its last bytes.
func Open(name string) (*Bundle, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil {
		var b *Bundle
		if b, err = read(f, st.Size()); err == nil {
			b.file = f
			return b, nil
		}
	}
	f.Close()
	return nil, err
}

// read reads a bundle of size bytes.
func read(f io.ReaderAt, size int64) (b *Bundle, err error) {
	b = &Bundle{}
	if b.program, err = tail(f, size); err != nil {
		return nil, err
	}
	if b.zip, err = zip.NewReader(f, size); err != nil {
		return nil, b.damaged(err)
	}
	text, err := b.read(manifestName)
	if err != nil {
		return nil, err
	}
	if err := pyjson.Unmarshal(text, &b.Manifest); err != nil {
		return nil, b.damaged(err)
	}
	for _, f := range b.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) {
			return nil, b.damaged(fmt.Errorf("a file called %q", f.Name))
		}
	}
	h := sha256.Sum256(text)
	b.ID = hex.EncodeToString(h[:4])
	return b, nil
}

// Close closes the file.
func (b *Bundle) Close() error { return b.file.Close() }

// Program is the size of the executable in bytes.
func (b *Bundle) Program() int64 { return b.program }

func (b *Bundle) damaged(err error) error { return fmt.Errorf("%w: %w", err, ErrDamaged) }

// Read returns the content of a file after checking its SHA-256.
func (b *Bundle) Read(name string) ([]byte, error) {
	for _, f := range b.Files {
		if f.Name != name {
			continue
		}
		data, err := b.read(name)
		if err != nil {
			return nil, err
		}
		if h := sha256.Sum256(data); hex.EncodeToString(h[:]) != f.SHA256 {
			return nil, b.damaged(fmt.Errorf("%s does not match its SHA-256", name))
		}
		return data, nil
	}
	return nil, b.damaged(fmt.Errorf("no %s", name))
}

// maxText limits the bytes of a file that are read into memory.
const maxText = 64 << 20

func (b *Bundle) read(name string) ([]byte, error) {
	f, err := b.zip.Open(name)
	if err != nil {
		return nil, b.damaged(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxText))
	if err != nil {
		return nil, b.damaged(err)
	}
	return data, nil
}

// CutOff reports whether the file name contains the mark, as a truncated bundle does. It reads the file up to the mark.
func CutOff(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	m := mark()
	buf := make([]byte, 1<<16)
	kept := 0 // bytes kept from the previous read, in which the mark may begin
	for {
		n, err := f.Read(buf[kept:])
		if bytes.Contains(buf[:kept+n], m) {
			return true
		}
		if err != nil {
			return false
		}
		end := kept + n
		kept = copy(buf, buf[max(0, end-len(m)+1):end])
	}
}

// missing reports whether err says that a file does not exist.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
