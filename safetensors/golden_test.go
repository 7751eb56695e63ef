package safetensors

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
)

// everywhere runs f on the committed goldens and on the originals where these lie beside the checkout.
func everywhere(t *testing.T, rel string, f func(t *testing.T, path string)) {
	t.Run("testdata", func(t *testing.T) { f(t, filepath.Join("testdata", rel)) })
	t.Run("whole", func(t *testing.T) { f(t, goldens.Path(t, "safetensors/"+rel)) })
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, into))
}

type goldenTensor struct {
	DType  string
	Shape  []int
	Values []any // strings for floats, json.Number for integers
	Hex    *string
}

type goldenFile struct {
	Metadata map[string]string
	Tensors  map[string]goldenTensor
}

func readGood(t *testing.T, path string) map[string]goldenFile {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var files map[string]goldenFile
	require.NoError(t, d.Decode(&files))
	require.GreaterOrEqual(t, len(files), 20)
	return files
}

// Every value of every file written by the reference library.
func TestGoodGolden(t *testing.T) {
	everywhere(t, "good.json", func(t *testing.T, path string) {
		for name, want := range readGood(t, path) {
			t.Run(name, func(t *testing.T) {
				f, err := Open(filepath.Join(filepath.Dir(path), "good", name+".safetensors"))
				require.NoError(t, err)
				defer func() { require.NoError(t, f.Close()) }()
				require.Equal(t, want.Metadata, f.Metadata())
				require.Len(t, f.Names(), len(want.Tensors))
				for name, w := range want.Tensors {
					tensor, ok := f.Tensor(name)
					require.True(t, ok, name)
					require.Equal(t, w.DType, string(tensor.DType))
					require.Equal(t, w.Shape, tensor.Shape)
					if w.Hex != nil {
						require.Equal(t, *w.Hex, hex.EncodeToString(tensor.Bytes()))
					}
					compareValues(t, tensor, w.Values)
				}
			})
		}
	})
}

func compareValues(t *testing.T, tensor *Tensor, want []any) {
	t.Helper()
	require.Equal(t, len(want), tensor.Elements())
	if tensor.DType[0] != 'F' && tensor.DType != BF16 {
		compareIntegers(t, tensor, want)
		return
	}
	got := make([]float32, len(want))
	require.NoError(t, tensor.Float32(got))
	for i, w := range want {
		x, err := strconv.ParseFloat(w.(string), 64)
		require.NoError(t, err)
		same := math.Float32bits(float32(x)) == math.Float32bits(got[i]) || x != x && got[i] != got[i]
		require.True(t, same, "%s[%d]: %v, not %v", tensor.Name, i, got[i], w)
	}
	v, ok := tensor.Float32View()
	require.Equal(t, tensor.DType == F32 && littleEndian, ok)
	for i := range v {
		require.Equal(t, math.Float32bits(got[i]), math.Float32bits(v[i]))
	}
}

func compareIntegers(t *testing.T, tensor *Tensor, want []any) {
	got64, got32, fit64, fit32 := make([]int64, len(want)), make([]int32, len(want)), true, true
	for i, w := range want {
		x, err := strconv.ParseInt(w.(json.Number).String(), 10, 64)
		got64[i], fit64 = x, fit64 && err == nil
		got32[i], fit32 = int32(x), fit32 && int64(int32(x)) == x && err == nil
	}
	to64, to32 := make([]int64, len(want)), make([]int32, len(want))
	if err := tensor.Int64(to64); fit64 {
		require.NoError(t, err)
		require.Equal(t, got64, to64)
	} else {
		require.ErrorContains(t, err, "does not fit")
	}
	if err := tensor.Int32(to32); fit32 {
		require.NoError(t, err)
		require.Equal(t, got32, to32)
	} else {
		require.ErrorContains(t, err, "does not fit")
	}
}

// Written again in the library's order, every file comes out byte for byte the same.
func TestGoodRewritten(t *testing.T) {
	everywhere(t, "good", func(t *testing.T, dir string) {
		paths, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(paths), 20)
		for _, path := range paths {
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			f, err := FromBytes(path, want)
			require.NoError(t, err)
			out := filepath.Join(t.TempDir(), "out.safetensors")
			w, err := Create(out, specsOf(f), f.Metadata())
			require.NoError(t, err)
			for _, tensor := range f.tensors {
				require.NoError(t, w.Write(tensor.Name, tensor.Bytes()))
			}
			require.NoError(t, w.Close())
			got, err := os.ReadFile(out)
			require.NoError(t, err)
			// the library orders these keys at random, we sort them
			if strings.HasPrefix(filepath.Base(path), "metadata.") {
				require.Len(t, got, len(want))
				continue
			}
			require.Equal(t, want, got, path)
		}
	})
}

func specsOf(f *File) []Spec {
	var specs []Spec
	for _, t := range f.tensors {
		specs = append(specs, Spec{t.Name, t.DType, t.Shape})
	}
	return specs
}

type headerCase struct {
	Name     string
	Base64   []byte
	Verdict  string
	Stricter bool `json:"stricter_reader_may_refuse"`
	Tensors  map[string]struct {
		DType DType
		Shape []int64 // too large for a 32-bit int in one case
		Hex   string
	}
}

func readHeaderCases(t testing.TB, path string) []headerCase {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var cases []headerCase
	for line := range bytes.Lines(text) {
		var c headerCase
		require.NoError(t, json.Unmarshal(line, &c))
		cases = append(cases, c)
	}
	require.GreaterOrEqual(t, len(cases), 131)
	return cases
}

// What we refuse although the reference library accepts it.
var stricter = map[string]string{
	"duplicate_tensor":       `"x.y" is given twice`,
	"metadata_duplicate_key": `is given twice in __metadata__`,
	"info_is_array":          `expected '{', found '['`,
}

// The reference library's verdict on sound and corrupt files, through a file and through memory.
func TestHeadersGolden(t *testing.T) {
	everywhere(t, "headers.jsonl", func(t *testing.T, path string) {
		for _, c := range readHeaderCases(t, path) {
			t.Run(c.Name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "case.safetensors")
				require.NoError(t, os.WriteFile(path, c.Base64, 0o666))
				f, err := Open(path)
				_, err2 := FromBytes(path, c.Base64)
				require.Equal(t, err == nil, err2 == nil)
				if reason := stricter[c.Name]; reason != "" {
					require.True(t, c.Stricter)
					require.ErrorContains(t, err, reason)
					return
				}
				if c.Verdict != "ok" || strconv.IntSize == 32 && c.Name == "shape_zero_times_overflow" {
					requireOneLine(t, err, "safetensors: open "+path+": ")
					return
				}
				require.NoError(t, err)
				defer f.Close()
				require.Len(t, f.Names(), len(c.Tensors))
				for name, want := range c.Tensors {
					tensor, ok := f.Tensor(name)
					require.True(t, ok, name)
					require.Equal(t, want.DType, tensor.DType)
					require.Equal(t, fmt.Sprint(want.Shape), fmt.Sprint(tensor.Shape))
					require.Equal(t, want.Hex, hex.EncodeToString(tensor.Bytes()))
				}
			})
		}
	})
}

// requireOneLine demands an error of one readable line that starts as given and says more than that.
func requireOneLine(t *testing.T, err error, prefix string) {
	t.Helper()
	require.Error(t, err)
	require.True(t, strings.HasPrefix(err.Error(), prefix), "%q does not start with %q", err, prefix)
	require.Greater(t, len(err.Error()), len(prefix)+10)
	require.Less(t, len(err.Error()), len(prefix)+300)
	for _, r := range err.Error() {
		require.True(t, r >= ' ' && r != '\uFFFD', "%q is not printable", err)
	}
}

// The reference library's own unit tests.
func TestHeaderCases(t *testing.T) {
	run := func(t *testing.T, path string) {
		var list struct {
			Cases []struct {
				Name   string
				Bytes  string `json:"bytes_base64"`
				Expect string
			}
		}
		readJSON(t, path, &list)
		require.GreaterOrEqual(t, len(list.Cases), 17)
		for _, c := range list.Cases {
			file, err := base64.StdEncoding.DecodeString(c.Bytes)
			require.NoError(t, err)
			_, err = FromBytes(c.Name, file)
			require.Equal(t, c.Expect == "ok", err == nil, "%s: %v, expected %s", c.Name, err, c.Expect)
		}
	}
	t.Run("testdata", func(t *testing.T) { run(t, "testdata/header_cases.json") })
	t.Run("whole", func(t *testing.T) { run(t, goldens.Data(t, "goldens/safetensors/header_cases.json")) })
}

// Tiny checkpoints as transformers writes them, one of them in three shards.
func TestModelsGolden(t *testing.T) {
	dirs, err := filepath.Glob(goldens.Path(t, "models") + "/*/config.json")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(dirs), 10)
	for _, dir := range dirs {
		set, err := OpenDir(filepath.Dir(dir))
		require.NoError(t, err)
		require.Equal(t, "pt", set.Metadata()["format"])
		total := 0
		for _, name := range set.Names() {
			tensor, ok := set.Tensor(name)
			require.True(t, ok)
			require.NoError(t, tensor.Float32(make([]float32, tensor.Elements())))
			total += len(tensor.Bytes())
		}
		if strings.Contains(dir, "sharded") {
			require.Len(t, set.Files(), 3)
			require.Equal(t, 121984, total)
		}
		require.NoError(t, set.Close())
	}
}
