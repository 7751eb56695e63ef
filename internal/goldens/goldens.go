// Package goldens finds reference values for tests: the small set in a package's testdata, which is committed, and the
// full set in a folder beside the checkout.
package goldens

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Root is the folder of the full golden set: $ZEROSEARCH_GOLDENS, or shared/goldens beside the checkout; "" if neither
// exists.
func Root() string { return find("ZEROSEARCH_GOLDENS", "goldens") }

// DataRoot is the folder of the shared data sets: $ZEROSEARCH_DATA, or shared/data beside the checkout; "" if neither
// exists.
func DataRoot() string { return find("ZEROSEARCH_DATA", "data") }

// Require is the environment variable that turns a skip for lack of reference values into a failure: .ci/run sets it
// where the full sets exist, so that no test is skipped unnoticed.
const Require = "ZEROSEARCH_REQUIRE_GOLDENS"

// Local returns the folder rel of testdata if it contains the file name, and the folder rel of the full golden set
// otherwise (see Path). testdata may belong to another package.
func Local(t testing.TB, testdata, rel, name string) string {
	t.Helper()
	local := filepath.Join(testdata, filepath.FromSlash(rel))
	if _, err := os.Stat(filepath.Join(local, name)); err == nil {
		return local
	}
	return Path(t, rel)
}

// Path returns the path of rel in the full golden set. If the set is absent, the test is skipped with a reason.
func Path(t testing.TB, rel string) string {
	t.Helper()
	return need(t, Root(), rel, "ZEROSEARCH_GOLDENS")
}

// Data returns the path of rel in the shared data sets. If they are absent, the test is skipped with a reason.
func Data(t testing.TB, rel string) string {
	t.Helper()
	return need(t, DataRoot(), rel, "ZEROSEARCH_DATA")
}

func need(t testing.TB, root, rel, env string) string {
	t.Helper()
	if root == "" {
		skip(t, "%s: the full reference set was not found; set %s to its folder", rel, env)
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
