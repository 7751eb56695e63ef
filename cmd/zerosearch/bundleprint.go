package main

import (
	"fmt"
	"path/filepath"
	"text/tabwriter"

	"github.com/zerosearch-go/zerosearch/bundle"
)

// bundleResult is what --json prints.
type bundleResult struct {
	File    string `json:"file"`
	Bytes   int64  `json:"bytes"`
	Program int64  `json:"program_bytes"`
	bundle.Manifest
	Missing []string `json:"missing,omitempty"` // what the recipe names and is not in it
}

// print says what is in the bundle.
func (r bundleResult) print(w *world) error {
	tw := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "%s\t%s\n", r.File, bytesText(r.Bytes))
	fmt.Fprintf(tw, "  zerosearch, %s\t%s\n", r.Platform, bytesText(r.Program))
	printFiles(tw, r.Files)
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	for _, m := range r.Missing {
		w.log.line("note: %s is not in it: it must be where it trains", m)
	}
	name := r.File
	if filepath.Base(name) == name {
		name = "./" + name
	}
	w.log.line("To train, here or where nothing else is: %s", shellWord(name))
	return nil
}

func printFiles(tw *tabwriter.Writer, files []bundle.File) {
	for _, f := range files {
		fmt.Fprintf(tw, "  %s\t%s\n", f.Name, bytesText(f.Bytes))
	}
}
