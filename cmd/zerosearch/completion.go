package main

import (
	"embed"
	"fmt"
)

// completeVerb is what the completion scripts call: the words behind the program's name follow, the last one
// unfinished.
const completeVerb = "__complete"

//go:embed completion
var completionScripts embed.FS

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

func (c *completionCmd) Run(w *world) error {
	text, err := completionScripts.ReadFile("completion/" + c.Shell)
	if err == nil {
		_, err = w.out.Write(text)
	}
	if err != nil {
		return fmt.Errorf("writing the completion script: %w", err)
	}
	return nil
}
