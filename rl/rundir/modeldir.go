package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/model/hub"
)

// ModelDir resolves what --model may name: a model folder or a GGUF file stays, a folder with one GGUF file becomes
// that file, a run directory its last checkpoint, and org/name or org/name@revision its folder in the Hugging Face
// cache, and org/name/file.gguf that file there, unless there is a folder of that name. Nothing is downloaded.
func ModelDir(name string) (string, error) {
	dir, err := modelDir(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	settings, envErr := hub.FromEnv()
	if envErr != nil {
		return "", fmt.Errorf("opening model %s: %w", name, envErr)
	}
	if gguf.Is(name) {
		repo, revision, file, ok := hub.ParseFile(filepath.ToSlash(name))
		if !ok {
			return "", err
		}
		path, cacheErr := settings.File(hub.Repo{Name: repo}, revision, file)
		if cacheErr != nil {
			return "", fmt.Errorf("opening model %s: there is no file of this name, and %w", name, cacheErr)
		}
		return path, nil
	}
	repo, revision, ok := hub.ParseName(filepath.ToSlash(name))
	if !ok {
		return "", err
	}
	snapshot, cacheErr := settings.Snapshot(hub.Repo{Name: repo}, revision)
	if absent := new(hub.Absent); errors.As(cacheErr, &absent) && filepath.Base(repo) == repo {
		return "", err // a word without a slash is rather a folder's name than one of the hub
	}
	if cacheErr != nil {
		return "", fmt.Errorf("opening model %s: there is no folder of this name, and %w", name, cacheErr)
	}
	if dir, err = modelDir(snapshot); err != nil && ggufFiles(snapshot) == nil {
		return "", fmt.Errorf("%w: the rest of it has not been downloaded: run %s", err,
			hub.Repo{Name: repo}.PullLine(revision))
	}
	return dir, err
}

// modelDir is ModelDir of a folder.
func modelDir(dir string) (string, error) {
	if st, err := os.Stat(dir); err == nil && st.Mode().IsRegular() && gguf.Is(dir) {
		return dir, nil
	}
	for _, name := range []string{"config.json", "adapter_config.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return dir, nil
		}
	}
	if path, _, ok := Last(dir); ok {
		return path, nil
	}
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("opening model %s: %w", dir, err)
	}
	files := ggufFiles(dir)
	switch {
	case len(files) == 1:
		return files[0], nil
	case len(files) > 1:
		return "", fmt.Errorf("opening model %s: it holds %d GGUF files: give one of them, such as %s", dir, len(files),
			files[0])
	}
	return "", fmt.Errorf("opening model %s: it holds neither config.json nor checkpoints/step-N: give a Hugging "+
		"Face folder, a GGUF file or a run directory", dir)
}

func ggufFiles(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "*.gguf")) // fails for no folder only
	return files
}

// ModelName is the name of a model for clients, from what --model names: the folder's name, that of the run for a run
// directory, RUN/step-N for one of its checkpoints, and org/name for a model in the Hugging Face cache.
func ModelName(name string) string {
	if _, err := os.Stat(name); err != nil {
		if repo, _, ok := hub.ParseName(filepath.ToSlash(name)); ok {
			return repo
		}
	}
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	if parent := filepath.Dir(name); filepath.Base(parent) == "checkpoints" {
		return filepath.Base(filepath.Dir(parent)) + "/" + filepath.Base(name)
	}
	return filepath.Base(name)
}
