package bundle_test

import (
	"archive/zip"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/bundle"
)

// made writes a bundle of a small program and three files, and returns its folder.
func made(t testing.TB) (dir, name string) {
	dir = t.TempDir()
	name = filepath.Join(dir, "made")
	program, tool := filepath.Join(dir, "program"), filepath.Join(dir, "tool")
	require.NoError(t, os.WriteFile(program, []byte(strings.Repeat("program ", 100)), 0o755))
	require.NoError(t, os.WriteFile(tool, []byte("#!/bin/sh\n"), 0o755))
	m, err := bundle.Write(t.Context(), name, program, bundle.Manifest{Version: "v1", Platform: "here/now"},
		sources(tool))
	require.NoError(t, err)
	require.Len(t, m.Files, 3)
	require.EqualValues(t, 300+6+10, m.Size())
	return dir, name
}

func sources(tool string) []bundle.Source {
	return []bundle.Source{{Name: "recipe.yaml", Data: []byte("a: b\n\n")},
		{Name: "m/model.safetensors", Data: bytes.Repeat([]byte("abc"), 100)}, {Name: "bin/tool", Path: tool}}
}

func TestRoundTrip(t *testing.T) {
	dir, name := made(t)
	st, err := os.Stat(name)
	require.NoError(t, err)
	require.EqualValues(t, 0o755, st.Mode().Perm())
	b, err := bundle.Open(name)
	require.NoError(t, err)
	defer b.Close()
	require.Equal(t, "v1", b.Version)
	require.EqualValues(t, 800, b.Program())
	text, err := b.Read("recipe.yaml")
	require.NoError(t, err)
	require.Equal(t, "a: b\n\n", string(text))

	out := filepath.Join(dir, "x", "out")
	require.NoError(t, b.Unpack(context.Background(), out))
	weights, err := os.ReadFile(filepath.Join(out, "m/model.safetensors"))
	require.NoError(t, err)
	require.Equal(t, bytes.Repeat([]byte("abc"), 100), weights)
	st, err = os.Stat(filepath.Join(out, "bin/tool"))
	require.NoError(t, err)
	require.NotZero(t, st.Mode()&0o100, "a program stays one")
	require.NoError(t, b.Unpack(context.Background(), out))
	again, err := os.Stat(filepath.Join(out, "bin/tool"))
	require.NoError(t, err)
	require.True(t, os.SameFile(st, again), "what is there is used")
	left, err := os.ReadDir(filepath.Join(dir, "x"))
	require.NoError(t, err)
	require.Len(t, left, 1)

	r, err := zip.OpenReader(name) // other zip tools can read it
	require.NoError(t, err)
	defer r.Close()
	require.Len(t, r.File, 4)
	require.Equal(t, zip.Store, r.File[1].Method, "weights are stored as they are")
}

// The same program and files give the same bytes, and a bundle made from a bundle has one archive.
func TestSameBytes(t *testing.T) {
	dir, name := made(t)
	other := filepath.Join(dir, "other")
	_, err := bundle.Write(t.Context(), other, name, bundle.Manifest{Version: "v1", Platform: "here/now"},
		sources(filepath.Join(dir, "tool")))
	require.NoError(t, err)
	a, err := os.ReadFile(name)
	require.NoError(t, err)
	b, err := os.ReadFile(other)
	require.NoError(t, err)
	require.True(t, bytes.Equal(a, b))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = bundle.Write(gone, filepath.Join(dir, "never"), name, bundle.Manifest{}, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.NoFileExists(t, filepath.Join(dir, "never"))
	_, err = bundle.Write(t.Context(), other, name, bundle.Manifest{}, []bundle.Source{{Name: "a"}, {Name: "a"}})
	require.ErrorContains(t, err, "a is given twice")
	entries, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, entries, "no half of a bundle stays")
}

// A bundle truncated at any byte is detected, and a program without an archive is not a bundle.
func TestCutOff(t *testing.T) {
	dir, name := made(t)
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	cut := filepath.Join(dir, "cut")
	for n := 1; n < len(whole); n += 3 {
		require.NoError(t, os.WriteFile(cut, whole[:n], 0o755))
		_, err := bundle.Open(cut)
		require.Error(t, err)
		require.Equal(t, n >= 800+20, bundle.CutOff(cut), n)
	}
	require.False(t, bundle.CutOff(filepath.Join(dir, "program")))
	_, err = bundle.Open(filepath.Join(dir, "program"))
	require.ErrorIs(t, err, bundle.ErrNone)
	big := append(bytes.Repeat([]byte{7}, 1<<16-5), whole[800:]...) // the mark crosses the border of two reads
	require.NoError(t, os.WriteFile(cut, big[:len(big)-1], 0o755))
	require.True(t, bundle.CutOff(cut))
}

// A changed byte anywhere after the program is detected, and then nothing is unpacked.
func TestDamaged(t *testing.T) {
	dir, name := made(t)
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	bad, out := filepath.Join(dir, "bad"), filepath.Join(dir, "out")
	noticed := 0
	for n := 800; n < len(whole); n += 3 {
		changed := bytes.Clone(whole)
		changed[n] ^= 0x55
		require.NoError(t, os.WriteFile(bad, changed, 0o755))
		b, err := bundle.Open(bad)
		if err == nil {
			err = b.Unpack(context.Background(), out)
			b.Close()
		}
		if err != nil {
			noticed++
			require.NoDirExists(t, out)
			continue
		}
		os.RemoveAll(out) // the byte belongs to a date or an attribute, which is not used
	}
	require.Greater(t, noticed, 100, "a third of 300 bytes of weights was changed, and more")
}

// Unpacked files that were changed are neither used nor overwritten.
func TestUnpackedAndChanged(t *testing.T) {
	dir, name := made(t)
	b, err := bundle.Open(name)
	require.NoError(t, err)
	defer b.Close()
	out := filepath.Join(dir, "out")
	require.NoError(t, b.Unpack(context.Background(), out))
	require.NoError(t, os.WriteFile(filepath.Join(out, "recipe.yaml"), []byte("a: c\n\n"), 0o644))
	err = b.Unpack(context.Background(), out)
	require.EqualError(t, err,
		"recipe.yaml in "+out+" differs from the file in the bundle: remove "+out+", and it is unpacked again")
	require.NoError(t, os.Remove(filepath.Join(out, "recipe.yaml")))
	err = b.Unpack(context.Background(), out)
	require.ErrorContains(t, err, "differs from the file in the bundle")

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err = b.Unpack(ctx, filepath.Join(dir, "never"))
	require.ErrorIs(t, err, context.Canceled)
	halves, err := filepath.Glob(filepath.Join(dir, "*never*"))
	require.NoError(t, err)
	require.Empty(t, halves)
}

// A bundle with paths outside the folder is refused, and nothing is written.
func TestUnpackStaysInside(t *testing.T) {
	dir, name := made(t)
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	bad := filepath.Join(dir, "bad")
	for _, to := range []string{"../.tool", "/tmp/too", "a/../../"} {
		require.NoError(t, os.WriteFile(bad, bytes.ReplaceAll(whole, []byte("bin/tool"), []byte(to)), 0o755))
		b, err := bundle.Open(bad)
		if err == nil {
			err = b.Unpack(context.Background(), filepath.Join(dir, "in", "out"))
			b.Close()
		}
		require.ErrorIs(t, err, bundle.ErrDamaged, to)
		require.NoDirExists(t, filepath.Join(dir, "in", "out"))
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			require.Contains(t, []string{"made", "bad", "program", "tool", "in"}, e.Name())
		}
	}
}
