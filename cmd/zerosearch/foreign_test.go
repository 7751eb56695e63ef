package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every name of another program stands in the table once, is no flag of its own, and leads to flags that exist.
func TestForeignNames(t *testing.T) {
	program, flags := programNode(t), map[string]bool{}
	for _, verb := range program.Leaves(false) {
		for _, f := range verb.Flags {
			flags[f.Name] = true
		}
	}
	seen := map[string]bool{}
	for _, f := range foreignNames {
		require.NotEqual(t, f.Flags == "", f.Say == "", "%s: flags or a sentence", f.Names)
		for _, name := range strings.Fields(f.Names) {
			require.False(t, seen[name], "%s stands there twice", name)
			require.False(t, flags[name], "--%s is a flag", name)
			require.Equal(t, strings.ToLower(name), name)
			seen[name] = true
		}
		for _, flag := range strings.Fields(f.Flags) {
			require.True(t, flags[flag], "%s: no verb has --%s", f.Names, flag)
		}
	}
	for short, name := range shortNames {
		require.True(t, seen[name] || flags[name], "%s: no %s", short, name)
	}
}

// Nothing typed shows the help, as --help does.
func TestNothingShowsHelp(t *testing.T) {
	code, bare, stderr := zs("")
	require.Zero(t, code)
	require.Empty(t, stderr)
	_, help, _ := zs("", "--help")
	require.Equal(t, help, bare)
}
