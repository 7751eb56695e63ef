package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Absent is the error of what the cache does not hold.
type Absent struct {
	Repo     Repo
	Revision string // "" is the main branch
	File     string // "" is the whole repository
	Cache    string // the folder that was searched
}

// Error says what to do: the command that downloads it.
func (a *Absent) Error() string {
	what := a.Repo.String()
	if a.Revision != "" {
		what += "@" + a.Revision
	}
	pull := a.Repo.PullLine(a.Revision)
	if a.File != "" {
		what = a.File + " of " + what
		pull += " --include " + a.File
	}
	return fmt.Sprintf("the Hugging Face cache (%s) does not hold %s: run %s", a.Cache, what, pull)
}

// maxRef is the size of the longest file below refs that is read.
const maxRef = 1 << 10

// Snapshot is the folder of a repository's revision in the cache: a branch, a tag or a commit, "" for the main branch.
// What is not there is an Absent error. The network is not used.
func (s *Settings) Snapshot(r Repo, revision string) (string, error) {
	absent := &Absent{Repo: r, Revision: revision, Cache: s.Cache}
	if revision == "" {
		revision = mainRevision
	}
	root := filepath.Join(s.Cache, r.Folder())
	commit := revision
	if !commitID.MatchString(revision) {
		var err error
		if commit, err = readRef(filepath.Join(root, "refs", filepath.FromSlash(revision))); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return "", absent
			}
			return "", err
		}
	}
	dir := filepath.Join(root, "snapshots", commit)
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return "", absent
	}
	return dir, nil
}

// readRef is the commit that a file below refs names.
func readRef(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() || st.Size() > maxRef {
		return "", fs.ErrNotExist // a folder: the beginning of other revisions' names
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	commit := strings.TrimSpace(string(text))
	if !commitID.MatchString(commit) {
		return "", fmt.Errorf("reading the Hugging Face cache: %s does not name a commit: remove the file", path)
	}
	return commit, nil
}

// File is a file of a repository in the cache. What is not there is an Absent error.
func (s *Settings) File(r Repo, revision, file string) (string, error) {
	dir, err := s.Snapshot(r, revision)
	if err == nil {
		path := filepath.Join(dir, filepath.FromSlash(file))
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		err = &Absent{Repo: r, Revision: revision, Cache: s.Cache}
	}
	if absent := new(Absent); errors.As(err, &absent) {
		absent.File = file
	}
	return "", err
}
