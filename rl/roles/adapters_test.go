package roles

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// folders makes model folders and adapters under dir: a value is the content of model.safetensors, or for an adapter
// "over:" and the base that it names.
func folders(t *testing.T, dir string, all map[string]string) {
	t.Helper()
	for name, text := range all {
		at := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(at, 0o755))
		files := map[string]string{"config.json": "{}", "model.safetensors": text}
		if base, ok := strings.CutPrefix(text, "over:"); ok {
			files = map[string]string{
				"adapter_config.json": `{"peft_type":"LORA","r":2,"lora_alpha":4,"target_modules":["q_proj"],"base_model_name_or_path":"` +
					filepath.ToSlash(base) + `"}`}
		}
		for file, text := range files {
			require.NoError(t, os.WriteFile(filepath.Join(at, file), []byte(text), 0o644))
		}
	}
}

func TestAdapterBase(t *testing.T) {
	dir := t.TempDir()
	folders(t, dir, map[string]string{
		"w/base": "one", "w/deep/models/base": "two", "elsewhere/base": "three",
		"w/a": "over:base", "w/runs/r/checkpoints/step-2": "over:base", "w/deep/b": "over:../base",
		"w/abs": "over:" + filepath.Join(dir, "w/base"), "w/none": "over:", "w/lost": "over:org/lost",
		"w/runs/moved": "over:" + filepath.Join(dir, "gone/base"), "w/deep/moved": "over:" + filepath.Join(dir,
			"gone/models/base"),
		"w/runs/self/checkpoints/step-2": "over:" + filepath.Join(dir, "gone/checkpoints/step-2"),
		"w/run/checkpoints/step-3":       "whole", "w/onrun": "over:run",
	})
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	for _, c := range []struct{ from, adapter, base, note string }{
		{"w", "a", "base", ""},
		{"elsewhere", at("w/a"), "base", "there is another one in " + at("w/base")},
		{"", "w/a", "w/base", `its base "base" is not there`},
		{"", "w/runs/r/checkpoints/step-2", "w/base", "is taken for it"},
		{"w", "deep/b", "base", "is taken for it"},
		{"elsewhere", at("w/abs"), "w/base", ""},
		{"", "w/runs/moved", "w/base", "is taken for it"},
		{"", "w/deep/moved", "w/deep/models/base", "is taken for it"}, // the longest end of the path
		{"w", "onrun", "run/checkpoints/step-3", ""},                  // a run directory is its last checkpoint
		{"", "w/none", "", ""},
		{"", "w/base", "", ""}, // no adapter
	} {
		t.Chdir(at(c.from))
		base, note, err := AdapterBase(c.adapter)
		require.NoError(t, err, c.adapter)
		if c.base == "" {
			require.Empty(t, base+note)
			continue
		}
		want := at(c.base)
		if c.from != "" && sameFile(base, filepath.Join(at(c.from), c.base)) {
			want = filepath.Join(at(c.from), c.base)
		}
		require.True(t, sameFile(want, base), "%s from %q: %s", c.adapter, c.from, base)
		if c.note == "" {
			require.Empty(t, note)
		} else {
			require.Contains(t, note, c.note)
		}
	}
	t.Setenv("HF_HUB_CACHE", at("cache")) // where a base is found that the hub has
	folders(t, at("cache/models--org--lost/snapshots"), map[string]string{strings.Repeat("a", 40): "base"})
	require.NoError(t, os.MkdirAll(at("cache/models--org--lost/refs"), 0o755))
	require.NoError(t, os.WriteFile(at("cache/models--org--lost/refs/main"), []byte(strings.Repeat("a", 40)), 0o644))
	base, note, err := AdapterBase(at("w/lost"))
	require.NoError(t, err)
	require.Empty(t, note)
	require.Equal(t, at("cache/models--org--lost/snapshots/"+strings.Repeat("a", 40)), base)
	require.NoError(t, os.RemoveAll(at("cache")))
	_, _, err = AdapterBase(at("w/lost"))
	require.ErrorContains(t, err, "nor in the Hugging Face cache: run zerosearch pull org/lost, correct it in")
	for adapter, says := range map[string]string{
		"w/lost":                         `its base model "org/lost" (base_model_name_or_path) is neither there`,
		"w/runs/self/checkpoints/step-2": "is neither there"} {
		_, _, err := AdapterBase(at(adapter))
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, "say --model BASE --adapter "+at(adapter))
	}
}

// An adapter shares an open base only if it was made for it: by content, not by name or place.
func TestMadeFor(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	folders(t, dir, map[string]string{
		"base": "one", "copy": "one", "other": "two", "models/Qwen": "one", "models/step-2": "one",
		"a": "over:" + at("base"), "none": "over:", "hub": "over:org/Qwen", "gone": "over:/nowhere/at/all/step-2",
	})
	folders(t, at("run/checkpoints"), map[string]string{"step-4": "over:" + at("base")})
	require.NoError(t, os.WriteFile(filepath.Join(at("copy"), "tokenizer.json"), []byte("{}"), 0o644)) // is no weight
	folders(t, dir, map[string]string{"reshaped": "one"})
	require.NoError(t, os.WriteFile(filepath.Join(at("reshaped"), "config.json"), []byte(`{"rope_theta": 7}`), 0o644))
	for _, c := range []struct {
		adapter, base string
		made          bool
		note          string
	}{
		{"a", "base", true, ""}, {"a", "copy", true, ""}, {"a", "other", false, ""}, {"a", "reshaped", false, ""},
		{"run",
			"base", true, ""}, {"run", "other", false, ""},
		{"none", "other", true, "names no base"}, {"base", "base", false, ""}, {"absent", "base", false, ""},
		{"hub", "models/Qwen", true, "by its name"}, {"hub", "base", false, ""}, {"gone", "models/step-2", false, ""},
	} {
		made, note, err := MadeFor(at(c.adapter), at(c.base))
		require.NoError(t, err)
		require.Equal(t, c.made, made, "%s over %s", c.adapter, c.base)
		require.Equal(t, c.note != "", note != "", note)
		require.Contains(t, note, c.note)
	}
	_, _, err := ReadShape(at("none"))
	require.ErrorContains(t, err, "names no base model")
}
