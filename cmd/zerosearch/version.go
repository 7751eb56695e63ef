package main

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// release is the version of this source. CHANGELOG.md says what is in it.
const release = "0.1.0"

type versionCmd struct {
	JSON bool `name:"json" help:"Print the result as JSON on stdout, and nothing else."`
}

// versionInfo is the result of version.
type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"` // empty where the build knows none
	Go      string `json:"go"`
}

func (c *versionCmd) Run(w *world) error {
	info := &debug.BuildInfo{}
	if own, ok := debug.ReadBuildInfo(); ok {
		info = own
	}
	v := versionInfo{Version: release, Commit: commitOf(info), Go: info.GoVersion}
	if c.JSON {
		return writeJSON(w, v)
	}
	commit := ""
	if v.Commit != "" {
		commit = ", commit " + v.Commit
	}
	_, err := fmt.Fprintf(w.out, "zerosearch %s%s, %s\n", v.Version, commit, v.Go)
	return err
}

// version is that of this program, with its commit and compiler.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	return versionOf(release, info)
}

// versionOf is the version v of a build with its commit and compiler.
func versionOf(v string, info *debug.BuildInfo) string {
	if commit := commitOf(info); commit != "" {
		v += "+" + commit
	}
	return v + " " + info.GoVersion
}

// commitOf is the commit that a program was built from; "" where the build does not know it. Changes that are not
// committed are shown by -dirty.
func commitOf(info *debug.BuildInfo) string {
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	commit := set["vcs.revision"]
	if commit == "" { // go install module@version: a pseudo-version ends with the commit
		parts := strings.Split(info.Main.Version, "-")
		if len(parts) >= 3 {
			return parts[len(parts)-1]
		}
		return ""
	}
	commit = commit[:min(12, len(commit))]
	if set["vcs.modified"] == "true" {
		commit += "-dirty"
	}
	return commit
}
