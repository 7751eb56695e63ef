package data

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file of a data set in the Hugging Face cache is read by its name; a file of that name comes first.
func TestFileOfDataset(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("HF_HUB_CACHE", cache)
	t.Chdir(t.TempDir())
	const commit = "0123456789012345678901234567890123456789"
	root := filepath.Join(cache, "datasets--org--questions")
	path := filepath.Join(root, "snapshots", commit, "data", "a.jsonl")
	for file, text := range map[string]string{filepath.Join(root, "refs", "main"): commit,
		path: `{"question":"Who?","golden_answers":["me"]}`} {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	qs, err := Load("org/questions/data/a.jsonl")
	require.NoError(t, err)
	require.Equal(t, "Who?", qs[0].Question)
	_, err = Load("org/questions/data/b.jsonl")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "run zerosearch pull org/questions --dataset --include data/b.jsonl")
	_, err = Load("org/questions@v1/data/a.jsonl")
	require.ErrorContains(t, err, "run zerosearch pull org/questions@v1 --dataset --include data/a.jsonl")
	_, err = Load("absent.jsonl")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotContains(t, err.Error(), "pull")
	require.NoError(t, os.MkdirAll(filepath.Join("org", "questions", "data"), 0o755))
	require.NoError(t, os.WriteFile("org/questions/data/a.jsonl",
		[]byte(`{"question":"Near?","golden_answers":["me"]}`), 0o644))
	qs, err = Load("org/questions/data/a.jsonl")
	require.NoError(t, err)
	require.Equal(t, "Near?", qs[0].Question)
}
