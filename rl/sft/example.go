// Package sft is supervised fine-tuning: the warm start of a policy, or the making of a simulator. The loss is the mean negative
// log-probability of the trained ids of a whole batch.
package sft

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Example is one text to learn: Mask[i] says that IDs[i] is trained on.
type Example struct {
	IDs  []int32
	Mask []bool
}

// Coder turns rows into examples. Tokenizer and Template may be nil where the rows hold ids.
type Coder struct {
	Tokenizer *tokenizer.Tokenizer
	Template  *tokenizer.Template
	EOS       []int32
	MaxTokens int       // longer examples are an error; 0: no limit
	Vocab     int       // ids from here on are an error; 0: no limit
	Now       time.Time // the date that some templates print; zero: the clock

	// Digest tells the rows that Load has read apart from others.
	Digest string

	specials []string // texts of special tokens, the longest first
	tally
}

// Load reads all rows of a file (see data.Rows for the formats).
func (c *Coder) Load(path string) ([]Example, error) {
	if c.Now.IsZero() {
		c.Now = time.Now() // one date for all renderings
	}
	rows := sha256.New()
	var out []Example
	for row, err := range data.Rows(path) {
		if err != nil {
			return nil, err
		}
		e, err := c.Encode(row)
		if err != nil {
			return nil, fmt.Errorf("reading %s: row %d: %w", path, row.N, err)
		}
		out = append(out, e)
		for _, name := range []string{"ids", "mask", "prompt", "completion", "messages", "tools", "chat_template_kwargs"} {
			fmt.Fprintf(rows, "%d %s ", len(row.Columns[name]), row.Columns[name])
		}
	}
	c.Digest = hex.EncodeToString(rows.Sum(nil)[:16])
	if len(out) == 0 {
		return nil, fmt.Errorf("reading %s: no rows: give a file with at least one example", path)
	}
	return out, nil
}

// Encode makes an example of a row, in the formats of TRL and one of ids:
//
//	{"ids", "mask"}           as they are
//	{"prompt", "completion"}  two texts: the completion and an end-of-sequence id are trained on; or two lists of
//	                          messages, as below: the completion's messages of the assistant are trained on
//	{"messages"}              a conversation, through the chat template: every message of the assistant is trained on,
//	                          up to and with the token that ends its turn
//
// Beside messages, "tools" and "chat_template_kwargs" are given to the template.
func (c *Coder) Encode(row data.Row) (Example, error) {
	e, err := c.encode(row)
	switch {
	case err != nil:
		return e, err
	case c.MaxTokens > 0 && len(e.IDs) > c.MaxTokens:
		return e, fmt.Errorf("it has %d tokens, more than the %d that fit: shorten it or filter it out", len(e.IDs), c.MaxTokens)
	}
	for i, id := range e.IDs {
		if id < 0 || c.Vocab > 0 && int(id) >= c.Vocab {
			return e, fmt.Errorf("id %d at place %d is outside the model's vocabulary of %d: is it another tokenizer's?", id, i, c.Vocab)
		}
	}
	if !slices.Contains(e.Mask[min(1, len(e.Mask)):], true) {
		return e, fmt.Errorf("nothing in it is trained on: the mask is empty, or covers the first token only")
	}
	return e, nil
}

var (
	errNoTokenizer = errors.New("it is text and the model has no tokenizer.json: give rows with ids and mask, " +
		"or a model folder with a tokenizer")
	errNoTemplate = errors.New("it has messages and the model has no chat template: give --chat-template FILE, " +
		"or prompt and completion as text")
)

func (c *Coder) encode(row data.Row) (e Example, err error) {
	has := func(column string) bool {
		raw, ok := row.Columns[column]
		return ok && string(raw) != "null"
	}
	switch {
	case has("ids"):
		return idsAndMask(row)
	case has("prompt") && has("completion"):
		if isList(row.Columns["prompt"]) != isList(row.Columns["completion"]) {
			return e, errors.New("of prompt and completion one is text and one a list of messages: " +
				"give both as text or both as messages")
		}
		if !isList(row.Columns["prompt"]) {
			return c.completion(row)
		}
		return c.conversation(row, "prompt", "completion")
	case has("messages"):
		return c.conversation(row, "", "messages")
	}
	return e, fmt.Errorf("it has neither messages, nor prompt and completion, nor ids and mask; its columns are %v",
		row.Names())
}

func isList(raw json.RawMessage) bool { return bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) }

func idsAndMask(row data.Row) (e Example, err error) {
	var mask []int32
	if _, err := row.Get("ids", &e.IDs); err != nil {
		return e, err
	}
	if _, err := row.Get("mask", &mask); err != nil {
		return e, err
	}
	if len(mask) != len(e.IDs) {
		return e, fmt.Errorf("it has %d ids and a mask of %d: give a 0 or 1 for every id", len(e.IDs), len(mask))
	}
	e.Mask = make([]bool, len(e.IDs))
	for i, m := range mask {
		if m != 0 && m != 1 {
			return e, fmt.Errorf("its mask has %d at place %d: give a 0 or 1 for every id", m, i)
		}
		e.Mask[i] = m == 1
	}
	return e, nil
}

// completion trains on a text behind another.
func (c *Coder) completion(row data.Row) (e Example, err error) {
	var prompt, text string
	if _, err = row.Get("prompt", &prompt); err == nil {
		_, err = row.Get("completion", &text)
	}
	switch {
	case err != nil:
		return e, err
	case c.Tokenizer == nil:
		return e, errNoTokenizer
	}
	o := tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}
	e = join(len(prompt)+len(text), []turn{{len(prompt), len(prompt) + len(text)}}, func(i, j int) []int32 {
		o.AddSpecial = i == 0
		return c.Tokenizer.Encode((prompt + text)[i:j], o)
	})
	if n := len(e.IDs); len(c.EOS) > 0 && (n == 0 || !slices.Contains(c.EOS, e.IDs[n-1])) {
		e.add(c.EOS[:1], true)
	}
	return e, nil
}

// conversation trains on the assistant's messages in a column of messages, behind those of another column, which may
// be none.
func (c *Coder) conversation(row data.Row, before, column string) (e Example, err error) {
	var prompt, said []tokenizer.Message
	in := tokenizer.ChatInput{Now: c.Now}
	if before != "" {
		_, err = row.Get(before, &prompt)
	}
	if err == nil {
		_, err = row.Get(column, &said)
	}
	if err == nil {
		err = tools(row, &in.Tools)
	}
	if err == nil {
		_, err = row.Get("chat_template_kwargs", &in.Vars)
	}
	switch {
	case err != nil:
		return e, err
	case c.Tokenizer == nil:
		return e, errNoTokenizer
	case c.Template == nil:
		return e, errNoTemplate
	}
	in.Messages = append(prompt, said...)
	for i := range in.Messages {
		m := &in.Messages[i]
		if m.Role == "" {
			return e, fmt.Errorf("message %d has no role: write messages as {\"role\", \"content\"}", i+1)
		}
		if err := m.JoinParts(); err != nil {
			return e, fmt.Errorf("message %d: %w", i+1, err)
		}
	}
	return c.chat(in, len(prompt))
}

// tools reads the column of that name: a list, or, as data sets with one type a column have it, the JSON text of one.
func tools(row data.Row, list *[]json.RawMessage) error {
	if raw := row.Columns["tools"]; !bytes.HasPrefix(bytes.TrimSpace(raw), []byte(`"`)) {
		_, err := row.Get("tools", list)
		return err
	}
	var text string
	if _, err := row.Get("tools", &text); err != nil || text == "" {
		return err
	}
	if err := json.Unmarshal([]byte(text), list); err != nil {
		return errors.New("column tools: its text is not the JSON of a list of tools")
	}
	return nil
}

// join encodes a text of n bytes whose turns are trained on; encode gives the ids of a part of it. All is encoded as
// one text, as long as the ids of the text up to the beginning or end of a turn begin the ids of more of it. Where a
// token would cross that border, what follows is encoded by itself: a model that is given the text before it goes on
// from there, too.
func join(n int, turns []turn, encode func(i, j int) []int32) (e Example) {
	done := 0
	add := func(to int, learn bool) {
		if to == done {
			return
		}
		ids := encode(0, to)
		if k := len(e.IDs); len(ids) >= k && slices.Equal(ids[:k], e.IDs) {
			e.add(ids[k:], learn)
		} else {
			e.add(encode(done, to), learn)
		}
		done = to
	}
	for _, t := range turns {
		add(t.start, false)
		add(t.end, true)
	}
	add(n, false)
	return e
}

func (e *Example) add(ids []int32, learn bool) {
	e.IDs = append(e.IDs, ids...)
	for range ids {
		e.Mask = append(e.Mask, learn)
	}
}
