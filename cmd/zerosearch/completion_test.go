package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
)

func programNode(t *testing.T) *kong.Node {
	parser, err := newParser(&bytes.Buffer{}, &bytes.Buffer{})
	require.NoError(t, err)
	return parser.Model.Node
}

// The words of a line are separated by blanks; the last one, perhaps empty, is the one to complete.
func TestComplete(t *testing.T) {
	program := programNode(t)
	for _, c := range []struct{ line, want string }{
		{"ver", "verify version"},
		{"help be", "bench"},
		{"bench ro", "roofline"},
		{"train --alg", "--algo"},
		{"train --algo r", "rloo reinforce reinforce++ reinforce++-baseline"},
		{"train --algo=gs", "--algo=gspo"},
		{"train --algo = gs", "gspo"},
		{"train --algo =",
			"grpo dr_grpo dapo gspo cispo sapo rloo opo gpg reinforce reinforce++ reinforce++-baseline ppo"},
		{"train --model m --data", "--data"},
		{"train --model --data q --search-mode si", "simulate_prompt simulate_sft"}, // --data is the model's name here
		{"train --device c", "cpu cuda"},
		{"train --dr", "--drop-zero-variance --dry-run"},
		{"train --dry-run --kl-in ", "loss reward"},
		{"train --no-enable", "--no-enable-thinking"},
		{"eval -o ", "text md json"},
		{"eval --corpus ", ":files"},
		{"serve --model ", ":dirs"},
		{"train --simulation-llm ", "same policy :dirs"},
		{"inspect ", ":files"},
		{"completion ", "bash zsh fish"},
		{"train --seed ", ""},
		{"train --nonsense=", ""},
		{"nonsense", ""},
		{"train --ip", ""}, // hidden
	} {
		var out strings.Builder
		completed.Print(&out, program, strings.Split(c.line, " "))
		var got []string
		for line := range strings.Lines(out.String()) {
			word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			got = append(got, word)
		}
		require.Equal(t, c.want, strings.Join(got, " "), c.line)
	}
}

// The values that the completion offers stand in the help of a flag of that name, so that the two cannot drift apart.
func TestCompletedValuesAreInTheHelp(t *testing.T) {
	offered := map[string]bool{}
	for _, leaf := range programNode(t).Leaves(true) {
		for _, f := range leaf.Flags {
			found, _ := completed.Values(f)
			for _, word := range found {
				offered[f.Name+" "+word] = true
			}
		}
	}
	for name, values := range flagWords {
		for _, value := range strings.Fields(values) {
			require.True(t, offered[name+" "+value], "no verb's --%s has %s in its help", name, value)
		}
	}
}

// The scripts work in the shells themselves.
func TestCompletionInShells(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	program := "#!/bin/sh\n" + mainEnv + "=1 exec " + self + " \"$@\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "zerosearch"), []byte(program), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file.txt"), nil, 0o644))
	for shell, script := range map[string]string{
		"bash": `source <(zerosearch completion bash)
			try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _zerosearch; echo "${COMPREPLY[@]}"; }
			compopt() { :; }
			try zerosearch verif
			try zerosearch train --algo = gs
			try zerosearch inspect fil`,
		"zsh": `compdef() { :; }; source <(zerosearch completion zsh)
			_describe() { print -r -- ${(P)2%%:*}; }; _files() { echo file.txt; }; compset() { :; }
			try() { words=("$@"); CURRENT=$#; _zerosearch; }
			try zerosearch verif
			try zerosearch train --algo gs
			try zerosearch inspect fil`,
		"fish": `zerosearch completion fish | source
			complete -C 'zerosearch verif' | string split -f1 \t
			complete -C 'zerosearch train --algo gs' | string split -f1 \t
			complete -C 'zerosearch inspect fil' | string split -f1 \t; true`,
	} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("%s is not installed", shell)
			}
			c := exec.Command(path, "-c", script)
			c.Dir = dir
			c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir)
			out, err := c.CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Equal(t, "verify\ngspo\nfile.txt\n", string(out))
		})
	}
}
