package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/model/hub/hubtest"
)

// newHub is a hub with a model acme/tiny, of random weights, in two revisions, and a data set acme/tiny.
func newHub(t *testing.T) (url string) {
	server := hubtest.New(t)
	dir := t.TempDir()
	require.NoError(t, tinyModel(dir, 7, true))
	files := map[string]hubtest.File{"onnx/model.onnx": {Content: make([]byte, 1_234_567), Large: true}}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		files[e.Name()] = hubtest.File{Content: text, Large: filepath.Ext(e.Name()) == ".safetensors"}
	}
	server.Add("models/acme/tiny", "main", files)
	with := map[string]hubtest.File{"README.md": {Content: []byte("a model\n")}}
	for name, f := range files {
		with[name] = f
	}
	server.Add("models/acme/tiny", "v2", with)
	server.Add("datasets/acme/tiny", "main", map[string]hubtest.File{"data/train.jsonl": {Content: []byte(
		`{"question":"Who?","golden_answers":["me"]}` + "\n")}})
	return server.Hub.URL
}
