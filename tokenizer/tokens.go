package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// tokenizerConfig has the tokens in the files beside a tokenizer: tokenizer_config.json and, if it has no
// added_tokens_decoder, the older special_tokens_map.json and added_tokens.json. The rules are those of transformers 5:
// additions lists the tokens that its TokenizersBackend adds to those of tokenizer.json.
type tokenizerConfig struct {
	named        []namedToken
	extra        []tokenSpec       // special tokens without a role
	decoder      map[int]tokenSpec // by the ids in the files, which only give the order
	byText       map[string]tokenSpec
	chatTemplate json.RawMessage
}

// namedToken is a token with a role: bos_token, image_token.
type namedToken struct {
	name  string
	token tokenSpec
}

// tokenSpec is a token as written in a file.
type tokenSpec struct {
	addedToken
	text       bool // written as a string, not as an object
	typed      bool // an object marked with "__type"
	normalized bool // the file has "normalized"; the default is true for tokens that are not special
}

// standardNames are the roles that every tokenizer may have, in the order in which their tokens are added.
var standardNames = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// same reports whether two tokens are written identically.
func (s tokenSpec) same(other tokenSpec) bool {
	return s.addedToken == other.addedToken && s.text == other.text
}

// additions lists the tokens to add to the existing ones, in order.
func (c *tokenizerConfig) additions(there map[string]int32) []addedToken {
	roles, listed := map[string]bool{}, map[string]bool{}
	for _, n := range c.named {
		roles[n.token.Content] = true
	}
	var specs []tokenSpec
	for _, id := range slices.Sorted(maps.Keys(c.decoder)) {
		specs, listed[c.decoder[id].Content] = append(specs, c.decoder[id]), true
	}
	others := make([]tokenSpec, 0, len(c.named)+len(c.extra))
	for _, n := range c.named {
		others = append(others, n.token)
	}
	for _, n := range append(others, c.extra...) {
		if _, ok := there[n.Content]; !ok && !listed[n.Content] && !slices.ContainsFunc(specs, n.same) {
			specs = append(specs, n)
		}
	}
	list := make([]addedToken, len(specs))
	for i, s := range specs {
		if s.Special = s.Special || roles[s.Content]; !s.normalized {
			s.Normalized = !s.Special
		}
		list[i] = s.addedToken
	}
	return list
}

// readTokenizerConfig reads the files of a folder. file are the added tokens of its tokenizer.json, padding that file's
// padding token.
func readTokenizerConfig(dir string, file []addedToken, padding string) (*tokenizerConfig, error) {
	c := &tokenizerConfig{decoder: map[int]tokenSpec{}, byText: map[string]tokenSpec{}}
	path := filepath.Join(dir, "tokenizer_config.json")
	keys, err := readObject(path)
	if err != nil {
		return nil, err
	}
	values := newArguments(keys)
	const extra, additional = "extra_special_tokens", "additional_special_tokens" // the new name and the old one
	if values.has(additional) && !truthy(values.get(extra)) {
		values.set(extra, values.values[additional])
		values.drop(additional)
	}
	own := newArguments(nil) // tokens with roles that only this model has
	for _, key := range slices.Clone(values.keys) {
		if ownRole(key) && kindOf(values.get(key)) == "text" {
			own.set(key, values.get(key))
			values.drop(key)
		}
	}
	if err := values.moveObject(extra, own); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	decoder := values.get("added_tokens_decoder")
	if decoder != nil {
		if err := c.readDecoder(decoder); err != nil {
			return nil, fmt.Errorf("%s: added_tokens_decoder: %w", path, err)
		}
	} else {
		if err := values.readSpecialTokensMap(filepath.Join(dir, "special_tokens_map.json")); err != nil {
			return nil, err
		}
		if err := values.moveObject(extra, own); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	late := values.has(additional) && !values.has(extra) // readLegacy does not know these tokens yet
	if late {
		values.set(extra, values.values[additional])
	}
	if padding != "" && !values.has("pad_token") {
		quoted, err := json.Marshal(padding)
		if err != nil {
			return nil, err
		}
		values.set("pad_token", quoted)
	}
	if err := c.readTokens(values, own, extra); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if decoder == nil {
		if err := c.readLegacy(filepath.Join(dir, "added_tokens.json"), !late); err != nil {
			return nil, err
		}
		for _, n := range file {
			c.list(n.ID, tokenSpec{addedToken: n, normalized: true})
		}
	}
	for i, n := range c.named {
		if token, ok := c.byText[n.token.Content]; ok && slices.Contains(standardNames, n.name) {
			c.named[i].token = token
		}
	}
	c.chatTemplate = values.get("chat_template")
	return c, nil
}

// list adds a token with the id in the file.
func (c *tokenizerConfig) list(id int, token tokenSpec) {
	c.decoder[id], c.byText[token.Content] = token, token
}

// ownRole reports whether a key is a token's role that is not a standard one, such as image_token.
func ownRole(key string) bool {
	return strings.HasSuffix(key, "_token") && !slices.Contains(standardNames, key)
}

// arguments are keys with values, in the order in which the keys came first.
type arguments struct {
	keys   []string
	values map[string]json.RawMessage
}

func newArguments(list []member) *arguments {
	a := &arguments{values: map[string]json.RawMessage{}}
	for _, m := range list {
		a.set(m.key, m.raw)
	}
	return a
}

func (a *arguments) set(key string, raw json.RawMessage) {
	if !a.has(key) {
		a.keys = append(a.keys, key)
	}
	a.values[key] = raw
}

func (a *arguments) has(key string) bool { _, ok := a.values[key]; return ok }

// get is the value of a key; nil if it is missing or null.
func (a *arguments) get(key string) json.RawMessage {
	if raw := a.values[key]; kindOf(raw) != "null" {
		return raw
	}
	return nil
}

func (a *arguments) drop(key string) {
	delete(a.values, key)
	a.keys = slices.DeleteFunc(a.keys, func(k string) bool { return k == key })
}

// moveObject moves the entries of a key's value to to, if the value is an object.
func (a *arguments) moveObject(key string, to *arguments) error {
	if kindOf(a.get(key)) != "an object" {
		return nil
	}
	list, err := membersOf(a.get(key))
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	for _, m := range list {
		to.set(m.key, m.raw)
	}
	a.drop(key)
	return nil
}

// truthy reports whether a value is true in Python.
func truthy(raw json.RawMessage) bool {
	switch s := strings.Join(strings.Fields(string(raw)), ""); s {
	case "", "null", "false", "0", `""`, "[]", "{}":
		return false
	}
	return true
}

// readSpecialTokensMap reads the older file. Tokens written as objects are special there, whatever their field
// "special" is.
func (a *arguments) readSpecialTokensMap(path string) error {
	list, err := readObject(path)
	if err != nil {
		return err
	}
	for _, m := range list {
		var value any = m.raw
		switch kind := kindOf(m.raw); {
		case m.key != "extra_special_tokens" && kind == "an object":
			value, err = specialToken(m.raw)
		case m.key == "extra_special_tokens" && kind == "a list":
			var old, more []json.RawMessage
			if raw := a.get(m.key); kindOf(raw) == "a list" {
				err = pyjson.Unmarshal(raw, &old)
			}
			err = errors.Join(err, pyjson.Unmarshal(m.raw, &more))
			for i := range more {
				if err == nil && kindOf(more[i]) == "an object" {
					more[i], err = specialToken(more[i])
				}
			}
			value = append(old, more...)
		}
		if err == nil {
			var raw []byte
			raw, err = json.Marshal(value)
			a.set(m.key, raw)
		}
		if err != nil {
			return fmt.Errorf("%s: %s: %w", path, m.key, err)
		}
	}
	return nil
}

// specialToken sets "special" in a token written as an object.
func specialToken(raw json.RawMessage) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := pyjson.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	delete(fields, "__type")
	fields["special"] = json.RawMessage("true")
	return json.Marshal(fields)
}

// readToken reads a token: a string, which is a special token, or an object with options. If the object does not have
// "special", the default is special, or false if transformers wrote the object ("__type").
func readToken(raw json.RawMessage, special bool) (token tokenSpec, err error) {
	switch kind := kindOf(raw); kind {
	case "text":
		token.Special, token.text = true, true
		return token, pyjson.Unmarshal(raw, &token.Content)
	case "an object":
		var set struct {
			Type       string `json:"__type"`
			Normalized *bool
		}
		err := pyjson.Unmarshal(raw, &set)
		token.typed = set.Type != ""
		token.Special = special && !token.typed
		if err == nil {
			err = pyjson.Unmarshal(raw, &token.addedToken)
		}
		if err != nil || token.Content == "" {
			return token, fmt.Errorf("%s is no token: it should be an object with content and perhaps single_word, "+
				"lstrip, rstrip, normalized and special", clip(raw))
		}
		if token.normalized = set.Normalized != nil; !token.normalized {
			token.Normalized = !token.Special
		}
		token.ID = 0
		return token, nil
	default:
		return token, fmt.Errorf("it is %s, where a token's text is expected", kind)
	}
}

func clip(raw []byte) []byte {
	if len(raw) > 100 {
		return append(bytes.ToValidUTF8(raw[:100:100], nil), "..."...)
	}
	return raw
}

func (c *tokenizerConfig) readDecoder(raw json.RawMessage) error {
	if kind := kindOf(raw); kind != "an object" {
		return fmt.Errorf("it is %s, where an object from ids to tokens is expected", kind)
	}
	list, err := membersOf(raw)
	if err != nil {
		return err
	}
	for _, m := range list {
		id, err := strconv.Atoi(m.key)
		if err != nil {
			return fmt.Errorf("%q is no id", m.key)
		}
		token, err := readToken(m.raw, false)
		if err == nil && kindOf(m.raw) == "text" {
			err = errors.New("it is text, where an object with content is expected")
		}
		if err != nil {
			return fmt.Errorf("token %d: %w", id, err)
		}
		c.list(id, token)
	}
	return nil
}

// readTokens reads the tokens with a role, the standard ones first, and those without.
func (c *tokenizerConfig) readTokens(values, own *arguments, extra string) error {
	for _, name := range standardNames {
		if raw := values.get(name); raw != nil {
			if err := c.setNamed(name, raw); err != nil {
				return err
			}
		}
	}
	for _, key := range values.keys {
		raw := values.get(key)
		if kind := kindOf(raw); ownRole(key) && (kind == "text" || kind == "an object") {
			if err := c.setNamed(key, raw); err != nil {
				return err
			}
		}
	}
	for _, key := range own.keys {
		if err := c.setNamed(key, own.values[key]); err != nil {
			return err
		}
	}
	raw := values.get(extra)
	switch kindOf(raw) {
	case "null":
		return nil
	case "a list":
	default:
		return fmt.Errorf("%s is %s, where a list or an object is expected", extra, kindOf(raw))
	}
	var list []json.RawMessage
	if err := pyjson.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("%s: %w", extra, err)
	}
	for i, x := range list {
		token, err := readToken(x, true)
		if err != nil {
			return fmt.Errorf("%s, entry %d: %w", extra, i+1, err)
		}
		c.extra = append(c.extra, token)
	}
	return nil
}

// setNamed sets the token of a role; a role that has one already keeps its position.
func (c *tokenizerConfig) setNamed(name string, raw json.RawMessage) error {
	token, err := readToken(raw, true)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for i := range c.named {
		if c.named[i].name == name {
			c.named[i].token = token
			return nil
		}
	}
	c.named = append(c.named, namedToken{name, token})
	return nil
}

// readLegacy reads added_tokens.json, an object from texts to ids. Tokens with a role are special; with extra, those
// listed as extra tokens are special too.
func (c *tokenizerConfig) readLegacy(path string, extra bool) error {
	list, err := readObject(path)
	if err != nil {
		return err
	}
	special := map[string]bool{}
	for _, n := range c.named {
		// transformers compares the texts of objects before it reads them.
		if slices.Contains(standardNames, n.name) && !n.token.typed {
			special[n.token.Content] = true
		}
	}
	for _, n := range c.extra {
		if extra && !n.typed {
			special[n.Content] = true
		}
	}
	for _, m := range list {
		id, err := strconv.Atoi(string(bytes.TrimSpace(m.raw)))
		if err != nil {
			return fmt.Errorf("%s: %q has the id %s, which is no integer", path, m.key, clip(m.raw))
		}
		token := addedToken{Content: m.key, Special: special[m.key], Normalized: !special[m.key]}
		c.list(id, tokenSpec{addedToken: token, normalized: true})
	}
	return nil
}
