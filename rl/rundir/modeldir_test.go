package rundir

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// org/name is a folder, or else a snapshot of the Hugging Face cache.
func TestModelDirInCache(t *testing.T) {
	cache, work := t.TempDir(), t.TempDir()
	t.Setenv("HF_HUB_CACHE", cache)
	t.Chdir(work)
	const commit = "0123456789012345678901234567890123456789"
	root := filepath.Join(cache, "models--org--name")
	snapshot := filepath.Join(root, "snapshots", commit)
	put := func(file, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	_, err := ModelDir("org/name")
	require.EqualError(t, err, "opening model org/name: there is no folder of this name, and the Hugging Face cache ("+
		cache+") does not hold org/name: run zerosearch pull org/name")
	put(filepath.Join(root, "refs", "main"), commit)
	put(filepath.Join(snapshot, "tokenizer.json"), "{}")
	_, err = ModelDir("org/name")
	require.ErrorContains(t, err, "the rest of it has not been downloaded: run zerosearch pull org/name")
	put(filepath.Join(snapshot, "config.json"), "{}")
	for _, name := range []string{"org/name", "org/name@main", "org/name@" + commit} {
		dir, err := ModelDir(name)
		require.NoError(t, err)
		require.Equal(t, snapshot, dir)
	}
	_, err = ModelDir("org/name@v1")
	require.ErrorContains(t, err, "run zerosearch pull org/name@v1")
	put(filepath.Join("org", "name", "config.json"), "{}")
	dir, err := ModelDir("org/name")
	require.NoError(t, err)
	require.Equal(t, "org/name", dir, "a folder comes first")
	for _, name := range []string{"absent", "a/b/c", "../absent", "x/absent.gguf", filepath.Join(work, "x", "y")} {
		_, err = ModelDir(name)
		require.ErrorIs(t, err, os.ErrNotExist)
		require.NotContains(t, err.Error(), "pull", name)
	}
	_, err = ModelDir("org/other/x.gguf")
	require.ErrorContains(t, err, "run zerosearch pull org/other --include x.gguf")
	put(filepath.Join(snapshot, "x-Q8_0.gguf"), "GGUF")
	dir, err = ModelDir("org/name/x-Q8_0.gguf")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(snapshot, "x-Q8_0.gguf"), dir)
	for _, file := range []string{"config.json", "tokenizer.json"} {
		require.NoError(t, os.Remove(filepath.Join(snapshot, file)))
	}
	dir, err = ModelDir("org/name@main")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(snapshot, "x-Q8_0.gguf"), dir, "its only GGUF file")
	put(filepath.Join(snapshot, "x-Q4_0.gguf"), "GGUF")
	_, err = ModelDir("org/name@main")
	require.ErrorContains(t, err, "it holds 2 GGUF files: give one of them, such as")
	put(filepath.Join(root, "refs", "main"), "damaged")
	_, err = ModelDir("org/name@main")
	require.ErrorContains(t, err, "does not name a commit: remove the file")
}

func TestModelName(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"runs/first/checkpoints/step-2", "Qwen/Local"} {
		require.NoError(t, os.MkdirAll(dir, 0o755))
	}
	for name, want := range map[string]string{
		"runs/first": "first", "runs/first/": "first", "runs/first/checkpoints/step-2": "first/step-2",
		"Qwen/Local": "Local", "Qwen/Qwen2.5-0.5B": "Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B@main": "Qwen/Qwen2.5-0.5B",
	} {
		require.Equal(t, want, ModelName(name), name)
	}
}
