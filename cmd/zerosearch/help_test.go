package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/commandline"
)

// Every flag of a verb with many flags has a heading, and the tables name no flag and no verb that does not exist.
func TestHelpTables(t *testing.T) {
	program, flags, verbs := programNode(t), map[string]bool{}, map[string]bool{}
	for _, f := range program.Flags {
		flags[f.Name] = true
	}
	for _, verb := range program.Leaves(true) {
		verbs[verb.Path()] = true
		own := map[string]bool{}
		for _, f := range verb.Flags {
			flags[f.Name], own[f.Name] = true, true
			group, _ := commandline.Help{Groups: flagGroups}.Place(f.Name, nil)
			if len(verb.Flags) >= commandline.ManyFlags && !f.Hidden {
				require.NotEqual(t, "other", group.Key, "--%s of %s has no heading: add it to flagGroups", f.Name,
					verb.Path())
			}
		}
		for _, name := range strings.Fields(verbHelps[verb.Path()].First) {
			require.True(t, own[name], "%s has no --%s", verb.Path(), name)
		}
		for _, example := range verbHelps[verb.Path()].Examples {
			require.True(t, strings.HasPrefix(example, verb.Path()+" ") || example == verb.Path(), example)
			for _, word := range strings.Fields(example) {
				if name, ok := strings.CutPrefix(word, "--"); ok {
					require.True(t, own[name], "%s: no --%s", example, name)
				}
			}
		}
	}
	for verb := range verbHelps {
		require.True(t, verbs[verb], "no verb %s", verb)
	}
	seen := map[string]bool{}
	for _, group := range flagGroups {
		for _, name := range strings.Fields(group.Flags) {
			require.True(t, flags[name], "flagGroups: no verb has --%s", name)
			require.False(t, seen[name], "flagGroups: --%s stands there twice", name)
			seen[name] = true
		}
	}
}
