package bundle

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
)

// Program reads how the executable file was built. It refuses a file that is no executable of the module that this
// program is of.
func Program(file string) (*buildinfo.BuildInfo, error) {
	info, err := buildinfo.ReadFile(file)
	var path *os.PathError
	if errors.As(err, &path) {
		return nil, err
	}
	own, ok := debug.ReadBuildInfo()
	if err != nil || ok && info.Main.Path != own.Main.Path {
		return nil, fmt.Errorf("%s is no executable of zerosearch: build one with go build ./cmd/zerosearch, GOOS and "+
			"GOARCH set", file)
	}
	return info, nil
}

// Platform is what a program was built for, as linux/amd64.
func Platform(info *buildinfo.BuildInfo) string {
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	return set["GOOS"] + "/" + set["GOARCH"]
}
