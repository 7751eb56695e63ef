package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/model/hub/hubtest"
)

// filled is a cache with two revisions of a model, another model, and a data set of the first one's name.
func filled(t *testing.T) (r *rig, old, now string) {
	r = newRig(t)
	files := small()
	old = r.Add("models/org/tiny-model", "main", files)
	_, err := r.pull(PullOptions{})
	require.NoError(t, err)
	files["config.json"] = hubtest.File{Content: []byte(`{"model_type":"qwen3","x":1}`)}
	now = r.Add("models/org/tiny-model", "main", files)
	r.Add("models/org/tiny-model", "v2", files)
	for _, revision := range []string{"main", "v2"} {
		_, err = r.pull(PullOptions{Revision: revision})
		require.NoError(t, err)
	}
	r.Add("models/other/tiny-model", "main", map[string]hubtest.File{"config.json": {Content: []byte("{}")}})
	_, err = r.pull(PullOptions{Repo: Repo{Name: "other/tiny-model"}})
	require.NoError(t, err)
	r.Add("datasets/org/tiny-model", "main", map[string]hubtest.File{"a.jsonl": {Content: []byte("{}\n{}")}})
	_, err = r.pull(PullOptions{Repo: Repo{Dataset: true, Name: "org/tiny-model"}})
	require.NoError(t, err)
	return r, old, now
}

// size is what the folder of a repository holds: links count nothing.
func size(t *testing.T, dir string) (n int64) {
	require.NoError(t, filepath.Walk(dir, func(_ string, st os.FileInfo, err error) error {
		if err == nil && st.Mode().IsRegular() && !strings.Contains(filepath.ToSlash(st.Name()), "main") {
			n += st.Size()
		}
		return err
	}))
	return n
}

func TestList(t *testing.T) {
	r, old, now := filled(t)
	root := filepath.Join(r.s.Cache, "models--org--tiny-model")
	require.NoError(t, os.WriteFile(filepath.Join(root, "blobs", "x.incomplete"), make([]byte, 77), 0o644))
	for _, other := range []string{"blobs", "models--a", "models--broken--ref/refs", "spaces--a--b"} {
		require.NoError(t, os.MkdirAll(filepath.Join(r.s.Cache, other), 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(r.s.Cache, "models--broken--ref/refs/main"), []byte("../../x"),
		0o644))
	list, notes, err := r.s.List()
	require.NoError(t, err)
	require.Len(t, notes, 1)
	require.Contains(t, notes[0], filepath.Join("refs", "main")+" does not name a commit: remove the file")
	var names []string
	for _, c := range list {
		names = append(names, c.Repo.String())
	}
	require.Equal(t, []string{"a", "org/tiny-model", "other/tiny-model", "data set org/tiny-model"}, names)
	c := list[1]
	require.Equal(t, int64(70_000+5000+7+22+28), c.Bytes)
	require.Equal(t, int64(77), c.Incomplete)
	require.Len(t, c.Snapshots, 2)
	byCommit := map[string]Snapshot{c.Snapshots[0].Commit: c.Snapshots[0], c.Snapshots[1].Commit: c.Snapshots[1]}
	require.Empty(t, byCommit[old].Refs)
	require.Equal(t, []string{"main", "v2"}, byCommit[now].Refs)
	require.Equal(t, int64(70_000+5000+7+28), byCommit[now].Bytes)
	require.Equal(t, 5, byCommit[now].Files)
	none, notes, err := (&Settings{Cache: filepath.Join(t.TempDir(), "absent")}).List()
	require.NoError(t, err)
	require.Empty(t, none)
	require.Empty(t, notes)
}

func TestRemoveRevision(t *testing.T) {
	r, old, now := filled(t)
	yes, no := true, false
	root := filepath.Join(r.s.Cache, "models--org--tiny-model")
	before := size(t, root)
	gone, err := r.s.Find("org/tiny-model@"+old[:6], &no)
	require.NoError(t, err)
	require.Equal(t, []string{old}, gone.Commits)
	require.Equal(t, int64(22), gone.Bytes, "only one blob is of no use to the other snapshot")
	require.NoError(t, gone.Remove())
	require.Equal(t, before-22, size(t, root))
	require.NoDirExists(t, filepath.Join(root, "snapshots", old))
	dir, err := r.s.Snapshot(model, "v2")
	require.NoError(t, err)
	for name, f := range small() {
		if name == "model.safetensors" {
			requireFile(t, dir, name, f)
		}
	}
	gone, err = r.s.Find("org/tiny-model@main", &no)
	require.NoError(t, err)
	require.True(t, gone.Whole, "it is the last one")
	require.Equal(t, []string{now}, gone.Commits)
	require.NoError(t, gone.Remove())
	require.NoDirExists(t, root)
	require.NoDirExists(t, filepath.Join(r.s.Cache, ".locks", "models--org--tiny-model"))
	_, err = r.s.Find("org/tiny-model", &yes)
	require.NoError(t, err, "the data set stays")
}

func TestRemoveRefuses(t *testing.T) {
	r, old, now := filled(t)
	no := false
	for name, says := range map[string]string{
		"org/tiny-model": "a model and a data set have this name: say --dataset, or --dataset=false for the " +
			"model",
		"tiny-model": "does not hold it (it holds org/tiny-model and other/tiny-model and data set " +
			"org/tiny-model)",
		"org/absent":              "does not hold it: see zerosearch list",
		"org/../tiny-model":       "no name of the hub",
		"other/tiny-model@v7":     `the cache holds no revision "v7" of it`,
		"other/tiny-model@../../": "no name of the hub",
	} {
		_, err := r.s.Find(name, nil)
		require.ErrorContains(t, err, "removing "+name+": ")
		require.ErrorContains(t, err, says)
	}
	// Commits that begin alike.
	snapshots := filepath.Join(r.s.Cache, "models--org--tiny-model", "snapshots")
	require.NoError(t, os.Rename(filepath.Join(snapshots, old), filepath.Join(snapshots, now[:39]+"x")))
	_, err := r.s.Find("org/tiny-model@"+now[:8], &no)
	require.ErrorContains(t, err, "is the beginning of several commits")

	gone, err := r.s.Find("other/tiny-model", nil)
	require.NoError(t, err)
	locks, err := filepath.Glob(filepath.Join(r.s.Cache, ".locks", "models--other--tiny-model", "*"))
	require.NoError(t, err)
	require.Len(t, locks, 1)
	lock, ok, err := disk.TryShared(locks[0])
	require.NoError(t, err)
	require.True(t, ok)
	require.ErrorContains(t, gone.Remove(), "another process is downloading it: wait until it ends")
	require.DirExists(t, filepath.Join(r.s.Cache, "models--other--tiny-model"))
	lock.Unlock()
	require.NoError(t, gone.Remove())
}

// Without symbolic links the files lie in the snapshots, and go with them.
func TestRemoveCopies(t *testing.T) {
	defer func(was func(string, string) error) { link = was }(link)
	link = func(string, string) error { return os.ErrPermission }
	r, old, _ := filled(t)
	no := false
	gone, err := r.s.Find("org/tiny-model@"+old, &no)
	require.NoError(t, err)
	root := filepath.Join(r.s.Cache, "models--org--tiny-model")
	before := size(t, root)
	require.Equal(t, int64(70_000+5000+7+22), gone.Bytes)
	require.NoError(t, gone.Remove())
	require.Equal(t, before-gone.Bytes, size(t, root))
}
