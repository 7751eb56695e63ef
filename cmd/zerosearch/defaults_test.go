package main

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/sft"
)

// The defaults of the library are those of the command line.
func TestDefaultsAgree(t *testing.T) {
	parser, err := parserWith(io.Discard, io.Discard)
	require.NoError(t, err)
	for _, verb := range []string{"train", "plan"} {
		flags, err := parser.Parse([]string{verb})
		require.NoError(t, err)
		var got rl.Config
		switch c := flags.Selected().Target.Addr().Interface().(type) {
		case *trainCmd:
			got = c.Options
		case *planCmd:
			got = c.Options
		}
		require.Equal(t, rl.Defaults(), got, verb)
	}
	flags, err := parser.Parse([]string{"sft"})
	require.NoError(t, err)
	require.Equal(t, sft.Defaults(), flags.Selected().Target.Addr().Interface().(*sftCmd).Options)
}
