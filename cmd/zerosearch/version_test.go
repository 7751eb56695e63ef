package main

import (
	"os"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersion(t *testing.T) {
	info := func(module string, settings ...string) *debug.BuildInfo {
		b := &debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: module}}
		for i := 0; i < len(settings); i += 2 {
			b.Settings = append(b.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
		}
		return b
	}
	const commit = "0123456789abcdef0123456789abcdef01234567"
	require.Equal(t, "0.1.0+0123456789ab go1.26", versionOf("0.1.0",
		info("(devel)", "vcs.revision", commit, "vcs.modified", "false")))
	require.Equal(t, "0.1.0+0123456789ab-dirty go1.26", versionOf("0.1.0",
		info("", "vcs.revision", commit, "vcs.modified", "true")))
	require.Equal(t, "0.1.0+0123456789ab go1.26", versionOf("0.1.0", info("v0.1.1-0.20261129100000-0123456789ab")))
	require.Equal(t, "0.1.0 go1.26", versionOf("0.1.0", info("v0.1.0")))
	require.Equal(t, "0.1.0 go1.26", versionOf("0.1.0", info("(devel)")))
}

func TestVersionVerb(t *testing.T) {
	require.Regexp(t, `^zerosearch 0\.1\.0(, commit \S+)?, go\S+\n$`, mustRun(t, "", "version"))
	require.Regexp(t, `^{"version":"0\.1\.0","commit":"[^"]*","go":"go[^"]+"}\n$`, mustRun(t, "", "version", "--json"))
}

// The newest entry of CHANGELOG.md is the version that the program says it is, or what follows it.
func TestChangelogHasTheVersion(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	require.NoError(t, err)
	require.Contains(t, string(text), "\n## "+release+" ")
}
