package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/model/hub"
)

// ModelDir resolves what --model may name: a model folder stays, a run directory becomes its last checkpoint, and
// org/name or org/name@revision becomes its folder in the Hugging Face cache, unless there is a folder of that name.
// Nothing is downloaded.
func ModelDir(name string) (string, error) {
	dir, err := modelDir(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	repo, revision, ok := hub.ParseName(filepath.ToSlash(name))
	if !ok {
		return "", err
	}
	settings, envErr := hub.FromEnv()
	if envErr != nil {
		return "", fmt.Errorf("opening model %s: %w", name, envErr)
	}
	snapshot, cacheErr := settings.Snapshot(hub.Repo{Name: repo}, revision)
	if absent := new(hub.Absent); errors.As(cacheErr, &absent) && filepath.Base(repo) == repo {
		return "", err // a word without a slash is rather a folder's name than one of the hub
	}
	if cacheErr != nil {
		return "", fmt.Errorf("opening model %s: there is no folder of this name, and %w", name, cacheErr)
	}
	if dir, err = modelDir(snapshot); err != nil {
		return "", fmt.Errorf("%w: the rest of it has not been downloaded: run %s", err,
			hub.Repo{Name: repo}.PullLine(revision))
	}
	return dir, nil
}

// modelDir is ModelDir of a folder.
func modelDir(dir string) (string, error) {
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
	return "", fmt.Errorf("opening model %s: it holds neither config.json nor checkpoints/step-N: give a Hugging "+
		"Face folder or a run directory", dir)
}
