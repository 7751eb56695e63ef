package hub

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// entry is a file of a repository.
type entry struct {
	path   string // with slashes
	size   int64
	digest string // names its blob: SHA-256 of a large file (LFS), else the Git SHA-1
}

// treeItem is an element of the hub's listing of a revision.
type treeItem struct {
	Type string `json:"type"`
	OID  string `json:"oid"`
	Size int64  `json:"size"`
	Path string `json:"path"`
	LFS  *struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"lfs"`
}

// commit asks the hub which commit a revision is.
func (c *client) commit(ctx context.Context, r Repo, revision string) (string, error) {
	var info struct {
		SHA string `json:"sha"`
	}
	if _, err := c.getJSON(ctx, c.api(r, "revision", revision), &info); err != nil {
		return "", c.explain(r, revision, "", err)
	}
	if !commitID.MatchString(info.SHA) {
		return "", fmt.Errorf("the hub names no commit for it: is %s a Hugging Face hub?", c.Endpoint)
	}
	return info.SHA, nil
}

// files lists the files of a commit.
func (c *client) files(ctx context.Context, r Repo, commit string) ([]entry, error) {
	var out []entry
	address := c.api(r, "tree", commit) + "?recursive=true&expand=false"
	for page := 0; address != ""; page++ {
		if page == maxPages {
			return nil, fmt.Errorf("the listing of its files does not end after %d pages", page)
		}
		var items []treeItem
		next, err := c.getJSON(ctx, address, &items)
		if err != nil {
			return nil, c.explain(r, commit, "", err)
		}
		for _, item := range items {
			if item.Type != "file" {
				continue
			}
			e, err := item.entry()
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
		address = next
	}
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	for i := 1; i < len(out); i++ {
		if out[i].path == out[i-1].path {
			return nil, fmt.Errorf("the hub lists %q twice", out[i].path)
		}
	}
	return out, nil
}

// entry checks an item: its path becomes one on this machine, its digest a file's name.
func (t *treeItem) entry() (entry, error) {
	e := entry{t.Path, t.Size, t.OID}
	digits := 40
	if t.LFS != nil {
		e.size, e.digest, digits = t.LFS.Size, strings.TrimPrefix(t.LFS.OID, "sha256:"), 64
	}
	raw, err := hex.DecodeString(e.digest)
	switch {
	case !localPath(e.path):
		return e, fmt.Errorf("the hub lists a file %q, which is not a path inside the repository", e.path)
	case err != nil || 2*len(raw) != digits || strings.ToLower(e.digest) != e.digest || e.size < 0:
		return e, fmt.Errorf("the hub lists %q with size %d and digest %q, which cannot be", e.path, e.size, e.digest)
	}
	return e, nil
}

// api is an address of the hub's interface.
func (c *client) api(r Repo, what, revision string) string {
	return c.Endpoint + "/api/" + r.plural() + "/" + r.Name + "/" + what + "/" + url.PathEscape(revision)
}

// resolve is the address of a file.
func (c *client) resolve(r Repo, commit, file string) string {
	return c.Endpoint + "/" + r.page() + "/resolve/" + commit + "/" + (&url.URL{Path: file}).EscapedPath()
}

// explain says what a refusal of the hub means for a repository, and what to do.
func (c *client) explain(r Repo, revision, file string, err error) error {
	e := new(refusal)
	if !errors.As(err, &e) {
		return err
	}
	page := c.Endpoint + "/" + r.page()
	token := "set HF_TOKEN to a token that may read it"
	if c.Token != "" {
		token = "the token that is set may not read it"
	}
	switch {
	case e.code == "GatedRepo":
		return fmt.Errorf("%w: it is gated: accept its terms on %s, then %s", err, page, token)
	case e.code == "RevisionNotFound":
		return fmt.Errorf("%w: it has no revision %q: see its branches and tags on %s", err, revision, page)
	case e.code == "EntryNotFound" || e.status == http.StatusNotFound && file != "":
		return fmt.Errorf("%w: %s is listed there but not to be had: run the command again later", err, file)
	case e.status == http.StatusNotFound, e.code == "RepoNotFound",
		e.status == http.StatusUnauthorized && e.message != badToken:
		kind := "a data set of this name: leave --dataset out if it is a model"
		if !r.Dataset {
			kind = "a model of this name: add --dataset if it is a data set"
		}
		return fmt.Errorf("%w: there is no %s, or it is private: check the name, or %s", err, kind[2:], token)
	case e.status == http.StatusUnauthorized:
		return fmt.Errorf("%w: the hub does not know the token: make another one, or unset HF_TOKEN", err)
	case e.status == http.StatusForbidden:
		return fmt.Errorf("%w: see %s, and %s", err, page, token)
	case e.status == http.StatusTooManyRequests:
		return fmt.Errorf("%w: run the command again later; what has come is kept", err)
	}
	return err
}

// badToken is what the hub says of a token that it does not know.
const badToken = "Invalid credentials in Authorization header"

// match reports whether a path matches a pattern as Python's fnmatch does: * and ? match slashes too.
func match(pattern, file string) (bool, error) {
	if strings.HasSuffix(pattern, "/") {
		pattern += "*"
	}
	var re strings.Builder
	re.WriteString(`(?s)^`)
	for i := 0; i < len(pattern); i++ {
		switch b := pattern[i]; b {
		case '*':
			re.WriteString(`.*`)
		case '?':
			re.WriteString(`.`)
		case '[':
			end := strings.IndexByte(pattern[min(i+2, len(pattern)):], ']')
			if end < 0 {
				re.WriteString(`\[`)
				continue
			}
			set := pattern[i+1 : i+2+end]
			i += 2 + end
			set = strings.NewReplacer(`\`, `\\`, `[`, `\[`, `^`, `\^`).Replace(set)
			if rest, ok := strings.CutPrefix(set, "!"); ok {
				set = "^" + rest
			}
			re.WriteString("[" + set + "]")
		default:
			re.WriteString(regexp.QuoteMeta(string(b)))
		}
	}
	compiled, err := regexp.Compile(re.String() + `$`)
	if err != nil {
		return false, fmt.Errorf("the pattern %q cannot be read: write it as in *.safetensors", pattern)
	}
	return compiled.MatchString(file), nil
}

// choose splits the files of a repository into those to download and those to leave out. Patterns decide if there are
// any. Else all files of a data set are taken, and those of a model that this program reads.
func choose(all []entry, patterns []string, dataset bool) (take, leave []entry, err error) {
	wanted := func(string) (bool, error) { return true, nil }
	if len(patterns) > 0 {
		wanted = func(file string) (bool, error) {
			for _, p := range patterns {
				if ok, err := match(p, file); ok || err != nil {
					return ok, err
				}
			}
			return false, nil
		}
	} else if !dataset {
		wanted = readable(all)
	}
	for _, e := range all {
		ok, err := wanted(e.path)
		switch {
		case err != nil:
			return nil, nil, err
		case ok:
			take = append(take, e)
		default:
			leave = append(leave, e)
		}
	}
	if len(patterns) > 0 && len(take) == 0 {
		return nil, nil, fmt.Errorf("no file matches %s: it has %s", strings.Join(patterns, " "), some(all))
	}
	if len(patterns) == 0 && !dataset && slices.ContainsFunc(leave, isGGUF) && !slices.ContainsFunc(take, isWeights) {
		ggufs := slices.DeleteFunc(slices.Clone(leave), func(e entry) bool { return !isGGUF(e) })
		if len(ggufs) > 1 {
			return nil, nil, fmt.Errorf("it has several GGUF files: choose one of them with --include FILE: %s",
				some(ggufs))
		}
		take = append(take, ggufs[0])
		leave = slices.DeleteFunc(leave, isGGUF)
	}
	return take, leave, nil
}

// foreign are the ends of names of files that this program cannot use: weights in other formats, pictures, archives.
var foreign = []string{".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".onnx_data", ".ot", ".tflite",
	".pb",
	".npz", ".gguf", ".ggml", ".mlmodel", ".zip", ".tar", ".gz", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg",
	".pdf",
	".mp4", ".safetensors.md5", ".gitattributes"}

// readable chooses the files of a model that this program reads: those at the top that are not foreign, and the chat
// templates. Weights that repeat the ones of model.safetensors, under Mistral's names, are left out.
func readable(all []entry) func(string) (bool, error) {
	standard := slices.ContainsFunc(all, func(e entry) bool {
		return e.path == "model.safetensors" || e.path == "model.safetensors.index.json"
	})
	return func(file string) (bool, error) {
		if strings.HasPrefix(file, "additional_chat_templates/") {
			return true, nil
		}
		if strings.Contains(file, "/") ||
			slices.ContainsFunc(foreign, func(end string) bool {
				return strings.HasSuffix(strings.ToLower(file), end)
			}) {
			return false, nil
		}
		if standard && path.Ext(file) == ".safetensors" {
			return strings.HasPrefix(file, "model") || strings.HasPrefix(file, "adapter_model"), nil
		}
		return true, nil
	}
}

func isGGUF(e entry) bool    { return strings.HasSuffix(strings.ToLower(e.path), ".gguf") }
func isWeights(e entry) bool { return path.Ext(e.path) == ".safetensors" }

// some lists a few files.
func some(all []entry) string {
	const few = 12
	var names []string
	for _, e := range all[:min(len(all), few)] {
		names = append(names, e.path)
	}
	text := strings.Join(names, ", ")
	if n := len(all) - few; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	if text == "" {
		return "no files"
	}
	return text
}
