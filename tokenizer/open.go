package tokenizer

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFile bounds a file as it is in memory, so that a small archive cannot fill it.
const maxFile = 512 << 20

// Open reads a tokenizer. path is a Hugging Face model folder or a file: tokenizer.json, the same with .gz, or a sentencepiece
// tokenizer.model of BPE type. The folder of the file may hold tokenizer_config.json, generation_config.json and config.json (ids of
// BOS and EOS) and a chat template; all are optional. The truncation and padding that a tokenizer.json may ask for are not
// applied. The error says which file was the matter and why.
func Open(path string) (*Tokenizer, error) {
	file, err := locate(path)
	if err != nil {
		return nil, err
	}
	text, err := readFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading tokenizer: %w", err)
	}
	var t *Tokenizer
	if strings.HasSuffix(file, ".model") {
		t, err = parseSentencepiece(text)
	} else {
		t, err = parse(text)
	}
	if err != nil {
		return nil, fmt.Errorf("reading tokenizer %s: %w", file, err)
	}
	if err := t.configure(filepath.Dir(file)); err != nil {
		return nil, fmt.Errorf("reading tokenizer: %w", err)
	}
	return t, nil
}

func locate(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("opening tokenizer: %w", err)
	}
	if !info.IsDir() {
		return path, nil
	}
	for _, name := range []string{"tokenizer.json", "tokenizer.json.gz", "tokenizer.model"} {
		if file := filepath.Join(path, name); exists(file) {
			return file, nil
		}
	}
	return "", fmt.Errorf("opening tokenizer: %s holds neither tokenizer.json nor tokenizer.model: name a folder or file that does", path)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// readFile reads a whole file, unpacked if its name ends in .gz.
func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	var r io.Reader = f
	if strings.HasSuffix(file, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		buf.Grow(4 * int(min(info.Size(), maxFile/4)))
	} else {
		buf.Grow(int(min(info.Size(), maxFile)) + bytes.MinRead)
	}
	if _, err := buf.ReadFrom(io.LimitReader(r, maxFile+1)); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if buf.Len() > maxFile {
		return nil, fmt.Errorf("%s: larger than %d MB", file, maxFile>>20)
	}
	return buf.Bytes(), nil
}

// tokenizerConfig is what is read of tokenizer_config.json.
type tokenizerConfig struct {
	BOS          tokenName       `json:"bos_token"`
	EOS          tokenName       `json:"eos_token"`
	PAD          tokenName       `json:"pad_token"`
	UNK          tokenName       `json:"unk_token"`
	ChatTemplate json.RawMessage `json:"chat_template"`
}

// tokenName is a token's text, written as a string, as {"content": string}, or null.
type tokenName string

func (n *tokenName) UnmarshalJSON(b []byte) error {
	var object struct{ Content string }
	if len(b) > 0 && b[0] == '{' {
		err := json.Unmarshal(b, &object)
		*n = tokenName(object.Content)
		return err
	}
	return json.Unmarshal(b, (*string)(n))
}

// idList is an id, a list of ids, or null.
type idList []int32

func (l *idList) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]int32)(l))
	}
	var id *int32
	if err := json.Unmarshal(b, &id); err != nil || id == nil {
		return err
	}
	*l = idList{*id}
	return nil
}

// modelConfig is what is read of generation_config.json and config.json.
type modelConfig struct {
	BOS idList `json:"bos_token_id"`
	EOS idList `json:"eos_token_id"`
}

// configure takes the ids of BOS and EOS and the chat template from the files beside the tokenizer.
func (t *Tokenizer) configure(dir string) error {
	var c tokenizerConfig
	if err := readJSON(filepath.Join(dir, "tokenizer_config.json"), &c); err != nil {
		return err
	}
	for _, x := range []struct {
		name tokenName
		list *[]int32
	}{{c.BOS, &t.bos}, {c.EOS, &t.eos}} {
		if id, ok := t.ID(string(x.name)); ok && x.name != "" {
			*x.list = append(*x.list, id)
		}
	}
	for _, name := range []string{"generation_config.json", "config.json"} {
		var m modelConfig
		if err := readJSON(filepath.Join(dir, name), &m); err != nil {
			return err
		}
		t.bos, t.eos = union(t.bos, m.BOS), union(t.eos, m.EOS)
	}
	return t.chat.load(dir, &c)
}

func union(a, b []int32) []int32 {
	for _, id := range b {
		if !slices.Contains(a, id) {
			a = append(a, id)
		}
	}
	return a
}

// readJSON reads an optional file: one that does not exist leaves v as it is.
func readJSON(file string, v any) error {
	text, err := readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		if err = json.Unmarshal(text, v); err != nil {
			err = fmt.Errorf("%s: %w", file, err)
		}
	}
	return err
}
