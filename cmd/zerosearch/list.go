package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/zerosearch-go/zerosearch/model/hub"
)

type listCmd struct {
	JSON      bool `name:"json" help:"Print the result as JSON on stdout, and nothing else."`
	Revisions bool `name:"revisions" help:"A line for each revision instead of each repository."`
}

// cachedJSON is a repository in the result of list.
type cachedJSON struct {
	Repo       string         `json:"repo"`
	Type       string         `json:"type"`
	Dir        string         `json:"dir"`
	Bytes      int64          `json:"bytes"`
	Incomplete int64          `json:"incomplete_bytes"`
	Revisions  []revisionJSON `json:"revisions"`
}

type revisionJSON struct {
	Commit   string    `json:"commit"`
	Refs     []string  `json:"refs"`
	Dir      string    `json:"dir"`
	Files    int       `json:"files"`
	Bytes    int64     `json:"bytes"`
	Modified time.Time `json:"modified"`
}

func (c *listCmd) Run(w *world) error {
	settings, err := hub.FromEnv()
	if err != nil {
		return err
	}
	list, notes, err := settings.List()
	if err != nil {
		return err
	}
	w.notes(notes)
	if c.JSON {
		out := []cachedJSON{}
		for _, r := range list {
			one := cachedJSON{r.Repo.Name, repoType(r.Repo), r.Dir, r.Bytes, r.Incomplete, []revisionJSON{}}
			for _, s := range r.Snapshots {
				one.Revisions = append(one.Revisions, revisionJSON{s.Commit, append([]string{}, s.Refs...), s.Dir,
					s.Files,
					s.Bytes, s.Modified.UTC().Truncate(time.Second)})
			}
			out = append(out, one)
		}
		return writeJSON(w, out)
	}
	if len(list) == 0 {
		w.log.line("nothing in %s: zerosearch pull org/name downloads a model", settings.Cache)
		return nil
	}
	tw := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', 0)
	var total int64
	for _, r := range list {
		total += r.Bytes + r.Incomplete
		if c.Revisions {
			for _, s := range r.Snapshots {
				fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Repo.Name, repoType(r.Repo),
					s.Commit[:min(12, len(s.Commit))],
					byteSize(s.Bytes), counted(s.Files, "file"), strings.Join(s.Refs, " "))
			}
			continue
		}
		var refs []string
		for _, s := range r.Snapshots {
			refs = append(refs, s.Refs...)
		}
		rest := ""
		if r.Incomplete > 0 {
			rest = fmt.Sprintf("%s of interrupted downloads", byteSize(r.Incomplete))
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Repo.Name, repoType(r.Repo), byteSize(r.Bytes),
			counted(len(r.Snapshots), "revision"), strings.Join(refs, " "), rest)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	w.log.line("%s, %s in %s", counted(len(list), "repository"), byteSize(total), settings.Cache)
	return nil
}
