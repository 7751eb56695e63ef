// Package goldens finds reference values for tests: the small set that is committed under a package's testdata, and the
// whole set where it lies beside the checkout.
package goldens

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Root is the folder of the whole golden set: $ZEROSEARCH_GOLDENS, or shared/goldens beside the checkout; "" if neither exists.
func Root() string { return find("ZEROSEARCH_GOLDENS", "goldens") }

// DataRoot is the folder of the shared data sets: $ZEROSEARCH_DATA, or shared/data beside the checkout; "" if neither exists.
func DataRoot() string { return find("ZEROSEARCH_DATA", "data") }

// Path returns the file or folder rel of the whole golden set, and skips the test, saying why, where the set is absent.
func Path(t testing.TB, rel string) string {
	t.Helper()
	return need(t, Root(), rel, "ZEROSEARCH_GOLDENS")
}

// Data returns the file or folder rel of the shared data sets, and skips the test, saying why, where they are absent.
func Data(t testing.TB, rel string) string {
	t.Helper()
	return need(t, DataRoot(), rel, "ZEROSEARCH_DATA")
}

func need(t testing.TB, root, rel, env string) string {
	t.Helper()
	if root == "" {
		t.Skipf("%s: the whole reference set is not here; set %s to its folder", rel, env)
	}
	p := filepath.Join(root, filepath.FromSlash(rel))
	if _, err := os.Stat(p); err != nil {
		t.Skipf("%s is not in %s: %v", rel, root, err)
	}
	return p
}

func find(env, name string) string {
	if dir := os.Getenv(env); dir != "" {
		return dir
	}
	_, here, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(here), "..", "..", "..", "shared", name)
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return filepath.Clean(dir)
	}
	return ""
}
