package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// folder writes a tokenizer folder with these files beside the small tokenizer.json.
func folder(t testing.TB, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666))
	}
	if _, ok := files["tokenizer.json"]; !ok {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte(small), 0o666))
	}
	return dir
}

const anyTool = `[{"type":"function","function":{"name":"f"}}]`

// Which of a folder's templates is used, without and with tools, as transformers 5.23.0 chooses. An error is written as
// "!" and a part of it.
func TestWhichTemplate(t *testing.T) {
	const (
		text   = `{"chat_template": "C"}`
		list   = `{"chat_template": [{"name": "default", "template": "LD"}, {"name": "tool_use", "template": "LT"}, {"name": "rag", "template": "LR"}]}`
		object = `{"chat_template": {"default": "OD{{ tools is none }}", "tool_use": "OT{{ tools|length }}"}}`
		main   = "chat_template.jinja"
		extra  = "additional_chat_templates/"
	)
	type files = map[string]string
	for name, c := range map[string]struct {
		files         files
		plain, tooled string
	}{
		"text":   {files{"tokenizer_config.json": text}, "C", "C"},
		"list":   {files{"tokenizer_config.json": list}, "LD", "LT"},
		"object": {files{"tokenizer_config.json": object}, "ODTrue", "OT1"},
		"file":   {files{"tokenizer_config.json": list, main: "F"}, "F", "F"},
		"saved": {
			files{main: "F", extra + "tool_use.jinja": "FT", extra + "rag.jinja": "R"},
			"F", "FT",
		},
		"files before the config": {
			files{"tokenizer_config.json": list, main: "F", extra + "rag.jinja": "R"},
			"F", "F",
		},
		"default among the others": {files{main: "F", extra + "default.jinja": "FD"}, "FD", "FD"},
		"only for tools": {
			files{"tokenizer_config.json": text, extra + "tool_use.jinja": "FT"},
			`!templates ["tool_use"] and none is named "default"`, "FT",
		},
		"no default": {
			files{"tokenizer_config.json": `{"chat_template": {"rag": "R", "a": "A"}}`},
			`!templates ["a" "rag"]`, `!templates ["a" "rag"]`,
		},
		"other files": {files{main: "F", extra + "tool_use.txt": "FT"}, "F", "F"},
		"old file":    {files{"chat_template.json": `{"chat_template": "J"}`}, "J", "J"},
		"old file last": {
			files{"chat_template.json": `{"chat_template": "J"}`, "tokenizer_config.json": text},
			"C", "C",
		},
		"null": {
			files{"tokenizer_config.json": `{"chat_template": null}`},
			"!comes without a chat template", "!comes without a chat template",
		},
		"empty object": {
			files{"tokenizer_config.json": `{"chat_template": {}}`},
			"!comes without a chat template", "!comes without a chat template",
		},
		"bad for tools": {
			files{main: "F", extra + "tool_use.jinja": "{% if %}"},
			"F", "!reading chat template: line 1",
		},
		"bad": {
			files{main: "{% if %}", extra + "tool_use.jinja": "FT"},
			"!reading chat template: line 1", "FT",
		},
		"number": {
			files{"tokenizer_config.json": `{"chat_template": 5}`},
			"!chat_template is a number: it should be text, a list", "!chat_template is a number",
		},
		"object of numbers": {
			files{"tokenizer_config.json": `{"chat_template": {"default": 5}}`},
			"!an object whose values are not all text", "!--chat-template FILE",
		},
		"list of texts": {
			files{"tokenizer_config.json": `{"chat_template": ["x"]}`},
			`!a list whose entries are not all {"name": TEXT`, "!--chat-template FILE",
		},
		"list without names": {
			files{"tokenizer_config.json": `{"chat_template": [{"template": "x"}]}`},
			`!do not all have "name"`, "!--chat-template FILE",
		},
		"bad old file": {
			files{"chat_template.json": `{"chat_template": `},
			"!chat_template.json: bad JSON", "!--chat-template FILE",
		},
		"a folder": {files{main + "/x": ""}, "!reading chat template", "!--chat-template FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			tok, err := Open(folder(t, c.files))
			require.NoError(t, err)
			require.Equal(t, []int32{3}, tok.Encode("ab", EncodeOptions{}), "plain text needs no template")
			for i, want := range []string{c.plain, c.tooled} {
				in := ChatInput{}
				if i == 1 {
					require.NoError(t, json.Unmarshal([]byte(anyTool), &in.Tools))
				}
				got := ""
				tmpl, err := tok.Chat()
				if err == nil {
					require.Equal(t, c.plain[0] == '!', tmpl.Err() != nil)
					got, err = tmpl.Render(in)
				}
				if want[0] == '!' {
					require.ErrorContains(t, err, want[1:])
					require.NotContains(t, err.Error(), "Go ")
				} else {
					require.NoError(t, err)
					require.Equal(t, want, got)
				}
			}
		})
	}
}

// tools: [] counts as tools, as it does in transformers.
func TestNoToolsAreTools(t *testing.T) {
	tok, err := Open(
		folder(t,
			map[string]string{
				"tokenizer_config.json": `{"chat_template": {"default": "D", "tool_use": "T{{ tools }}"}}`}))
	require.NoError(t, err)
	tmpl, err := tok.Chat()
	require.NoError(t, err)
	text, err := tmpl.Render(ChatInput{Tools: []json.RawMessage{}})
	require.NoError(t, err)
	require.Equal(t, "T[]", text)
}

// Tokens with a role are variables of the template, whichever file names them.
func TestTemplateKnowsTokens(t *testing.T) {
	tok, err := Open(
		folder(t,
			map[string]string{
				"tokenizer_config.json":   `{"bos_token": "<s>", "image_token": "<i>", "model_max_length": Infinity}`,
				"special_tokens_map.json": `{"pad_token": {"content": "<p>"}, "eos_token": "<s>"}`,
				"generation_config.json":  `{"eos_token_id": [1, 5], "temperature": NaN}`,
				"chat_template.jinja":     `{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ image_token }}{{ unk_token is defined }}`}))
	require.NoError(t, err)
	tmpl, err := tok.Chat()
	require.NoError(t, err)
	text, err := tmpl.Render(ChatInput{})
	require.NoError(t, err)
	require.Equal(t, "<s><s><p><i>False", text)
	require.Equal(t, []int32{5, 1}, tok.EOSIDs())
	id, ok := tok.ID("<p>")
	require.True(t, ok)
	require.Equal(t, []int32{id}, tok.Encode("<p>", EncodeOptions{ParseSpecial: true}))
	require.Equal(t, tok.VocabSize()-2, tok.Rows(), "<p> and <i> may lack a row")
}

// What is wrong in the files is said in a user's words.
func TestBadTokenFiles(t *testing.T) {
	for file, cases := range map[string]map[string]string{
		"tokenizer_config.json": {
			`{"bos_token": 5}`: "bos_token: it is a number, where a token's text is " +
				"expected",
			`{"bos_token": {"text": "x"}}`: `bos_token: {"text": "x"} is no token`,
			`{"additional_special_tokens": "<x>"}`: "extra_special_tokens is text, where a list or an " +
				"object is expected",
			`{"additional_special_tokens": [5]}`:              "extra_special_tokens, entry 1: it is a number",
			`{"extra_special_tokens": {"x": []}}`:             "x: it is a list",
			`{"added_tokens_decoder": []}`:                    "added_tokens_decoder: it is a list",
			`{"added_tokens_decoder": {"x": {}}}`:             `"x" is no id`,
			`{"added_tokens_decoder": {"7": "<x>"}}`:          "token 7: it is text",
			`{"added_tokens_decoder": {"7": {"content": 3}}}`: "token 7:",
			`[]`:   "expected '{'",
			`{} x`: "expected the end, found",
		},
		"added_tokens.json":       {`{"<x>": "7"}`: `"<x>" has the id "7"`},
		"special_tokens_map.json": {`{"pad_token": 1}`: "pad_token: it is a number"},
		"generation_config.json": {
			`{"eos_token_id": "x"}`: `eos_token_id is "x": a token id or a list of them is expected`},
	} {
		for text, want := range cases {
			_, err := Open(folder(t, map[string]string{file: text}))
			require.ErrorContains(t, err, want, text)
			require.NotContains(t, err.Error(), "Go ", text)
			require.NotContains(t, err.Error(), "unmarshal", text)
		}
	}
}

// Whatever the files beside a tokenizer hold ends in a tokenizer that works, or in an error.
func FuzzTokenFiles(f *testing.F) {
	eachLine(f, "testdata/folders.jsonl", func(_ int, c folderCase) {
		f.Add(string(c.Files["tokenizer_config.json"]), string(c.Files["special_tokens_map.json"]),
			string(c.Files["added_tokens.json"]))
	})
	f.Add(`{"chat_template": [{"name": "default", "template": "{{ bos_token }}"}], "bos_token": NaN}`, `[]`,
		`{"<x>": 1e9}`)
	dir := folder(f, nil)
	f.Fuzz(func(t *testing.T, config, special, added string) {
		for name, text := range map[string]string{"tokenizer_config.json": config, "special_tokens_map.json": special,
			"added_tokens.json": added} {
			if text != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666))
			} else {
				_ = os.Remove(filepath.Join(dir, name))
			}
		}
		tok, err := Open(dir)
		if err != nil {
			require.NotContains(t, err.Error(), "Go value")
			return
		}
		exercise(t, tok)
		if tmpl, err := tok.Chat(); err == nil {
			_, _ = tmpl.Render(ChatInput{})
		}
	})
}
