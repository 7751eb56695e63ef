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

	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/internal/jsonscan"
	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// maxFile is the maximum uncompressed size of a file, so that a small compressed file cannot exhaust the memory.
const maxFile = 512 << 20

// Open reads a tokenizer. path is a Hugging Face model folder or a file: tokenizer.json, the same with .gz, a
// sentencepiece tokenizer.model of BPE type, or a GGUF file, which has all of it inside. The folder of the file may
// hold tokenizer_config.json, generation_config.json and config.json (ids of BOS and EOS) and a chat template; all are
// optional. Settings for truncation and padding in tokenizer.json are ignored. Errors name the file and the reason.
func Open(path string) (*Tokenizer, error) {
	if gguf.Is(path) {
		return openGGUF(path)
	}
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
	return "", fmt.Errorf("opening tokenizer: %s holds neither tokenizer.json nor tokenizer.model: give a folder "+
		"that does, or such a file", path)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// readFile reads a file, and uncompresses it if its name ends in .gz.
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

// configure reads the files beside the tokenizer: additional tokens, the ids of BOS and EOS, and the chat template.
func (t *Tokenizer) configure(dir string) error {
	c, err := readTokenizerConfig(dir, t.added.file, t.added.padding)
	if err != nil {
		return err
	}
	if list := c.additions(t.added.ids); len(list) > 0 {
		if err := t.addTokens(list); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, "tokenizer_config.json"), err)
		}
		t.finish()
	}
	t.chat.special = map[string]string{}
	for _, n := range c.named {
		t.chat.special[n.name] = n.token.Content
		id, ok := t.ID(n.token.Content)
		switch {
		case !ok:
		case n.name == "bos_token":
			t.bos = union(t.bos, []int32{id})
		case n.name == "eos_token":
			t.eos = union(t.eos, []int32{id})
		}
	}
	for _, name := range []string{"generation_config.json", "config.json"} {
		list, err := readObject(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		for _, m := range list {
			to := map[string]*[]int32{"bos_token_id": &t.bos, "eos_token_id": &t.eos}[m.key]
			if to == nil {
				continue
			}
			ids, err := idList(m.raw)
			if err != nil {
				return fmt.Errorf("%s: %s is %w", filepath.Join(dir, name), m.key, err)
			}
			*to = union(*to, ids)
		}
	}
	t.chat.load(dir, c.chatTemplate)
	return nil
}

// idList reads an id, a list of ids, or null.
func idList(raw json.RawMessage) (ids []int32, err error) {
	switch kindOf(raw) {
	case "null":
		return nil, nil
	case "a list":
		err = pyjson.Unmarshal(raw, &ids)
	default:
		ids = []int32{0}
		err = pyjson.Unmarshal(raw, &ids[0])
	}
	if err != nil {
		return nil, fmt.Errorf("%s: a token id or a list of them is expected", bytes.TrimSpace(raw))
	}
	return ids, nil
}

func union(a, b []int32) []int32 {
	for _, id := range b {
		if !slices.Contains(a, id) {
			a = append(a, id)
		}
	}
	return a
}

// member is a key of a JSON object with its unparsed value.
type member struct {
	key string
	raw json.RawMessage
}

// readObject reads an optional file that holds a JSON object, in the order of its keys. If a key is repeated, the last
// value is used. Numbers may be NaN and infinities, as Python writes them. A file that does not exist has no members.
func readObject(file string) ([]member, error) {
	text, err := readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &jsonscan.Scanner{Text: text}
	list, err := readMembers(s)
	if err == nil {
		err = s.End()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return list, nil
}

// membersOf reads a JSON object.
func membersOf(raw []byte) ([]member, error) { return readMembers(&jsonscan.Scanner{Text: raw}) }

// readMembers reads an object; of equal keys the last value counts.
func readMembers(s *jsonscan.Scanner) (list []member, err error) {
	at := map[string]int{}
	err = s.Object(func(key []byte) error {
		name := string(key)
		raw, err := s.Raw()
		if i, ok := at[name]; ok {
			list[i].raw = raw
		} else {
			at[name] = len(list)
			list = append(list, member{name, raw})
		}
		return err
	})
	return list, err
}

// kindOf is the type of a JSON value, for error messages.
func kindOf(raw []byte) string {
	switch raw = bytes.TrimSpace(raw); {
	case len(raw) == 0 || raw[0] == 'n':
		return "null"
	case raw[0] == '"':
		return "text"
	case raw[0] == '{':
		return "an object"
	case raw[0] == '[':
		return "a list"
	case raw[0] == 't' || raw[0] == 'f':
		return "a boolean"
	}
	return "a number"
}
