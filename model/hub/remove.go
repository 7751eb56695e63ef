package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/disk"
)

// Removal is what Remove would remove, or has removed.
type Removal struct {
	Repo    Repo
	Commits []string // the snapshots
	Whole   bool     // nothing of the repository stays
	Bytes   int64    // that are freed
	files   []string // blobs that no other snapshot uses
	refs    []string
	cache   string
}

// Find says what removing a name means: a repository, or one revision of it by a branch, a tag, a commit or the
// beginning of one. dataset chooses between a model and a data set of one name; nil is whichever is there.
func (s *Settings) Find(name string, dataset *bool) (*Removal, error) {
	list, _, err := s.List()
	if err != nil {
		return nil, err
	}
	repo, revision, ok := ParseName(name)
	if !ok {
		return nil, fmt.Errorf("removing %s: it is no name of the hub: write org/name or org/name@revision", name)
	}
	var found []Cached
	for _, c := range list {
		if c.Repo.Name == repo && (dataset == nil || *dataset == c.Repo.Dataset) {
			found = append(found, c)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("removing %s: the Hugging Face cache (%s) does not hold it%s: see zerosearch list", name,
			s.Cache, meant(list, repo))
	case len(found) > 1:
		return nil,
			fmt.Errorf("removing %s: a model and a data set have this name: say --dataset, or --dataset=false for "+
				"the model", name)
	}
	c := &found[0]
	commits, err := c.revisions(revision)
	if err != nil {
		return nil, fmt.Errorf("removing %s: %w", name, err)
	}
	r, err := c.removal(commits, revision == "")
	if err != nil {
		return nil, fmt.Errorf("removing %s: %w", name, err)
	}
	r.cache = s.Cache
	return r, nil
}

// meant lists names that end as name does.
func meant(list []Cached, name string) string {
	var like []string
	for _, c := range list {
		if strings.HasSuffix(strings.ToLower(c.Repo.Name), "/"+strings.ToLower(name)) {
			like = append(like, c.Repo.String())
		}
	}
	if like == nil {
		return ""
	}
	return " (it holds " + strings.Join(like, " and ") + ")"
}

// revisions are the snapshots that a revision names; all for "".
func (c *Cached) revisions(revision string) (commits []string, err error) {
	for _, s := range c.Snapshots {
		if revision == "" || s.Commit == revision || slices.Contains(s.Refs, revision) {
			commits = append(commits, s.Commit)
		}
	}
	if commits == nil && len(revision) >= 4 {
		for _, s := range c.Snapshots {
			if strings.HasPrefix(s.Commit, revision) {
				commits = append(commits, s.Commit)
			}
		}
	}
	switch {
	case revision != "" && len(commits) == 0:
		return nil, fmt.Errorf("the cache holds no revision %q of it: see zerosearch list --revisions", revision)
	case revision != "" && len(commits) > 1:
		return nil, fmt.Errorf("%q is the beginning of several commits: %s: write more of it", revision,
			strings.Join(commits, ", "))
	}
	return commits, nil
}

// removal adds up what goes with the snapshots of commits.
func (c *Cached) removal(commits []string, whole bool) (*Removal, error) {
	r := &Removal{Repo: c.Repo, Commits: commits, Whole: whole || len(commits) == len(c.Snapshots)}
	kept := map[string]bool{}
	var copies int64 // where the system has no links the files themselves lie in the snapshots
	for _, s := range c.Snapshots {
		files, err := snapshotFiles(s.Dir)
		if err != nil {
			return nil, err
		}
		goes := slices.Contains(commits, s.Commit)
		if goes {
			r.refs = append(r.refs, s.Refs...)
		}
		for _, f := range files {
			switch {
			case goes && f.blob == f.path:
				copies += f.size
			case !goes:
				kept[f.blob] = true
			}
		}
	}
	blobs, err := blobsOf(c.Dir)
	for _, b := range blobs {
		if !kept[b.path] && (r.Whole || !strings.HasSuffix(b.path, ".incomplete")) {
			r.files = append(r.files, b.path)
			r.Bytes += b.size
		}
	}
	r.Bytes += copies
	return r, err
}

// Remove removes what Find has found. It refuses while a process downloads into the repository.
func (r *Removal) Remove() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("removing %s: %w", r.Repo, err)
		}
	}()
	root, locks := filepath.Join(r.cache, r.Repo.Folder()), filepath.Join(r.cache, ".locks", r.Repo.Folder())
	release, err := lockAll(locks)
	if err != nil {
		return err
	}
	defer release()
	if r.Whole {
		if err := disk.RemoveDir(root); err != nil {
			return err
		}
		return os.RemoveAll(locks)
	}
	for _, ref := range r.refs {
		if err := remove(filepath.Join(root, "refs", filepath.FromSlash(ref))); err != nil {
			return err
		}
	}
	for _, commit := range r.Commits {
		if err := disk.RemoveDir(filepath.Join(root, "snapshots", commit)); err != nil {
			return err
		}
	}
	for _, f := range r.files {
		if err := remove(f); err != nil {
			return err
		}
	}
	return nil
}

// remove is os.Remove of what another process may have removed already.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// lockAll takes all locks of a repository.
func lockAll(dir string) (release func(), err error) {
	var all []*disk.SharedLock
	release = func() {
		for _, l := range all {
			l.Unlock()
		}
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, e := range entries {
		l, ok, lockErr := disk.TryShared(filepath.Join(dir, e.Name()))
		if err = lockErr; err == nil && !ok {
			err = errors.New("another process is downloading it: wait until it ends")
		}
		if err != nil {
			release()
			return nil, err
		}
		all = append(all, l)
	}
	return release, err
}
