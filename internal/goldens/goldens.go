// Package goldens finds reference values for tests: the small set that is committed under a package's testdata, and the
// whole set where it lies beside the checkout.
package goldens

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Root is the folder of the whole golden set: $ZEROSEARCH_GOLDENS, or shared/goldens beside the checkout; "" if neither
// exists.
func Root() string { return find("ZEROSEARCH_GOLDENS", "goldens") }

// DataRoot is the folder of the shared data sets: $ZEROSEARCH_DATA, or shared/data beside the checkout; "" if neither
// exists.
func DataRoot() string { return find("ZEROSEARCH_DATA", "data") }

// Require is the environment variable that turns a skip for lack of reference values into a failure: .ci/run sets it
// where the whole sets lie beside the checkout, so that none is left out unseen.
const Require = "ZEROSEARCH_REQUIRE_GOLDENS"

// Local returns the folder rel of testdata where it holds the file name, and that of the whole golden set otherwise, as
// Path does. testdata may be another package's.
func Local(t testing.TB, testdata, rel, name string) string {
	t.Helper()
	local := filepath.Join(testdata, filepath.FromSlash(rel))
	if _, err := os.Stat(filepath.Join(local, name)); err == nil {
		return local
	}
	return Path(t, rel)
}

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
		skip(t, "%s: the whole reference set is not here; set %s to its folder", rel, env)
	}
	p := filepath.Join(root, filepath.FromSlash(rel))
	if _, err := os.Stat(p); err != nil {
		skip(t, "%s is not in %s: %v", rel, root, err)
	}
	return p
}

func skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(Require) != "" {
		t.Fatalf(format+" ("+Require+" is set)", args...)
		return
	}
	t.Skipf(format, args...)
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
