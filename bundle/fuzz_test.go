package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// small is a bundle in memory, as short as possible, because the fuzzer minimizes its inputs byte by byte.
func small(t testing.TB) []byte {
	var b bytes.Buffer
	b.WriteString("program")
	b.Write(mark())
	m := Manifest{Version: "v1", Platform: "here/now"}
	files := []Source{{Name: "a.yaml", Data: []byte("a: b\n")}, {Name: "b.gz", Data: []byte("abc")}}
	require.NoError(t, archive(&b, int64(len("program")), &m, files))
	return b.Bytes()
}

// opened checks a bundle that was opened without an error: its files lie inside the folder, and copied files match
// their SHA-256.
func opened(t *testing.T, data []byte) {
	b, err := read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return
	}
	for _, f := range b.Files {
		require.True(t, filepath.IsLocal(filepath.FromSlash(f.Name)), f.Name)
		h := sha256.New()
		n := &counter{w: h}
		if err := b.copy(context.Background(), f, n); err == nil {
			require.Equal(t, f.Bytes, n.n)
			require.Equal(t, f.SHA256, hex.EncodeToString(h.Sum(nil)))
		}
	}
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.w.Write(p)
}

// FuzzOpen opens a bundle in which patch replaces cut bytes at a position.
func FuzzOpen(f *testing.F) {
	whole := small(f)
	f.Add(uint16(0), uint16(0), []byte{})
	f.Add(uint16(bytes.Index(whole, []byte("a.yaml"))), uint16(6), []byte("../../"))
	f.Add(uint16(len(whole)-10), uint16(10), []byte{})
	f.Add(uint16(0), uint16(7), []byte("prog"))
	f.Fuzz(func(t *testing.T, at, cut uint16, patch []byte) {
		i := int(at) % len(whole)
		j := min(i+int(cut)%64, len(whole))
		opened(t, bytes.Join([][]byte{whole[:i], patch, whole[j:]}, nil))
	})
}

// FuzzManifest opens a valid archive with a fuzzed manifest and file name.
func FuzzManifest(f *testing.F) {
	f.Add("a", []byte(`{"files":[{"name":"a","bytes":1,"sha256":""}]}`))
	f.Add("../a", []byte(`{"files":[{"name":"../a"}]}`))
	f.Add("b", []byte(`{"files":[{"name":"b","bytes":-1}]}`))
	f.Add("c", []byte(`[1]`))
	f.Fuzz(func(t *testing.T, name string, manifest []byte) {
		var b bytes.Buffer
		b.Write(mark())
		m := Manifest{}
		if archive(&b, 0, &m, []Source{{Name: name, Data: []byte("x")}, {Name: manifestName, Data: manifest}}) == nil {
			opened(t, b.Bytes())
		}
	})
}
