package tokenizer

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/goldens"
)

// small is a tokenizer.json that is easy to break.
const small = `{"version": "1.0", "added_tokens": [{"id": 5, "content": "<s>", "special": true}], "normalizer": null,
 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "post_processor": null, "decoder": {"type": "ByteLevel"},
 "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4}, "merges": ["a b", "Ġ ab"]}}`

func TestSmall(t *testing.T) {
	for name, text := range map[string]string{
		"merges as strings": small,
		"merges as pairs":   strings.Replace(small, `["a b", "Ġ ab"]`, `[["a", "b"], ["\u0120", "ab"]]`, 1),
		"merges first": strings.Replace(small,
			`"vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4}, "merges": ["a b", "Ġ ab"]`,
			`"merges": ["a b", "Ġ ab"], "vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4}`, 1),
	} {
		tok, err := parse([]byte(text))
		require.NoError(t, err, name)
		require.Equal(t, []int32{3, 4, 5, 0, 0}, tok.Encode("ab ab<s>aa", EncodeOptions{ParseSpecial: true}), name)
		require.Equal(t, 6, tok.VocabSize())
		// c is unknown
		require.Equal(t, []int32{4}, tok.Encode(" cabc", EncodeOptions{})[:1], "characters without a token vanish")
	}
}

// Tables grow where a file holds more than its beginning promised.
func TestTablesGrow(t *testing.T) {
	vocab, merges := `"x": 0, "y": 1`, `["x", "y"]`
	ids := 2
	add := func(s string) {
		vocab += fmt.Sprintf(", %q: %d", s, ids)
		ids++
	}
	add("xy")
	for s := "xy"; len(s) < 600; s += "y" {
		merges += fmt.Sprintf(", %q", s+" y")
		add(s + "y")
	}
	text := fmt.Sprintf(
		`{"pre_tokenizer": {"type": "ByteLevel", "use_regex": false, "add_prefix_space": false}, "model": {"vocab": {%s}, "merges": [%s]}}`, vocab, merges)
	tok, err := Parse([]byte(text))
	require.NoError(t, err)
	require.Equal(t, []int32{int32(ids - 1)}, tok.Encode("x"+strings.Repeat("y", 599), EncodeOptions{}))
}

func TestRefusedFiles(t *testing.T) {
	for what, edit := range map[string][2]string{
		"cut":     {`"merges"`, "\x00"},
		"outside": {`"b": 1`, `"b": -1`},
		"too large for the size of the vocabulary": {`"b": 1`, `"b": 16000000`},
		"not in the vocabulary":                    {`"a b"`, `"a c"`},
		"two tokens":                               {`"a b"`, `"a b c"`},
		"expected a value":                         {`"merges": ["a b", "Ġ ab"]`, `"merges": `},
		"parts":                                    {`["a b", "Ġ ab"]`, `[["a","b","a"]]`},
		"WordPiece":                                {`"type": "BPE"`, `"type": "WordPiece"`},
		"dropout":                                  {`"type": "BPE"`, `"type": "BPE", "dropout": 0.1`},
		"end_of_word_suffix":                       {`"type": "BPE"`, `"type": "BPE", "end_of_word_suffix": "</w>"`},
		"continuing_subword": {`"type": "BPE"`,
			`"type": "BPE", "continuing_subword_prefix": "##"`},
		"normalizer \"Lowercase\"": {`"normalizer": null`, `"normalizer": {"type": "Lowercase"}`},
		"more than 4 normalizers": {`"normalizer": null`, `"normalizer": {"type": "Sequence", "normalizers": [` +
			strings.Repeat(`{"type": "NFC"},`, 4) + `{"type": "NFC"}]}`},
		"normalizer \"Replace\"": {`"normalizer": null`,
			`"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaa"}`},
		"normalizer \"Prepend\"": {`"normalizer": null`, `"normalizer": {"type": "Prepend", "prepend": "` +
			strings.Repeat("a", 65) + `"}`},
		"more than 16 pre_token": {`{"type": "ByteLevel", "add_prefix_space": false}`,
			`{"type": "Sequence", "pretokenizers": [` + strings.Repeat(`{"type": "Digits"},`, 16) +
				`{"type": "Digits"}]}`},
		"that add text": {`{"type": "ByteLevel", "add_prefix_space": false}`,
			`{"type": "Sequence", "pretokenizers": [` + strings.Repeat(`{"type": "Metaspace"},`, 4) +
				`{"type": "Metaspace"}]}`},
		"pattern": {`{"type": "ByteLevel", "add_prefix_space": false}`,
			`{"type": "Split", "pattern": {"Regex": "["}, "behavior": "Isolated", "invert": false}`},
		"no pattern": {`{"type": "ByteLevel", "add_prefix_space": false}`,
			`{"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated"}`},
		"the behavior \"Other\"": {`{"type": "ByteLevel", "add_prefix_space": false}`,
			`{"type": "Split", "pattern": {"String": "a"}, "behavior": "Other"}`},
		"\"Whitespace\"":        {`{"type": "ByteLevel", "add_prefix_space": false}`, `{"type": "Whitespace"}`},
		"does not fit":          {`{"type": "ByteLevel", "add_prefix_space": false}`, `null`},
		"decoder \"WordPiece\"": {`"decoder": {"type": "ByteLevel"}`, `"decoder": {"type": "WordPiece"}`},
		"post_processor":        {`"post_processor": null`, `"post_processor": {"type": "BertProcessing"}`},
		"unknown token": {`"post_processor": null`,
			`"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<x>"}}]}`},
		"expected the end, found": {`"Ġ ab"]}}`, `"Ġ ab"]}} x`},
		"control character":       {`"Ġab": 4`, "\"Ġ\nab\": 4"},
		"escape":                  {`"Ġab": 4`, `"\ud800": 4`},
		"deeply": {`"normalizer": null`, `"normalizer": ` + strings.Repeat("[", 300) +
			strings.Repeat("]", 300)},
		"4096":    {`"<s>"`, `"` + strings.Repeat("x", 5000) + `"`},
		"missing": {`"merges": ["a b", "Ġ ab"]`, `"other": 1`},
	} {
		text := strings.Replace(small, edit[0], edit[1], 1)
		require.NotEqual(t, small, text, what)
		_, err := parse([]byte(text))
		require.Error(t, err, what)
		if what != "cut" {
			require.ErrorContains(t, err, what)
		}
	}
	for i := range len(small) - 1 { // cut anywhere
		_, err := parse([]byte(small[:i]))
		require.Error(t, err, "%d bytes", i)
	}
}

func TestOpenFindsFiles(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(dir)
	require.ErrorContains(t, err, "neither tokenizer.json nor tokenizer.model")
	_, err = Open(filepath.Join(dir, "absent.json"))
	require.ErrorContains(t, err, "absent.json")

	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write([]byte(small))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o666))
		return file
	}
	write("tokenizer.json.gz", packed.String())
	write("tokenizer_config.json",
		`{"eos_token": {"content": "<s>"}, "bos_token": null, "chat_template": [{"name": "default", "template": "D{{ eos_token }}"}, {"name": "tool_use", "template": "T"}]}`)
	write("generation_config.json", `{"eos_token_id": [1, 5], "bos_token_id": 3}`)
	write("config.json", `{"eos_token_id": 0, "bos_token_id": null}`)
	for _, path := range []string{dir, filepath.Join(dir, "tokenizer.json.gz")} {
		tok, err := Open(path)
		require.NoError(t, err)
		require.Equal(t, []int32{5, 1, 0}, tok.EOSIDs())
		bos, ok := tok.BOS()
		require.True(t, ok)
		require.Equal(t, int32(3), bos)
		chat, err := tok.Chat()
		require.NoError(t, err)
		text, err := chat.Render(ChatInput{})
		require.NoError(t, err)
		require.Equal(t, "D<s>", text)
		text, err = chat.Render(ChatInput{Tools: []json.RawMessage{json.RawMessage(`{}`)}})
		require.NoError(t, err)
		require.Equal(t, "T", text)
	}
	write("chat_template.jinja", "J")
	tok, err := Open(dir)
	require.NoError(t, err)
	chat, err := tok.Chat()
	require.NoError(t, err)
	text, err := chat.Render(ChatInput{})
	require.NoError(t, err)
	require.Equal(t, "J", text)

	write("generation_config.json", `{"eos_token_id": "x"}`)
	_, err = Open(dir)
	require.ErrorContains(t, err, "generation_config.json")
	write("tokenizer.json.gz", "no archive")
	_, err = Open(dir)
	require.ErrorContains(t, err, "tokenizer.json.gz")
	bare := write("bare.json", small)
	require.NoError(t, os.Remove(filepath.Join(dir, "generation_config.json")))
	require.NoError(t, os.Remove(filepath.Join(dir, "chat_template.jinja")))
	require.NoError(t, os.Remove(filepath.Join(dir, "tokenizer_config.json")))
	tok, err = Open(bare)
	require.NoError(t, err)
	_, err = tok.Chat()
	require.ErrorContains(t, err, "--chat-template")
}

// spField writes a field of a protocol-buffer message.
func spField(number uint64, v any) []byte {
	switch v := v.(type) {
	case int:
		return binary.AppendUvarint(binary.AppendUvarint(nil, number<<3), uint64(v))
	case float32:
		b, _ := binary.Append(binary.AppendUvarint(nil, number<<3|5), binary.LittleEndian, v)
		return b
	case string:
		return append(binary.AppendUvarint(binary.AppendUvarint(nil, number<<3|2), uint64(len(v))), v...)
	}
	panic("no such field")
}

func spMessage(fields ...[]byte) string { return string(bytes.Join(fields, nil)) }

// smallModel is a sentencepiece model of a few pieces.
func smallModel() []byte {
	var m []byte
	for i, p := range []string{"<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁ab", "[u]"} {
		kind := 1
		switch i {
		case 0:
			kind = 2
		case 1, 2:
			kind = 3
		case 8:
			kind = 4
		}
		m = append(m, spField(1, spMessage(spField(1, p), spField(2, float32(-i)), spField(3, kind)))...)
	}
	m = append(m, spField(2, spMessage(spField(3, 2)))...)
	return append(m, spField(3, spMessage(spField(1, "identity"), spField(4, 0)))...)
}

func TestSmallSentencepiece(t *testing.T) {
	tok, err := parseSentencepiece(smallModel())
	require.NoError(t, err)
	require.Equal(t, []int32{1, 7, 7, 0, 5}, tok.Encode("ab abxyb", EncodeOptions{AddSpecial: true}))
	require.Equal(t, []int32{7, 8, 3, 4, 2}, tok.Encode("ab[u]a</s>", EncodeOptions{ParseSpecial: true}))
	require.Equal(t, "ab[u] a", tok.Decode([]int32{7, 8, 3, 4, 2}, true))
	require.Equal(t, []int32{2}, tok.EOSIDs())
	for i := range smallModel() {
		_, _ = parseSentencepiece(smallModel()[:i])
	}
	unigram := bytes.Replace(smallModel(), spField(2, spMessage(spField(3, 2))), spField(2, spMessage(spField(3, 1))),
		1)
	_, err = parseSentencepiece(unigram)
	require.ErrorContains(t, err, "only 2 (BPE)")
	rules := append(smallModel(), spField(3, spMessage(spField(2, "rules")))...)
	_, err = parseSentencepiece(rules)
	require.ErrorContains(t, err, "normalisation rules")
	_, err = parseSentencepiece(nil)
	require.ErrorContains(t, err, "no pieces")
}

// exercise uses whatever a file made.
func exercise(t *testing.T, tok *Tokenizer) {
	defer func() {
		if p := recover(); p != nil {
			_, slow := p.(*PatternError)
			require.True(t, slow, "%v", p)
		}
	}()
	for _, opt := range []EncodeOptions{{}, {AddSpecial: true, ParseSpecial: true}} {
		ids := tok.Encode("ab ab<s> é\u0301日本 12'll \n\n\xff▁", opt)
		text := tok.Decode(ids, false)
		requirePieces(t, tok, ids, text)
	}
	for id := int32(-1); id < min(int32(tok.VocabSize())+1, 100); id++ {
		tok.Token(id)
		tok.Bytes(id)
		tok.Decode([]int32{id}, true)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(small))
	f.Add(
		[]byte(
			`{"added_tokens":[{"id":1,"content":"<s>","normalized":true,"lstrip":true}],"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},` +
				`"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Strip","content":" ","start":1}]},` +
				`"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[1]}}},` +
				`"model":{"unk_token":"<u>","fuse_unk":true,"byte_fallback":true,"vocab":{"<u>":0,"▁":2,"a":3,"▁a":4,"<0x41>":5},"merges":[["▁","a"]]}}`))
	f.Add(
		[]byte(
			`{"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":true}]},"model":{"vocab":{"a":0},"merges":[]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if tok, err := parse(text); err == nil {
			exercise(t, tok)
		}
	})
}

func FuzzSentencepiece(f *testing.F) {
	f.Add(smallModel())
	f.Fuzz(func(t *testing.T, data []byte) {
		if tok, err := parseSentencepiece(data); err == nil {
			exercise(t, tok)
		}
	})
}

// A whole real model, converted by hand from its sentencepiece file to tokenizer.json's form, gives the same ids.
func TestSentencepieceIsItsConversion(t *testing.T) {
	sp := open(t, "llama2")
	data, err := os.ReadFile(goldens.Data(t, "tokenizers/llama2/tokenizer.model"))
	require.NoError(t, err)
	m, err := readSentencepiece(data)
	require.NoError(t, err)
	vocab := map[string]int{}
	for id, p := range m.pieces {
		vocab[string(p.text)] = id
	}
	require.Len(t, vocab, 32000)
	var merges [][2]string
	byScore := slices.Clone(m.pieces[259:])
	slices.SortStableFunc(byScore, func(a, b spPiece) int { return cmp.Compare(b.score, a.score) })
	for _, p := range byScore {
		for i := range p.text {
			left, right := string(p.text[:i]), string(p.text[i:])
			if _, ok := vocab[left]; ok && left != "" {
				if _, ok := vocab[right]; ok {
					merges = append(merges, [2]string{left, right})
				}
			}
		}
	}
	file := map[string]any{
		"added_tokens": []any{map[string]any{"id": 0, "content": "<unk>", "special": true},
			map[string]any{"id": 1, "content": "<s>", "special": true},
			map[string]any{"id": 2, "content": "</s>", "special": true}},
		"normalizer": map[string]any{"type": "Sequence", "normalizers": []any{
			map[string]any{"type": "Prepend", "prepend": "▁"},
			map[string]any{"type": "Replace", "pattern": map[string]any{"String": " "}, "content": "▁"}}},
		"decoder": map[string]any{"type": "Sequence", "decoders": []any{
			map[string]any{"type": "Replace", "pattern": map[string]any{"String": "▁"}, "content": " "},
			map[string]any{"type": "ByteFallback"},
			map[string]any{"type": "Fuse"}, map[string]any{"type": "Strip", "content": " ", "start": 1, "stop": 0}}},
		"model": map[string]any{"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
			"vocab": vocab, "merges": merges},
	}
	text, err := json.Marshal(file)
	require.NoError(t, err)
	js, err := parse(text)
	require.NoError(t, err)
	var texts []string
	readTestJSON(t, goldens.Path(t, "tokenizers/corpus.json"), &texts)
	for _, text := range texts {
		for _, parse := range []bool{false, true} {
			ids := js.Encode(text, EncodeOptions{ParseSpecial: parse})
			require.Equal(t, sp.Encode(text, EncodeOptions{ParseSpecial: parse}), ids, "%q", text)
			require.Equal(t, sp.Decode(ids, true), js.Decode(ids, true), "%q", text)
		}
	}
}
