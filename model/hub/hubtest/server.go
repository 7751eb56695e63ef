// Package hubtest is a server that answers as the Hugging Face hub does, for tests: its interface, its files, and a
// second host for large ones, as the hub has.
package hubtest

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is a hub. Its fields may be set before a request comes.
type Server struct {
	// Hub answers requests for the interface and for small files; Store holds the large ones.
	Hub, Store *httptest.Server
	// Token opens private and gated repositories.
	Token string
	// PageSize is the number of files on a page of a listing.
	PageSize int
	// Before is called for every request, on either host; what it answers, returning true, is the answer.
	Before func(w http.ResponseWriter, r *http.Request) bool

	mu    sync.Mutex
	repos map[string]*Repo
	large map[string][]byte // by digest
	log   []string
}

// Repo is a repository.
type Repo struct {
	Private, Gated bool
	refs           map[string]*revision
}

type revision struct {
	commit string
	files  map[string]File
}

// File is a file of a repository. Large ones have the digest SHA-256, lie on another host, and are listed as LFS.
type File struct {
	Content []byte
	Large   bool
}

// Digest is the name of the file's blob.
func (f File) Digest() string {
	if f.Large {
		sum := sha256.Sum256(f.Content)
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(f.Content)), f.Content...))
	return hex.EncodeToString(sum[:])
}

// New starts a hub that ends with the test.
func New(t testing.TB) *Server {
	s := &Server{PageSize: 1000, repos: map[string]*Repo{}, large: map[string][]byte{}}
	s.Hub = httptest.NewServer(s.logged(s.hub))
	s.Store = httptest.NewServer(s.logged(s.store))
	t.Cleanup(s.Hub.Close)
	t.Cleanup(s.Store.Close)
	return s
}

// Add makes or replaces the branch of a repository, "models/org/name" or "datasets/org/name", and gives its commit.
func (s *Server) Add(name, branch string, files map[string]File) (commit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for file, f := range files {
		digest := f.Digest()
		all = append(all, file+" "+digest)
		if f.Large {
			s.large[digest] = f.Content
		}
	}
	slices.Sort(all)
	sum := sha1.Sum([]byte(name + strings.Join(all, "\n")))
	r := &revision{hex.EncodeToString(sum[:]), files}
	if s.repos[name] == nil {
		s.repos[name] = &Repo{refs: map[string]*revision{}}
	}
	s.repos[name].refs[branch], s.repos[name].refs[r.commit] = r, r
	return r.commit
}

// Repo gives a repository, to make it private or gated.
func (s *Server) Repo(name string) *Repo { return s.repos[name] }

// Requests are the requests that came: host, method, path and range. Host is "hub" or "store".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

func (s *Server) logged(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		host := "hub"
		if s.OnStore(r) {
			host = "store"
		}
		s.mu.Lock()
		s.log = append(s.log, strings.TrimSpace(host+" "+r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
		s.mu.Unlock()
		if s.Before == nil || !s.Before(w, r) {
			serve(w, r)
		}
	}
}

// OnStore reports whether a request is for the host of the large files.
func (s *Server) OnStore(r *http.Request) bool { return "http://"+r.Host == s.Store.URL }

// fail answers with an error as the hub words it.
func fail(w http.ResponseWriter, status int, code, message string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
	}
	w.Header().Set("X-Error-Message", message)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": message})
}

// hub answers /api/models/org/name/revision/main, .../tree/main and /org/name/resolve/main/file.
func (s *Server) hub(w http.ResponseWriter, r *http.Request) {
	kind, rest := "models", strings.TrimPrefix(r.URL.EscapedPath(), "/")
	api := false
	if rest, api = strings.CutPrefix(rest, "api/"); api {
		kind, rest, _ = strings.Cut(rest, "/")
	} else if after, ok := strings.CutPrefix(rest, "datasets/"); ok {
		kind, rest = "datasets", after
	}
	parts := strings.SplitN(rest, "/", 5)
	if len(parts) < 4 {
		fail(w, http.StatusNotFound, "", "Sorry, we can't find the page you are looking for.")
		return
	}
	name, what := kind+"/"+parts[0]+"/"+parts[1], parts[2]
	branch, _ := url.PathUnescape(parts[3])
	s.mu.Lock()
	repo := s.repos[name]
	s.mu.Unlock()
	known := r.Header.Get("Authorization") == "Bearer "+s.Token && s.Token != ""
	switch {
	case r.Header.Get("Authorization") != "" && !known:
		fail(w, http.StatusUnauthorized, "", "Invalid credentials in Authorization header")
		return
	case repo == nil || repo.Private && !known:
		status, message := http.StatusUnauthorized, "Invalid username or password."
		if known {
			status, message = http.StatusNotFound, "Repository not found"
		}
		fail(w, status, "RepoNotFound", message)
		return
	case repo.Gated && !known && what == "resolve":
		fail(w, http.StatusUnauthorized, "GatedRepo", "Access to model "+parts[0]+"/"+parts[1]+
			" is restricted. You must have access to it and be authenticated to access it.")
		return
	}
	rev := repo.refs[branch]
	if rev == nil {
		fail(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+branch)
		return
	}
	switch {
	case api && what == "revision":
		json.NewEncoder(w).Encode(map[string]any{"_id": "0", "id": parts[0] + "/" + parts[1], "sha": rev.commit,
			"siblings": rev.siblings(), "private": repo.Private, "gated": repo.Gated, "downloads": 7,
			"tags": []string{}})
	case api && what == "tree":
		s.tree(w, r, rev)
	case !api && what == "resolve" && len(parts) == 5:
		file, _ := url.PathUnescape(parts[4])
		s.resolve(w, r, rev, file)
	default:
		fail(w, http.StatusNotFound, "", "Sorry, we can't find the page you are looking for.")
	}
}

func (r *revision) names() (names []string) {
	for name := range r.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (r *revision) siblings() (out []map[string]string) {
	for _, name := range r.names() {
		out = append(out, map[string]string{"rfilename": name})
	}
	return out
}

// tree answers with a page of files and folders, and a link to the next page.
func (s *Server) tree(w http.ResponseWriter, r *http.Request, rev *revision) {
	items := []map[string]any{}
	folders := map[string]bool{}
	for _, name := range rev.names() {
		for dir := path.Dir(name); dir != "." && !folders[dir]; dir = path.Dir(dir) {
			folders[dir] = true
			items = append(items, map[string]any{"type": "directory", "oid": strings.Repeat("d", 40), "size": 0,
				"path": dir})
		}
		f := rev.files[name]
		item := map[string]any{"type": "file", "oid": File{Content: f.Content}.Digest(), "size": len(f.Content),
			"path": name}
		if f.Large {
			item["oid"] = strings.Repeat("e", 40) // of the pointer
			item["lfs"] = map[string]any{"oid": f.Digest(), "size": len(f.Content), "pointerSize": 134}
		}
		items = append(items, item)
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	to := min(from+s.PageSize, len(items))
	if to < len(items) {
		q := r.URL.Query()
		q.Set("cursor", strconv.Itoa(to))
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, s.Hub.URL, r.URL.Path, q.Encode()))
	}
	json.NewEncoder(w).Encode(items[from:to])
}

// resolve answers with a small file, or with the address of a large one.
func (s *Server) resolve(w http.ResponseWriter, r *http.Request, rev *revision, name string) {
	w.Header().Set("X-Repo-Commit", rev.commit)
	f, ok := rev.files[name]
	if !ok {
		fail(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	w.Header().Set("ETag", `"`+f.Digest()+`"`)
	if !f.Large {
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(f.Content))
		return
	}
	w.Header().Set("X-Linked-Etag", `"`+f.Digest()+`"`)
	w.Header().Set("X-Linked-Size", strconv.Itoa(len(f.Content)))
	w.Header().Set("Location", s.Store.URL+"/"+f.Digest()+"?Signature=secret")
	w.WriteHeader(http.StatusFound)
}

// store answers as the stores of large files do: it wants the signature, and no other authorization beside it.
func (s *Server) store(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" || r.URL.Query().Get("Signature") != "secret" {
		http.Error(w, "Only one auth mechanism allowed", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	content, ok := s.large[strings.TrimPrefix(r.URL.Path, "/")]
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", `"5d41402abc4b2a76b9719d911017c592-2"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}
