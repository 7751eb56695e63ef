package hub

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/model/hub/hubtest"
)

// pythonVariable names a Python that has huggingface_hub.
const pythonVariable = "ZEROSEARCH_HUB_PYTHON"

// python runs testdata/interop.py over the cache of r.
func (r *rig) python(args ...string) *exec.Cmd {
	python := os.Getenv(pythonVariable)
	if python == "" {
		r.t.Skipf("%s names no Python with huggingface_hub (pip install huggingface_hub in a virtual environment)",
			pythonVariable)
	}
	cmd := exec.Command(python, append([]string{"testdata/interop.py"}, args...)...)
	cmd.Env = append(os.Environ(), "HF_HUB_CACHE="+r.s.Cache, "HF_HOME="+r.t.TempDir(), "HF_ENDPOINT="+r.s.Endpoint,
		"HF_HUB_DISABLE_TELEMETRY=1", "HF_HUB_DISABLE_XET=1")
	cmd.Stderr = os.Stderr
	return cmd
}

// huggingface_hub reads what we wrote: every file, every revision, every size, without a warning.
func TestPythonReadsOurs(t *testing.T) {
	r := newRig(t)
	cmd := r.python("read", "org/tiny-model")
	files := small()
	old := r.Add("models/org/tiny-model", "v1", files)
	_, err := r.pull(PullOptions{Revision: "v1", Include: []string{"*"}})
	require.NoError(t, err)
	files["config.json"] = hubtest.File{Content: []byte("{}")}
	now := r.Add("models/org/tiny-model", "main", files)
	_, err = r.pull(PullOptions{Include: []string{"*"}})
	require.NoError(t, err)
	out, err := cmd.Output()
	require.NoError(t, err)
	var got struct {
		Version  string
		Files    map[string]string
		Warnings []string
		Repos    map[string]struct {
			Size      int64
			Revisions map[string][]string
		}
	}
	require.NoError(t, json.Unmarshal(out, &got))
	t.Log("huggingface_hub", got.Version)
	require.Len(t, got.Files, len(files))
	for name, f := range files {
		sum := sha256.Sum256(f.Content)
		require.Equal(t, hex.EncodeToString(sum[:]), got.Files[name], name)
	}
	require.Empty(t, got.Warnings)
	require.Len(t, got.Repos, 1)
	theirs := got.Repos["model org/tiny-model"]
	require.Equal(t, map[string][]string{old: {"v1"}, now: {"main"}}, theirs.Revisions)
	list, _, err := r.s.List()
	require.NoError(t, err)
	require.Equal(t, theirs.Size, list[0].Bytes)

	gone, err := r.s.Find("org/tiny-model@v1", nil)
	require.NoError(t, err)
	require.NoError(t, gone.Remove())
	out, err = r.python("read", "org/tiny-model").Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &got))
	require.Empty(t, got.Warnings)
	require.Equal(t, theirs.Size-gone.Bytes, got.Repos["model org/tiny-model"].Size)
}

// We read what huggingface_hub wrote, and download nothing again.
func TestOursReadsPython(t *testing.T) {
	r := newRig(t)
	cmd := r.python("write", "org/tiny-model")
	files := small()
	commit := r.Add("models/org/tiny-model", "main", files)
	out, err := cmd.Output()
	require.NoError(t, err)
	var got struct{ Folder string }
	require.NoError(t, json.Unmarshal(out, &got))
	dir, err := r.s.Snapshot(model, "")
	require.NoError(t, err)
	require.True(t, disk.Same(got.Folder, dir))
	for name, f := range files {
		requireFile(t, dir, name, f)
	}
	list, notes, err := r.s.List()
	require.NoError(t, err)
	require.Empty(t, notes)
	require.Len(t, list, 1)
	require.Equal(t, commit, list[0].Snapshots[0].Commit)
	require.Equal(t, []string{"main"}, list[0].Snapshots[0].Refs)
	again, err := r.pull(PullOptions{Include: []string{"*"}})
	require.NoError(t, err)
	require.Zero(t, again.Fetched)
	require.Equal(t, len(files), again.Files)
}

// The lock of a download is one for both.
func TestPythonHoldsLock(t *testing.T) {
	r := newRig(t)
	lock := filepath.Join(r.s.Cache, ".locks", "x", "y.lock")
	require.NoError(t, os.MkdirAll(filepath.Dir(lock), 0o755))
	cmd := r.python("hold", "", lock)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	_, ok, err := disk.TryShared(lock)
	require.NoError(t, err)
	require.False(t, ok)
	stdin.Close()
	require.NoError(t, cmd.Wait())
	l, ok, err := disk.TryShared(lock)
	require.NoError(t, err)
	require.True(t, ok)
	l.Unlock()
}

// The command hf of huggingface_hub lists, verifies and completes what we wrote, and we see what it removes.
func TestTheirCommandReadsOurs(t *testing.T) {
	r := newRig(t)
	python := r.python().Path
	files := small()
	old := r.Add("models/org/tiny-model", "v1", files)
	_, err := r.pull(PullOptions{Revision: "v1", Include: []string{"*"}})
	require.NoError(t, err)
	files = maps.Clone(files) // the server keeps the first one for v1
	files["config.json"] = hubtest.File{Content: []byte("{}")}
	now := r.Add("models/org/tiny-model", "main", files)
	pulled, err := r.pull(PullOptions{Include: []string{"*"}})
	require.NoError(t, err)
	hf := func(args ...string) string {
		cmd := r.python()
		cmd.Path, cmd.Args = filepath.Join(filepath.Dir(python), "hf"), append([]string{"hf"}, args...)
		out, err := cmd.Output()
		require.NoError(t, err, "hf %q: %s", args, out)
		t.Logf("hf %q\n%s", args, out)
		return string(out)
	}
	require.Contains(t, hf("cache", "ls"), "model/org/tiny-model")
	revisions := hf("cache", "ls", "--revisions", "--no-truncate")
	require.Contains(t, revisions, old)
	require.Contains(t, revisions, now)
	hf("cache", "verify", "org/tiny-model")
	hf("cache", "verify", "org/tiny-model", "--revision", "v1")
	require.Contains(t, hf("download", "org/tiny-model"), pulled.Dir)
	hf("cache", "rm", old, "--yes")
	hf("cache", "prune", "--yes")
	list, _, err := r.s.List()
	require.NoError(t, err)
	require.Len(t, list, 1)
	_, err = r.s.Find("org/tiny-model@v1", nil)
	require.Error(t, err)
	hf("cache", "verify", "org/tiny-model")
	hf("cache", "rm", "model/org/tiny-model", "--yes")
	list, _, err = r.s.List()
	require.NoError(t, err)
	require.Empty(t, list)
}
