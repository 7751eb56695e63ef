package main

import "github.com/zerosearch-go/zerosearch/model/hub"

type rmCmd struct {
	JSON    bool     `name:"json" help:"Print the result as JSON on stdout, and nothing else."`
	Names   []string `arg:"" name:"org/name" help:"Repository in the cache; with @REVISION (branch, tag, commit or its beginning) that revision alone."`
	Dataset *bool    `name:"dataset" negatable:"" help:"The repository is a data set; =false: a model (default: whichever is there)."`
	DryRun  bool     `name:"dry-run" help:"Remove nothing, and print what would be freed."`
}

// removedJSON is a repository in the result of rm.
type removedJSON struct {
	Repo    string   `json:"repo"`
	Type    string   `json:"type"`
	Commits []string `json:"commits"`
	Whole   bool     `json:"whole"`
	Bytes   int64    `json:"freed_bytes"`
}

func (c *rmCmd) Run(w *world) error {
	settings, err := hub.FromEnv()
	if err != nil {
		return err
	}
	for _, name := range c.Names { // nothing is removed unless all names are right
		if _, err := settings.Find(name, c.Dataset); err != nil {
			return err
		}
	}
	out := []removedJSON{}
	for _, name := range c.Names {
		gone, err := settings.Find(name, c.Dataset)
		if err != nil {
			return err
		}
		did := "would free"
		if !c.DryRun {
			did = "freed"
			if err := gone.Remove(); err != nil {
				return err
			}
		}
		if !c.JSON {
			w.log.line("%s: %s %s (%s)", name, did, byteSize(gone.Bytes), counted(len(gone.Commits), "revision"))
		}
		out = append(out, removedJSON{gone.Repo.Name, repoType(gone.Repo), append([]string{}, gone.Commits...),
			gone.Whole,
			gone.Bytes})
	}
	if c.JSON {
		return writeJSON(w, out)
	}
	return nil
}
