package zerosearch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/zerosearch-go/zerosearch"

// mayImport says who may import whom directly, tests included: imports point down only. A folder's subfolders follow
// its line unless they have their own. All may import the packages of internal at the root, which import nothing of
// ours. No room of rl imports rl. Do not add an exception to make a test pass.
var mayImport = map[string][]string{
	"internal":    {},
	"":            {"rl", "engine", "model", "kernels", "tokenizer", "safetensors", "demo"},
	"num":         {},
	"safetensors": {"num"},
	"tokenizer":   {},
	"kernels":     {"num"},
	"model":       {"kernels", "safetensors", "num"},
	"engine":      {"model", "kernels", "safetensors", "num"},
	"engine/dist": {},
	"rl":          {"engine", "model", "kernels", "tokenizer", "safetensors", "num"},
	"rl/algo":     {},
	"rl/config":   {"engine", "kernels", "rl/algo", "rl/health", "rl/reward", "rl/search"},
	"rl/reward":   {"num"},
	"rl/data":     {"model/hub", "num"},
	"rl/thought":  {},
	"rl/search":   {"rl/data", "rl/reward", "rl/thought", "num"},
	"rl/episode":  {"rl/search", "rl/reward", "rl/thought", "tokenizer", "num"},
	"rl/internal": {"rl/config", "model", "kernels", "safetensors"},
	"rl/rundir":   {"rl/config", "model/hub"},
	"rl/plan":     {"rl/config", "rl/roles", "rl/rundir", "rl/internal", "engine", "model", "kernels"},
	"rl/dense":    {"rl/search", "engine", "model", "kernels", "tokenizer", "num"},
	"rl/rollout": {"rl/config", "rl/rundir", "rl/data", "rl/episode", "rl/eval", "rl/reward", "rl/search", "engine",
		"tokenizer"},
	"rl/update": {"rl/config", "rl/rundir", "rl/algo", "engine", "model", "kernels", "rl/internal"},
	"rl/roles": {"rl/config", "rl/rundir", "rl/search", "rl/dense", "rl/episode", "rl/data", "rl/thought", "engine",
		"model", "kernels", "tokenizer"},
	"rl/sft":      {"rl/config", "rl/roles", "rl/rundir", "rl/data", "engine", "model", "kernels", "tokenizer"},
	"rl/health":   {},
	"rl/verify":   {"rl/episode", "rl/rundir", "kernels", "safetensors"},
	"rl/report":   {"rl/config", "rl/health", "rl/episode", "rl/rundir", "tokenizer"},
	"rl/eval":     {"rl/reward", "rl/episode", "rl/thought", "rl/search", "rl/data", "rl/rundir", "num"},
	"rl/reader":   {"rl/eval", "rl/search", "rl/thought"},
	"rl/propose":  {"rl/reader", "rl/shards", "rl/search", "rl/data", "rl/reward", "rl/thought", "num"},
	"rl/harvest":  {"rl/episode", "rl/search", "rl/data", "rl/reward"},
	"rl/shards":   {"rl/data"},
	"rl/simulate": {"rl/reader", "rl/shards", "rl/search", "rl/data", "rl/reward", "rl/eval", "num"},
	"bundle":      {"rl/config", "rl/roles", "rl/data", "rl/rundir"},
	"demo":        {"rl", "engine", "model", "kernels", "tokenizer"},
	"bench":       {"rl", "engine", "model", "kernels", "tokenizer", "safetensors", "num"},
	"serve":       {"engine", "model", "kernels", "tokenizer", "num"},
	"serve/agent": {"serve", "rl/assistant", "rl/episode", "rl/eval", "rl/search", "rl/rollout", "tokenizer"},
	"examples":    {"rl", "engine", "model", "kernels", "tokenizer", "safetensors"},
	"cmd": {"demo", "bench", "serve", "bundle", "rl", "engine", "model", "kernels", "tokenizer", "safetensors",
		"num"},
}

func rule(dir string) (string, []string) {
	for d := dir; ; d = filepath.ToSlash(filepath.Dir(d)) {
		if d == "." {
			d = ""
		}
		if allowed, ok := mayImport[d]; ok {
			return d, allowed
		}
	}
}

func TestImportsPointDown(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), "_") ||
			strings.HasPrefix(d.Name(), ".") && path != ".") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), ".")
		room, allowed := rule(dir)
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range f.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			to, ours := strings.CutPrefix(name, module)
			if !ours {
				continue
			}
			to = strings.TrimPrefix(to, "/")
			own := to == dir || room != "" && (to == room || strings.HasPrefix(to, room+"/"))
			ok := own || strings.HasPrefix(to, "internal/") ||
				slices.ContainsFunc(allowed, func(a string) bool { return to == a || strings.HasPrefix(to, a+"/") })
			ok = ok && !(to == "rl" && strings.HasPrefix(dir, "rl/"))
			require.True(t, ok, "%s imports %s: room %q may import only %v", path, to, room, allowed)
		}
		return nil
	})
	require.NoError(t, err)
}
