package data

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/model/hub"
)

// File is the path of a file of data. A name that is no file's, written org/name/file or org/name@revision/file, is a
// file of that data set in the Hugging Face cache, unless there is a folder org; if it is not in the cache, the error
// gives the command that downloads it. Any other name stays as it is.
func File(name string) (string, error) {
	_, err := os.Stat(name)
	if !os.IsNotExist(err) {
		return name, nil
	}
	org, _, _ := strings.Cut(filepath.ToSlash(name), "/")
	repo, revision, file, ok := hub.ParseFile(filepath.ToSlash(name))
	if _, folder := os.Stat(org); !ok || folder == nil {
		return name, nil
	}
	settings, envErr := hub.FromEnv()
	if envErr != nil {
		return "", envErr
	}
	path, cacheErr := settings.File(hub.Repo{Dataset: true, Name: repo}, revision, file)
	if cacheErr != nil {
		return "", &notFound{err, cacheErr}
	}
	return path, nil
}

// notFound is the error of a name that is neither a file's nor in the cache.
type notFound struct{ disk, cache error }

func (n *notFound) Error() string {
	return n.disk.Error() + "; if it is a data set's: " + n.cache.Error()
}

func (n *notFound) Unwrap() []error { return []error{n.disk, n.cache} }
