package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/model/hub"
)

type pullCmd struct {
	JSON    bool     `name:"json" help:"Print the result as JSON on stdout, and nothing else."`
	Config  string   `name:"config" help:"YAML file with values for any flag, by flag name." placeholder:"FILE"`
	Name    string   `arg:"" name:"org/name" help:"Repository of the hub; @REVISION behind it is a branch, a tag or a commit (default: main)."`
	Include []string `name:"include" sep:"none" help:"Only files that match the pattern, as in '*.gguf'; may be given several times (default: what zerosearch reads of a model, all of a data set)." placeholder:"GLOB"`
	Dataset bool     `name:"dataset" help:"The repository is a data set, not a model."`
	Offline bool     `name:"offline" help:"Use no network, and print where it lies in the cache."`
}

// pulledJSON is the result of pull.
type pulledJSON struct {
	Repo     string `json:"repo"`
	Type     string `json:"type"`
	Revision string `json:"revision"`
	Commit   string `json:"commit"`
	Dir      string `json:"dir"`
	Files    int    `json:"files"`
	Bytes    int64  `json:"bytes"`
	Fetched  int64  `json:"downloaded_bytes"`
	LeftOut  int    `json:"left_out_files"`
	LeftSize int64  `json:"left_out_bytes"`
}

func (c *pullCmd) Run(w *world) error {
	w.keepsGoing()
	repo, revision, err := hub.ParseRepo(c.Name, c.Dataset)
	if err != nil {
		return usageError{err}
	}
	settings, err := hub.FromEnv()
	if err != nil {
		return err
	}
	settings.Offline = settings.Offline || c.Offline
	w.finish(func() string { return "what has come is kept, and the same command goes on with it" })
	began := time.Now()
	got, err := hub.Pull(w.ctx, settings, hub.PullOptions{Repo: repo, Revision: revision, Include: c.Include,
		Note:     w.note,
		Progress: func(p hub.Progress) { w.log.status("%s", pulling(p, time.Since(began))) }})
	w.log.done()
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(w, pulledJSON{repo.Name, repoType(repo), got.Revision, got.Commit, got.Dir, got.Files,
			got.Bytes,
			got.Fetched, got.LeftOut, got.LeftSize})
	}
	text := fmt.Sprintf("%s@%s: %s, %s", repo, got.Revision, counted(got.Files, "file"), byteSize(got.Bytes))
	if !settings.Offline {
		text += fmt.Sprintf(", %s downloaded in %s", byteSize(got.Fetched),
			time.Since(began).Round(100*time.Millisecond))
	}
	w.log.line("%s", text)
	if got.LeftOut > 0 && c.Include == nil {
		w.log.line("note: %s of %s that zerosearch does not read left out: --include '*' downloads everything",
			counted(got.LeftOut, "file"), byteSize(got.LeftSize))
	}
	_, err = fmt.Fprintln(w.out, got.Dir)
	return err
}

// pulling is the line of a download: at most 80 columns.
func pulling(p hub.Progress, since time.Duration) string {
	text := fmt.Sprintf("pulling: %d of %s, ", p.Files, counted(p.Of, "file"))
	if p.Total > 0 {
		text += fmt.Sprintf("%3d%% of %s", 100*p.Bytes/p.Total, byteSize(p.Total))
	}
	if p.Fetched > 0 && since > time.Second {
		rate := float64(p.Fetched) / since.Seconds()
		left := time.Duration(float64(p.Total-p.Bytes) / rate * float64(time.Second))
		text += fmt.Sprintf(", %s/s, ETA %s", byteSize(int64(rate)), left.Round(time.Second))
	}
	return text
}

func repoType(r hub.Repo) string {
	if r.Dataset {
		return "dataset"
	}
	return "model"
}

// counted is "1 file" or "7 files".
func counted(n int, what string) string {
	if n != 1 {
		if strings.HasSuffix(what, "y") {
			what = strings.TrimSuffix(what, "y") + "ie"
		}
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// byteSize is a number of bytes in the units of the hub's pages: powers of 1000.
func byteSize(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
