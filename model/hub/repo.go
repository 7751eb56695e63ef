package hub

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// Repo is a repository of the hub.
type Repo struct {
	Dataset bool   // a data set; else a model
	Name    string // org/name, or name alone for a few old ones
}

// String is "org/name", or "data set org/name".
func (r Repo) String() string {
	if r.Dataset {
		return "data set " + r.Name
	}
	return r.Name
}

// Folder is the name of the repository's folder in the cache.
func (r Repo) Folder() string {
	return r.plural() + "--" + strings.ReplaceAll(r.Name, "/", "--")
}

func (r Repo) plural() string {
	if r.Dataset {
		return "datasets"
	}
	return "models"
}

// page is the path of the repository in the addresses of the hub.
func (r Repo) page() string {
	if r.Dataset {
		return "datasets/" + r.Name
	}
	return r.Name
}

// PullLine is the command that downloads r.
func (r Repo) PullLine(revision string) string {
	line := "zerosearch pull " + r.Name
	if revision != "" && revision != mainRevision {
		line += "@" + revision
	}
	if r.Dataset {
		line += " --dataset"
	}
	return line
}

// mainRevision is the branch that no revision means.
const mainRevision = "main"

var (
	namePart = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?$`)
	commitID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

// ParseName reads org/name or org/name@revision; revision is "" if none is given. ok is false for what cannot be a name
// of the hub.
func ParseName(s string) (name, revision string, ok bool) {
	name, revision, given := strings.Cut(s, "@")
	if given && !validRevision(revision) {
		return "", "", false
	}
	parts := strings.Split(name, "/")
	if len(parts) > 2 {
		return "", "", false
	}
	for _, p := range parts {
		if !namePart.MatchString(p) || strings.Contains(p, "--") || strings.Contains(p, "..") {
			return "", "", false
		}
	}
	return name, revision, true
}

// ParseRepo is ParseName with an error that says how a name is written.
func ParseRepo(s string, dataset bool) (r Repo, revision string, err error) {
	name, revision, ok := ParseName(s)
	if !ok {
		return r, "", fmt.Errorf("%q is no name of the hub: write org/name or org/name@revision", s)
	}
	return Repo{dataset, name}, revision, nil
}

// ParseFile reads org/name/file or org/name@revision/file: a file of a repository.
func ParseFile(s string) (name, revision, file string, ok bool) {
	parts := strings.SplitN(s, "/", 3)
	if len(parts) < 3 || !localPath(parts[2]) {
		return "", "", "", false
	}
	name, revision, ok = ParseName(parts[0] + "/" + parts[1])
	return name, revision, parts[2], ok
}

// validRevision reports whether a branch, tag or commit can be a path below refs.
func validRevision(s string) bool { return len(s) < 256 && localPath(s) }

// localPath reports whether a path of the hub, with slashes, names something below the folder that it is joined to.
func localPath(s string) bool {
	return s != "" && s != "." && !strings.ContainsAny(s, "\\\x00\r\n") && !strings.HasSuffix(s, "/") &&
		!strings.Contains(s, "//") && filepath.IsLocal(filepath.FromSlash(s))
}
