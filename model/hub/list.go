package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Cached is a repository in the cache.
type Cached struct {
	Repo      Repo
	Dir       string
	Bytes     int64 // of all blobs, each once
	Snapshots []Snapshot
	// Incomplete are the bytes of downloads that were interrupted. Pull goes on with them.
	Incomplete int64
}

// Snapshot is a revision in the cache.
type Snapshot struct {
	Commit   string
	Dir      string
	Refs     []string // branches and tags that stand for it
	Files    int
	Bytes    int64     // each blob once
	Modified time.Time // of its newest file
}

// snapshotFile is a file of a snapshot.
type snapshotFile struct {
	path string
	blob string // what it is a link to; the file itself where the system has no links
	size int64
	at   time.Time
}

// List finds the repositories in the cache, by name. A cache that does not exist is empty. Notes say what in the folder
// could not be read as a repository.
func (s *Settings) List() (list []Cached, notes []string, err error) {
	entries, err := os.ReadDir(s.Cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("listing the Hugging Face cache: %w", err)
	}
	for _, e := range entries {
		r, ok := repoOf(e.Name())
		if !ok {
			continue
		}
		c, err := s.read(r)
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s is left out: %v", filepath.Join(s.Cache, e.Name()), err))
			continue
		}
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Cached) int {
		return strings.Compare(a.Repo.plural()+a.Repo.Name, b.Repo.plural()+b.Repo.Name)
	})
	slices.SortStableFunc(list, func(a, b Cached) int { // models first
		switch {
		case a.Repo.Dataset == b.Repo.Dataset:
			return 0
		case b.Repo.Dataset:
			return -1
		}
		return 1
	})
	return list, notes, nil
}

// repoOf is the repository of a folder of the cache.
func repoOf(folder string) (Repo, bool) {
	kind, rest, ok := strings.Cut(folder, "--")
	if !ok || kind != "models" && kind != "datasets" {
		return Repo{}, false
	}
	name, revision, ok := ParseName(strings.Replace(rest, "--", "/", 1))
	return Repo{kind == "datasets", name}, ok && revision == ""
}

// read reads one repository.
func (s *Settings) read(r Repo) (*Cached, error) {
	c := &Cached{Repo: r, Dir: filepath.Join(s.Cache, r.Folder())}
	refs, err := readRefs(filepath.Join(c.Dir, "refs"))
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(c.Dir, "snapshots"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	seen := map[string]bool{}
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		snap := Snapshot{Commit: e.Name(), Dir: filepath.Join(c.Dir, "snapshots", e.Name()), Refs: refs[e.Name()]}
		files, err := snapshotFiles(snap.Dir)
		if err != nil {
			return nil, err
		}
		own := map[string]bool{}
		for _, f := range files {
			snap.Files++
			if !own[f.blob] {
				own[f.blob] = true
				snap.Bytes += f.size
			}
			if !seen[f.blob] {
				seen[f.blob] = true
				c.Bytes += f.size
			}
			if f.at.After(snap.Modified) {
				snap.Modified = f.at
			}
		}
		c.Snapshots = append(c.Snapshots, snap)
	}
	slices.SortFunc(c.Snapshots, func(a, b Snapshot) int { return b.Modified.Compare(a.Modified) })
	blobs, err := blobsOf(c.Dir)
	for _, b := range blobs {
		switch {
		case strings.HasSuffix(b.path, ".incomplete"):
			c.Incomplete += b.size
		case !seen[b.path]:
			c.Bytes += b.size
		}
	}
	return c, err
}

// readRefs are the names below refs, by commit.
func readRefs(dir string) (map[string][]string, error) {
	refs := map[string][]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		commit, err := readRef(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		refs[commit] = append(refs[commit], filepath.ToSlash(name))
		return err
	})
	return refs, err
}

// snapshotFiles are the files of a snapshot, by path. A link whose blob is gone has size 0.
func snapshotFiles(dir string) (files []snapshotFile, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f := snapshotFile{path: path, blob: path}
		if to, err := os.Readlink(path); err == nil {
			if !filepath.IsAbs(to) {
				to = filepath.Join(filepath.Dir(path), to)
			}
			f.blob = filepath.Clean(to)
		}
		if st, err := os.Stat(path); err == nil {
			f.size, f.at = st.Size(), st.ModTime()
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

// blobsOf are the files below blobs. A link into a store that repositories share has size 0: removing it frees nothing.
func blobsOf(root string) (blobs []snapshotFile, err error) {
	entries, err := os.ReadDir(filepath.Join(root, "blobs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		b := snapshotFile{path: filepath.Join(root, "blobs", e.Name())}
		if st, err := os.Lstat(b.path); err == nil && st.Mode().IsRegular() {
			b.size, b.at = st.Size(), st.ModTime()
		}
		blobs = append(blobs, b)
	}
	return blobs, err
}
