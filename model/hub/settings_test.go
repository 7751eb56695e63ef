package hub

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The variables and their order are those of huggingface_hub.
func TestFromEnv(t *testing.T) {
	home := t.TempDir()
	clear := map[string]string{"HOME": home, "USERPROFILE": home}
	for _, name := range []string{"HF_ENDPOINT", "HF_HOME", "XDG_CACHE_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE",
		"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE",
		"HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_HUB_DOWNLOAD_TIMEOUT"} {
		clear[name] = ""
	}
	require.NoError(t, os.WriteFile(filepath.Join(home, "token"), []byte("hf_file\n"), 0o600))
	at := func(parts ...string) string { return filepath.Join(append([]string{home}, parts...)...) }
	for name, c := range map[string]struct {
		env  map[string]string
		want Settings
		says string
	}{
		"nothing": {nil, Settings{Endpoint: "https://huggingface.co", Cache: at(".cache", "huggingface", "hub")}, ""},
		"home": {map[string]string{"HF_HOME": "~"}, Settings{Endpoint: "https://huggingface.co", Cache: at("hub"),
			Token: "hf_file"}, ""},
		"xdg": {map[string]string{"XDG_CACHE_HOME": "$HOME/x"}, Settings{Endpoint: "https://huggingface.co",
			Cache: at("x", "huggingface", "hub")}, ""},
		"all": {map[string]string{"HF_ENDPOINT": "http://mirror:1/hf/", "HF_HUB_CACHE": at("c"), "HF_TOKEN": " hf_env ",
			"HF_HOME": home, "HF_HUB_OFFLINE": "on", "HF_HUB_DOWNLOAD_TIMEOUT": "2.5"},
			Settings{Endpoint: "http://mirror:1/hf", Cache: at("c"), Token: "hf_env", Offline: true,
				Timeout: 2500 * time.Millisecond}, ""},
		"old names": {map[string]string{"HUGGINGFACE_HUB_CACHE": at("o"), "HUGGING_FACE_HUB_TOKEN": "hf_old",
			"TRANSFORMERS_OFFLINE": "1"}, Settings{Endpoint: "https://huggingface.co", Cache: at("o"), Token: "hf_old",
			Offline: true}, ""},
		"token file": {map[string]string{"HF_TOKEN_PATH": at("token")}, Settings{Endpoint: "https://huggingface.co",
			Cache: at(".cache", "huggingface", "hub"), Token: "hf_file"}, ""},
		"no token": {map[string]string{"HF_TOKEN": "hf_x", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "true"},
			Settings{Endpoint: "https://huggingface.co", Cache: at(".cache", "huggingface", "hub")}, ""},
		"bad endpoint": {map[string]string{"HF_ENDPOINT": "mirror"}, Settings{},
			"reading HF_ENDPOINT: it is no address"},
		"bad timeout": {map[string]string{"HF_HUB_DOWNLOAD_TIMEOUT": "-1"}, Settings{},
			`"-1" is no number of seconds`},
		"bad token": {map[string]string{"HF_TOKEN": "hf_a\nb"}, Settings{},
			"reading the token of HF_TOKEN: it has a blank"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range clear {
				t.Setenv(k, v)
			}
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			got, err := FromEnv()
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				require.NotContains(t, err.Error(), "hf_a")
				return
			}
			require.NoError(t, err)
			if c.want.Timeout == 0 {
				c.want.Timeout = defaultTimeout
			}
			require.Equal(t, c.want, *got)
		})
	}
}

func TestParseName(t *testing.T) {
	for s, want := range map[string][3]string{
		"org/name": {"org/name", ""}, "gpt2": {"gpt2", ""}, "Qwen/Qwen2.5-0.5B_x": {"Qwen/Qwen2.5-0.5B_x", ""},
		"org/name@main": {"org/name", "main"}, "org/name@refs/pr/1": {"org/name", "refs/pr/1"},
	} {
		name, revision, ok := ParseName(s)
		require.True(t, ok, s)
		require.Equal(t, want, [3]string{name, revision})
	}
	for _, s := range []string{"", "a/b/c", "/b", "a/", "../b", "a/..", "a/b--c", "a b/c", "./b", "a/b@", "a/b@../x",
		"a/b@/x", "a/b@x\\y", "a/b@x\ny", "-a/b", "a/.b", "a/b..c"} {
		_, _, ok := ParseName(s)
		require.False(t, ok, s)
	}
	name, revision, file, ok := ParseFile("org/name@v1/data/a b.jsonl")
	require.True(t, ok)
	require.Equal(t, []string{"org/name", "", "data/a b.jsonl"}, []string{name, revision[:0], file})
	for _, s := range []string{"org/name", "org/name/", "org/name/../x", "org//x"} {
		_, _, _, ok := ParseFile(s)
		require.False(t, ok, s)
	}
	require.Equal(t, "zerosearch pull o/n@v1 --dataset", Repo{true, "o/n"}.PullLine("v1"))
	require.Equal(t, "zerosearch pull o/n", Repo{false, "o/n"}.PullLine("main"))
}

// Patterns match as Python's fnmatch does, which huggingface_hub uses. The values are Python's.
func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, file string
		want          bool
	}{
		{"*.json", "config.json", true}, {"*.json", "onnx/config.json", true}, {"*.json", "config.jsonl", false},
		{"data/", "data/x/y.txt", true}, {"model-0000?-of-*.safetensors", "model-00001-of-00003.safetensors", true},
		{"[ab].txt", "b.txt", true}, {"[!ab].txt", "b.txt", false}, {"[!ab].txt", "c.txt", true}, {"[a", "[a", true},
		{"a[]]b", "a]b", true}, {"a.b", "axb", false}, {"[a-c]x", "bx", true}, {"*", "a\nb", true}, {`[\]`, `\`, true},
		{"*.JSON", "a.json", false}, {"[^a]", "^", true}, {"[^a]", "b", false},
	} {
		got, err := match(c.pattern, c.file)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%s %s", c.pattern, c.file)
	}
	_, err := match("[b-a]", "x")
	require.Error(t, err)
}

// Without patterns a model's files are those that this program reads.
func TestChoose(t *testing.T) {
	entries := func(names ...string) (out []entry) {
		for _, n := range names {
			out = append(out, entry{path: n})
		}
		return out
	}
	for _, c := range []struct{ all, take []string }{
		{[]string{".gitattributes", "LICENSE", "config.json", "consolidated.safetensors", "logo.png", "merges.txt",
			"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
			"onnx/model.onnx", "original/params.json", "pytorch_model.bin", "tokenizer.json"},
			[]string{"LICENSE", "config.json", "merges.txt", "model-00001-of-00002.safetensors",
				"model-00002-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json"}},
		{[]string{"README.md", "x-Q8_0.gguf"}, []string{"README.md", "x-Q8_0.gguf"}},
		{[]string{"model.safetensors", "x-Q8_0.gguf"}, []string{"model.safetensors"}},
		{[]string{"adapter_config.json", "adapter_model.safetensors"},
			[]string{"adapter_config.json", "adapter_model.safetensors"}},
	} {
		take, leave, err := choose(entries(c.all...), nil, false)
		require.NoError(t, err)
		require.Equal(t, entries(c.take...), take)
		require.Len(t, leave, len(c.all)-len(take))
	}
	_, _, err := choose(entries("README.md", "a-Q4_K_M.gguf", "a-Q8_0.gguf"), nil, false)
	require.EqualError(t, err,
		"it has several GGUF files: choose one of them with --include FILE: a-Q4_K_M.gguf, a-Q8_0.gguf")
	_, _, err = choose(entries("a"), []string{"[b-a]"}, false)
	require.ErrorContains(t, err, `the pattern "[b-a]" cannot be read`)
}
