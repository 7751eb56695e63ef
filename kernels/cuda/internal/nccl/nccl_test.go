//go:build !nogpu && linux

package nccl

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/foreign"
)

// TestFind: where the library is looked for, in which order, and what is said where none can be used.
func TestFind(t *testing.T) {
	const wheel = "/v/lib/python3.12/site-packages/nvidia/nccl/lib/libnccl.so.2"
	for _, c := range []struct {
		name, set, files, want string // "NAME=KIND ...": nccl, old or other
	}{
		{"loader", "", "libnccl.so.2=nccl " + wheel + "=nccl", "libnccl.so.2"},
		{"wheel", "", wheel + "=nccl", wheel},
		{"file", "/x/libmine.so", "/x/libmine.so=nccl libnccl.so.2=nccl", "/x/libmine.so"},
		{"folder", "/y:/x", "/x/libnccl.so.2=nccl", "/x/libnccl.so.2"},
		{"empty folder", "/x", "libnccl.so.2=nccl",
			"there is no libnccl.so.2 in /x, which ZEROSEARCH_NCCL names: correct it"},
		{"off", "off", "libnccl.so.2=nccl", "switched off by ZEROSEARCH_NCCL=off"},
		{"none", "", "", "libnccl.so.2 is not found: install it by pip install nvidia-nccl-cu12 (CUDA 13: " +
			"nvidia-nccl-cu13) or apt install libnccl2, or name its folder in ZEROSEARCH_NCCL"},
		{"other library", "/x/libc.so", "/x/libc.so=other",
			"/x/libc.so is not NCCL: it has no function ncclGetVersion"},
		{"missing file", "/x/none.so", "", "/x/none.so cannot be loaded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{}
			for _, p := range strings.Fields(c.files) {
				name, kind, _ := strings.Cut(p, "=")
				files[name] = kind
			}
			m := foreign.Search{
				Env: func(name string) string { return map[string]string{Variable: c.set, "VIRTUAL_ENV": "/v"}[name] },
				Glob: func(pattern string) (found []string, err error) {
					for path := range files {
						if ok, err := filepath.Match(pattern, path); err != nil {
							return nil, err
						} else if ok {
							found = append(found, path)
						}
					}
					return found, nil
				},
				IsDir: func(path string) bool { return !strings.Contains(path, ".so") },
				Open: func(path string) (string, func(string) (uintptr, error), error) {
					switch kind, ok := files[path]; {
					case ok:
						return path, symbols(kind), nil
					case filepath.IsAbs(path):
						return path, nil, fmt.Errorf("%s cannot be loaded: no such file", path)
					}
					return path, nil, foreign.ErrAbsent
				},
			}
			l, err := find(m)
			if strings.Contains(c.want, " ") {
				require.ErrorContains(t, err, c.want)
				require.NotContains(t, err.Error(), "\n")
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, l.Path)
		})
	}
}

var version = purego.NewCallback(func(v *int32) uintptr { *v = 22105; return 0 })

// symbols are those of a library: only the version is called.
func symbols(kind string) func(string) (uintptr, error) {
	return func(string) (uintptr, error) {
		if kind == "other" {
			return 0, foreign.ErrAbsent
		}
		return version, nil
	}
}

// The numbers of versions.
func TestVersion(t *testing.T) {
	for code, want := range map[int]string{2708: "NCCL 2.7.8", 21605: "NCCL 2.16.5", 23203: "NCCL 2.32.3"} {
		require.Equal(t, want, (&Library{code: code}).Version())
	}
}

// source is a library with NCCL's declarations (nccl.h) that says what reached it.
const source = `
#include <stddef.h>
typedef struct { char internal[128]; } ncclUniqueId;
typedef struct ncclComm* ncclComm_t;
typedef void* stream;
static char text[] = "a text";
int ncclGetVersion(int* v) { *v = 22105; return 0; }
int ncclGetUniqueId(ncclUniqueId* id) { for (int i = 0; i < 128; i++) id->internal[i] = (char)(7 * i + 1); return 0; }
int ncclCommInitRank(ncclComm_t* c, int n, ncclUniqueId id, int rank) {
	for (int i = 0; i < 128; i++) if (id.internal[i] != (char)(7 * i + 1)) return 4;
	*c = (ncclComm_t)(size_t)(1000 * n + rank);
	return 0;
}
int ncclCommDestroy(ncclComm_t c) { return (size_t)c == 5003 ? 0 : 4; }
int ncclCommAbort(ncclComm_t c) { return (size_t)c == 5003 ? 0 : 4; }
const char* ncclGetErrorString(int e) { return text; }
int ncclGroupStart(void) { return 0; }
int ncclGroupEnd(void) { return 0; }
int ncclSend(const void* p, size_t n, int type, int peer, ncclComm_t c, stream s) { return 0; }
int ncclRecv(void* p, size_t n, int type, int peer, ncclComm_t c, stream s) { return 0; }
int ncclAllGather(const void* from, void* to, size_t n, int type, ncclComm_t c, stream s) { return 0; }
`

// The id reaches a C function that takes it by value, with what stands before and behind it.
func TestIDByValue(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc, which compiles a library in C, is not installed")
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nccl.c"), []byte(source), 0o600))
	path := filepath.Join(dir, "libnccl.so.2")
	out, err := exec.Command(gcc, "-O2", "-shared", "-fPIC", "-o", path, filepath.Join(dir, "nccl.c")).CombinedOutput()
	require.NoError(t, err, string(out))
	t.Setenv(Variable, dir)
	l, err := find(here)
	require.NoError(t, err)
	require.Equal(t, "NCCL 2.21.5", l.Version())
	id, err := l.ID()
	require.NoError(t, err)
	var comm uintptr
	require.EqualValues(t, 0, l.join(&comm, 5, ID{[128]byte(id)}, 3))
	require.EqualValues(t, 5003, comm)
	require.EqualValues(t, 4, l.join(&comm, 5, ID{}, 3))
	require.ErrorContains(t, l.t.check(4, "joining"),
		"joining: NCCL error 4, a text (ZEROSEARCH_NCCL=off goes on without")
	require.Equal(t, success, l.t.call(l.t.CommDestroy, comm))
}

// TestRealLibrary: NVIDIA's library has all functions, makes ids, and refuses to join where there is no GPU: .ci/nvidia
// runs it.
func TestRealLibrary(t *testing.T) {
	set := os.Getenv("ZEROSEARCH_REAL_NCCL")
	if set == "" {
		t.Skip("ZEROSEARCH_REAL_NCCL does not name NVIDIA's library: .ci/nvidia downloads it and runs this test")
	}
	t.Setenv(Variable, set)
	l, err := find(here)
	require.NoError(t, err)
	t.Log(l.Path, l.Version())
	id, err := l.ID()
	require.NoError(t, err)
	require.NotEqual(t, make([]byte, 128), id)
	var comm uintptr
	s := status(l.join(&comm, 2, ID{[128]byte(id)}, 0))
	require.NotEqual(t, success, s, "there is a GPU here: run ranks with --device cuda too")
	t.Log(l.t.check(s, "joining"))
	require.Zero(t, comm)
}
