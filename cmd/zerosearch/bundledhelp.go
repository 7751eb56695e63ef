package main

import (
	"fmt"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/zerosearch-go/zerosearch/internal/commandline"
)

func asksHelp(args []string) bool {
	return slices.Contains(args, "--help") || slices.Contains(args, "-h")
}

// help says what this executable is.
func (b *bundled) help() error {
	flags, err := (&bundled{Bundle: b.Bundle, recipe: b.recipe, stdout: b.stdout, stderr: b.stderr}).parse("")
	if err != nil {
		return err
	}
	fmt.Fprintf(b.stdout,
		"A bundle: zerosearch %s for %s, with a recipe and what it needs. It trains where nothing else is.\n\n",
		b.Version, b.Platform)
	tw := tabwriter.NewWriter(b.stdout, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{b.command(), "train, or go on where it was stopped"},
		{b.command("--total-steps", "5", "--out", "other"), "flags of train win over the recipe: " +
			b.command("train", "--help")},
		{b.command("--dry-run"), "the plan, and the memory it takes"},
		{b.command("eval", "--help"), "every verb of zerosearch is here: ask, eval, report ..."},
	} {
		fmt.Fprintf(tw, "  %s\t%s\n", line[0], line[1])
	}
	fmt.Fprintf(tw, "\nIts files, %s, are unpacked to %s:\n", bytesText(b.Size()), b.folder(flags))
	printFiles(tw, b.Files)
	fmt.Fprint(tw, "\nThe recipe, where it is not the default:\n")
	for _, group := range flags.Selected().AllFlags(true) {
		for _, f := range group {
			if v, ok := b.recipe[f.Name]; ok && !isDefault(f, v) {
				fmt.Fprintf(tw, "  %s: %v\n", f.Name, commandline.Scalar(v))
			}
		}
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("writing the help: %w", err)
	}
	return nil
}

// isDefault compares as values, because the recipe writes numbers and times in another way than the tags.
func isDefault(f *kong.Flag, v any) bool {
	text := fmt.Sprint(commandline.Scalar(v))
	if x, err := strconv.ParseFloat(text, 64); err == nil {
		y, err := strconv.ParseFloat(f.Default, 64)
		return err == nil && x == y
	}
	if x, err := time.ParseDuration(text); err == nil {
		y, err := time.ParseDuration(f.Default)
		return err == nil && x == y
	}
	return text == f.Default || f.IsBool() && text == "false" && f.Default == ""
}
