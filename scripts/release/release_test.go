package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var built = &buildinfo.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Path: "example.com/zerosearch"},
	Deps: []*debug.Module{{Path: "github.com/Acme/x", Version: "v1.2.3", Sum: "h1:abc="},
		{Path: "old", Version: "v1.0.0", Replace: &debug.Module{Path: "new.org/y", Version: "v2.0.0-RC1"}}},
	Settings: []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "arm64"}}}

// The bill of materials is a CycloneDX document: the program, Go and every module that is linked in, each with a
// package URL, and references that exist.
func TestBillOfMaterials(t *testing.T) {
	text, err := billOfMaterials(built, "0.1.0")
	require.NoError(t, err)
	var got struct {
		BOMFormat, SpecVersion string
		Metadata               struct{ Component map[string]any }
		Components             []map[string]any
		Dependencies           []struct {
			Ref       string
			DependsOn []string
		}
	}
	require.NoError(t, json.Unmarshal(text, &got))
	require.Equal(t, []string{"CycloneDX", "1.5"}, []string{got.BOMFormat, got.SpecVersion})
	require.Equal(t, "pkg:golang/example.com/zerosearch@v0.1.0?type=module", got.Metadata.Component["purl"])
	require.Contains(t, got.Metadata.Component["properties"],
		map[string]any{"name": "go:build:GOARCH", "value": "arm64"})
	var names []any
	refs := map[string]bool{}
	for _, c := range got.Components {
		names = append(names, c["name"].(string)+" "+c["version"].(string))
		refs[c["bom-ref"].(string)] = true
	}
	require.Equal(t, []any{"std 1.26.8", "github.com/Acme/x v1.2.3", "new.org/y v2.0.0-RC1"}, names)
	require.Equal(t, []any{map[string]any{"name": "go:sum", "value": "h1:abc="}}, got.Components[1]["properties"])
	require.Equal(t, got.Metadata.Component["bom-ref"], got.Dependencies[0].Ref)
	for _, ref := range got.Dependencies[0].DependsOn {
		require.True(t, refs[ref], ref)
	}
	require.Len(t, got.Dependencies[0].DependsOn, 3)
}

// A program with the reader of PDF carries PDFium, which no module of Go is: its license and its version are listed.
func TestPDFiumIsListed(t *testing.T) {
	info := *built
	info.Deps = []*debug.Module{{Path: "github.com/tetratelabs/wazero", Version: "v1.12.0"}}
	text, err := billOfMaterials(&info, "0.1.0")
	require.NoError(t, err)
	require.Contains(t, string(text), "pkg:golang/github.com/klippa-app/go-pdfium@v1.21.4")
	script, err := os.ReadFile("../../internal/pdfium/generate.sh")
	require.NoError(t, err)
	require.Contains(t, string(script), "version="+pdfiumVersion+"\n")
	license, err := os.ReadFile("../../internal/pdfium/LICENSE")
	require.NoError(t, err)
	require.Contains(t, string(license), pdfium+" "+pdfiumVersion)
}

// Archives hold what they were given, with the program executable, and are the same bytes every time.
func TestPack(t *testing.T) {
	files := []file{{"zerosearch", true, []byte("program")}, {"LICENSE", false, []byte("text")}}
	text, err := pack("z-1", ".tar.gz", files)
	require.NoError(t, err)
	again, err := pack("z-1", ".tar.gz", files)
	require.NoError(t, err)
	require.Equal(t, text, again)
	z, err := gzip.NewReader(bytes.NewReader(text))
	require.NoError(t, err)
	for r, i := tar.NewReader(z), 0; ; i++ {
		h, err := r.Next()
		if err == io.EOF {
			require.Equal(t, 2, i)
			break
		}
		require.NoError(t, err)
		require.Equal(t, "z-1/"+files[i].name, h.Name)
		require.Equal(t, files[i].run, h.FileInfo().Mode()&0o111 != 0)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, files[i].data, data)
	}
	text, err = pack("z-1", ".zip", files)
	require.NoError(t, err)
	r, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	require.NoError(t, err)
	require.Len(t, r.File, 2)
	in, err := r.Open("z-1/zerosearch")
	require.NoError(t, err)
	data, err := io.ReadAll(in)
	require.NoError(t, err)
	require.Equal(t, "program", string(data))
}

// Every module's license is in the archive; a module without one is an error.
func TestLicenses(t *testing.T) {
	modules, root := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	write(filepath.Join(root, "LICENSE"), "license of Go")
	write(filepath.Join(modules, "github.com/!acme/x@v1.2.3/LICENSE.md"), "license of x")
	write(filepath.Join(modules, "github.com/!acme/x@v1.2.3/NOTICE"), "notice of x")
	_, err := licenses(built, modules, root)
	require.ErrorContains(t, err, "new.org/y v2.0.0-RC1 has no license in ")
	write(filepath.Join(modules, "new.org/y@v2.0.0-!r!c1/COPYING"), "license of y")
	text, err := licenses(built, modules, root)
	require.NoError(t, err)
	for _, want := range []string{"license of Go", "license of x", "notice of x", "license of y"} {
		require.Equal(t, 1, strings.Count(string(text), want), want)
	}
}
