package hub

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/model/hub/hubtest"
)

// random is content that no compression shortens and no two files share.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// bigSize is four parts and a rest.
const (
	bigSize  = 4*testPart + 12345
	testPart = 256 << 10
)

var big = sync.OnceValue(func() []byte { return random(1, bigSize) })

// small is a model whose weights are small enough for one request.
func small() map[string]hubtest.File {
	return map[string]hubtest.File{
		"config.json":                         {Content: []byte(`{"model_type":"llama"}`)},
		"tokenizer.json":                      {Content: random(2, 5000)},
		"model.safetensors":                   {Content: random(3, 70_000), Large: true},
		"additional_chat_templates/rag.jinja": {Content: []byte("{{ x }}")},
		"empty.txt":                           {},
		"onnx/model.onnx":                     {Content: random(4, 1000), Large: true},
		"pytorch_model.bin":                   {Content: random(5, 1000), Large: true},
	}
}

// rig is a hub and a cache.
type rig struct {
	*hubtest.Server
	t     *testing.T
	ctx   context.Context // of pull; nil does not end
	s     *Settings
	notes []string
	waits []time.Duration
	mu    sync.Mutex
}

func newRig(t *testing.T) *rig {
	h := hubtest.New(t)
	return &rig{Server: h, t: t, s: &Settings{Endpoint: h.Hub.URL, Cache: t.TempDir(), Timeout: 10 * time.Second}}
}

var model = Repo{Name: "org/tiny-model"}

// pull downloads without waiting between tries.
func (r *rig) pull(o PullOptions) (*Pulled, error) {
	if o.Repo.Name == "" {
		o.Repo = model
	}
	o.Note = func(text string) {
		r.mu.Lock()
		r.notes = append(r.notes, text)
		r.mu.Unlock()
	}
	p := newPuller(r.s, o)
	p.part = testPart
	p.wait = func(ctx context.Context, d time.Duration) error {
		r.mu.Lock()
		r.waits = append(r.waits, d)
		r.mu.Unlock()
		return ctx.Err()
	}
	out, err := p.pull(cmp.Or[context.Context](r.ctx, context.Background()))
	if err != nil {
		require.NotContains(r.t, err.Error(), "\n")
		require.NotContains(r.t, err.Error(), "secret")
	}
	return out, err
}

// requireFile compares a file of the snapshot with what the hub has.
func requireFile(t *testing.T, dir, name string, f hubtest.File) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, string(f.Content) == string(got), "%s has other content", name)
	to, err := os.Readlink(path)
	require.NoError(t, err)
	up := strings.Repeat("../", 2+strings.Count(name, "/"))
	require.Equal(t, up+"blobs/"+f.Digest(), filepath.ToSlash(to))
}

func TestPull(t *testing.T) {
	r := newRig(t)
	r.PageSize = 2
	files := small()
	commit := r.Add("models/org/tiny-model", "main", files)
	var last Progress
	got, err := r.pull(PullOptions{Progress: func(p Progress) { last = p }})
	require.NoError(t, err)
	require.Equal(t, &Pulled{Repo: model, Revision: "main", Commit: commit,
		Dir:   filepath.Join(r.s.Cache, "models--org--tiny-model", "snapshots", commit),
		Files: 5, Bytes: 70_000 + 5000 + 22 + 7, Fetched: 70_000 + 5000 + 22 + 7, LeftOut: 2, LeftSize: 2000}, got)
	require.Equal(t, Progress{Bytes: got.Bytes, Total: got.Bytes, Fetched: got.Bytes, Files: 5, Of: 5}, last)
	for name, f := range files {
		if strings.HasPrefix(name, "onnx/") || strings.HasSuffix(name, ".bin") {
			require.NoFileExists(t, filepath.Join(got.Dir, name))
			continue
		}
		requireFile(t, got.Dir, name, f)
	}
	ref, err := os.ReadFile(filepath.Join(r.s.Cache, "models--org--tiny-model", "refs", "main"))
	require.NoError(t, err)
	require.Equal(t, commit, string(ref))
	dir, err := r.s.Snapshot(model, "")
	require.NoError(t, err)
	require.Equal(t, got.Dir, dir)
	path, err := r.s.File(model, "main", "additional_chat_templates/rag.jinja")
	require.NoError(t, err)
	require.FileExists(t, path)
	_, err = r.s.File(model, "", "onnx/model.onnx")
	require.EqualError(t, err,
		fmt.Sprintf("the Hugging Face cache (%s) does not hold onnx/model.onnx of org/tiny-model: "+
			"run zerosearch pull org/tiny-model --include onnx/model.onnx", r.s.Cache))

	before := len(r.Requests())
	again, err := r.pull(PullOptions{})
	require.NoError(t, err)
	require.Zero(t, again.Fetched)
	for _, request := range r.Requests()[before:] {
		require.Contains(t, request, "/api/", "nothing is downloaded twice")
	}

	// A new commit shares the blobs that it has in common with the old one.
	files["config.json"] = hubtest.File{Content: []byte(`{"model_type":"qwen3"}`)}
	second := r.Add("models/org/tiny-model", "main", files)
	third, err := r.pull(PullOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(22), third.Fetched)
	require.Equal(t, second, third.Commit)
	requireFile(t, third.Dir, "config.json", files["config.json"])
	old, err := r.pull(PullOptions{Revision: commit})
	require.NoError(t, err)
	require.Equal(t, got.Dir, old.Dir)
	require.NoFileExists(t, filepath.Join(r.s.Cache, "models--org--tiny-model", "refs", commit))
}

// Data sets and revisions have their own addresses and folders; patterns choose files.
func TestPullDataset(t *testing.T) {
	r := newRig(t)
	r.Add("datasets/org/questions", "refs/pr/1", map[string]hubtest.File{
		"data/train.parquet": {Content: random(1, 500), Large: true}, "data/test 1.parquet": {Content: random(2, 500)},
		"README.md": {Content: []byte("hello")}})
	repo := Repo{Dataset: true, Name: "org/questions"}
	got, err := r.pull(PullOptions{Repo: repo, Revision: "refs/pr/1", Include: []string{"*.parquet"}})
	require.NoError(t, err)
	require.Equal(t, 2, got.Files)
	require.FileExists(t, filepath.Join(got.Dir, "data", "test 1.parquet"))
	require.FileExists(t, filepath.Join(r.s.Cache, "datasets--org--questions", "refs", "refs", "pr", "1"))
	path, err := r.s.File(repo, "refs/pr/1", "data/train.parquet")
	require.NoError(t, err)
	require.FileExists(t, path)
	_, err = r.pull(PullOptions{Repo: repo, Revision: "refs/pr/1", Include: []string{"*.csv"}})
	require.EqualError(t, err, "no file matches *.csv: it has README.md, data/test 1.parquet, data/train.parquet")
	_, err = r.s.Snapshot(repo, "")
	require.ErrorContains(t, err, "run zerosearch pull org/questions --dataset")
	all, err := r.pull(PullOptions{Repo: repo, Revision: "refs/pr/1"})
	require.NoError(t, err)
	require.Equal(t, 3, all.Files)
}

// A large file comes in parts, at the same time, and goes on where it was interrupted.
func TestPullLarge(t *testing.T) {
	r := newRig(t)
	file := hubtest.File{Content: big(), Large: true}
	r.Add("models/org/tiny-model", "main", map[string]hubtest.File{"model.safetensors": file})
	var inside, most atomic.Int64
	r.Before = func(w http.ResponseWriter, q *http.Request) bool {
		if r.OnStore(q) {
			now := inside.Add(1)
			defer inside.Add(-1)
			for range 10_000 { // the first request waits for a second one
				if most.Store(max(most.Load(), now, inside.Load())); most.Load() > 1 {
					break
				}
				time.Sleep(time.Millisecond)
			}
		}
		return false
	}
	got, err := r.pull(PullOptions{})
	require.NoError(t, err)
	requireFile(t, got.Dir, "model.safetensors", file)
	require.Greater(t, most.Load(), int64(1))
	ranges := 0
	for _, q := range r.Requests() {
		if strings.HasPrefix(q, "store GET") {
			require.Contains(t, q, "bytes=")
			ranges++
		}
	}
	require.Equal(t, 5, ranges)

	blob := filepath.Join(r.s.Cache, "models--org--tiny-model", "blobs", file.Digest())
	for _, c := range []struct {
		name    string
		left    []byte
		fetched int64
		note    string
	}{
		{"half", big()[:bigSize/2], bigSize - bigSize/2, ""},
		{"whole", big(), 0, ""},
		{"all but a little", big()[:bigSize-100], 100, ""},
		{"too long", append(big()[:bigSize:bigSize], 1), bigSize, ""},
		{"another beginning", random(9, 1000), bigSize - 1000 + bigSize, "model.safetensors arrived damaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.notes = nil
			require.NoError(t, os.Remove(blob))
			require.NoError(t, os.WriteFile(blob+".incomplete", c.left, 0o644))
			var last Progress
			got, err := r.pull(PullOptions{Progress: func(p Progress) { last = p }})
			require.NoError(t, err)
			require.Equal(t, c.fetched, got.Fetched)
			require.Equal(t, int64(bigSize), last.Bytes)
			require.Contains(t, strings.Join(r.notes, "\n"), c.note)
			require.Equal(t, c.note == "", len(r.notes) == 0)
			requireFile(t, got.Dir, "model.safetensors", file)
			require.NoFileExists(t, blob+".incomplete")
		})
	}
}

// Two processes share the work: the second one waits for the lock and finds the blob.
func TestPullWaitsForAnother(t *testing.T) {
	r := newRig(t)
	files := small()
	r.Add("models/org/tiny-model", "main", files)
	digest := files["model.safetensors"].Digest()
	lock, ok, err := disk.TryShared(filepath.Join(r.s.Cache, ".locks", "models--org--tiny-model", digest+".lock"))
	require.NoError(t, err)
	require.True(t, ok)
	go func() {
		for {
			r.mu.Lock()
			waits := strings.Join(r.notes, "")
			r.mu.Unlock()
			if strings.Contains(waits, "another process is downloading model.safetensors") {
				break
			}
			time.Sleep(time.Millisecond)
		}
		blobs := filepath.Join(r.s.Cache, "models--org--tiny-model", "blobs")
		os.WriteFile(filepath.Join(blobs, digest), files["model.safetensors"].Content, 0o644)
		lock.Unlock()
	}()
	got, err := r.pull(PullOptions{})
	require.NoError(t, err)
	requireFile(t, got.Dir, "model.safetensors", files["model.safetensors"])
	for _, q := range r.Requests() {
		require.NotContains(t, q, digest)
	}
}

// Where the system has no symbolic links the files lie in the snapshot themselves.
func TestPullWithoutLinks(t *testing.T) {
	defer func(was func(string, string) error) { link = was }(link)
	link = func(string, string) error { return os.ErrPermission }
	r := newRig(t)
	file := hubtest.File{Content: []byte("once")}
	r.Add("models/org/tiny-model", "main", map[string]hubtest.File{"a.txt": file})
	r.Add("models/org/tiny-model", "dev", map[string]hubtest.File{"b.txt": file})
	for range 2 {
		got, err := r.pull(PullOptions{})
		require.NoError(t, err)
		text, err := os.ReadFile(filepath.Join(got.Dir, "a.txt"))
		require.NoError(t, err)
		require.Equal(t, "once", string(text))
	}
	blob := filepath.Join(r.s.Cache, "models--org--tiny-model", "blobs", file.Digest())
	require.NoFileExists(t, blob, "moved")
	require.NoError(t, os.WriteFile(blob, file.Content, 0o644))
	got, err := r.pull(PullOptions{Revision: "dev"})
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(got.Dir, "b.txt"))
	require.FileExists(t, blob, "copied")
}

// Offline nothing is asked for.
func TestPullOffline(t *testing.T) {
	r := newRig(t)
	commit := r.Add("models/org/tiny-model", "main", small())
	r.s.Offline = true
	_, err := r.pull(PullOptions{})
	require.EqualError(t, err,
		fmt.Sprintf("the Hugging Face cache (%s) does not hold org/tiny-model: run zerosearch pull org/tiny-model "+
			"with the network, which --offline or HF_HUB_OFFLINE forbids now", r.s.Cache))
	r.s.Offline = false
	online, err := r.pull(PullOptions{})
	require.NoError(t, err)
	r.s.Offline, r.s.Endpoint = true, "http://127.0.0.1:1"
	got, err := r.pull(PullOptions{})
	require.NoError(t, err)
	require.Equal(t, commit, got.Commit)
	require.Equal(t, online.Bytes, got.Bytes)
	require.Equal(t, online.Files, got.Files)
}
