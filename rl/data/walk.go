package data

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Walk calls each for every file under a folder, in alphabetical order. Names that begin with a dot are left out.
// Symbolic links are followed, except a link to one of the folders that contain it, which would never end. For a file
// or folder that cannot be read, each is called with the error. Walk stops at the first error that each returns, and
// returns it.
func Walk(folder string, each func(file string, err error) error) error {
	st, err := os.Stat(folder)
	if err != nil {
		return each(folder, err)
	}
	return walk(folder, []os.FileInfo{st}, each)
}

// walk is Walk for a subfolder; above are the folders that contain its files, this one last.
func walk(folder string, above []os.FileInfo, each func(file string, err error) error) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return each(folder, err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(folder, e.Name())
		st, err := os.Stat(path)
		switch {
		case err != nil:
			err = each(path, err)
		case st.IsDir() && slices.ContainsFunc(above, func(a os.FileInfo) bool { return os.SameFile(a, st) }):
		case st.IsDir():
			err = walk(path, append(above[:len(above):len(above)], st), each)
		case !st.Mode().IsRegular():
			err = each(path, fmt.Errorf("%s is neither a file nor a folder", path))
		default:
			err = each(path, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
