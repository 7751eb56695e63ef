// Package sft is supervised fine-tuning (SFT). It gives a policy a warm start, or makes a simulator. The loss is the
// mean negative log-probability (in nats) over all trained ids of the batch.
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

// Example is one training sequence. IDs and Mask have the same length; Mask[i] says that IDs[i] is trained on.
type Example struct {
	IDs  []int32
	Mask []bool
}

// Coder encodes rows as examples. Tokenizer and Template may be nil if all rows hold ids.
type Coder struct {
	Tokenizer *tokenizer.Tokenizer
	Template  *tokenizer.Template
	EOS       []int32   // end-of-sequence ids
	MaxTokens int       // largest number of ids of an example; a longer example is an error; 0: no limit
	Vocab     int       // size of the vocabulary; a larger id is an error; 0: no limit
	Now       time.Time // the date that some templates print; zero: the present time

	// Digest is a hash of the rows that Load has read.
	Digest string

	specials []string // texts of all special tokens, the longest first
	tally
}

// Load reads and encodes all rows of a file (see data.Rows for the formats).
func (c *Coder) Load(path string) (_ []Example, err error) {
	defer func() { err = names.Error(err) }()
	if c.Now.IsZero() {
		c.Now = time.Now() // the same date for all rows
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
		for _, name := range []string{"ids", "mask", "prompt", "completion", "messages", "tools",
			"chat_template_kwargs"} {
			fmt.Fprintf(rows, "%d %s ", len(row.Columns[name]), row.Columns[name])
		}
	}
	c.Digest = hex.EncodeToString(rows.Sum(nil)[:16])
	if len(out) == 0 {
		return nil, fmt.Errorf("reading %s: no rows: give a file with at least one example", path)
	}
	return out, nil
}

// Encode makes an example from a row. The formats are those of TRL, and one that holds ids:
//
//	{"ids", "mask"}           the example itself
//	{"prompt", "completion"}  two texts: the completion and an end-of-sequence id are trained on; or two lists of
//	                          messages, as below: the completion's messages of the assistant are trained on
//	{"messages"}              a conversation, rendered by the chat template: every message of the assistant is trained
//	                          on, including the token that ends its turn
//
// In rows with messages, the columns "tools" and "chat_template_kwargs" are passed to the template.
func (c *Coder) Encode(row data.Row) (Example, error) {
	e, err := c.encode(row)
	switch {
	case err != nil:
		return e, err
	case c.MaxTokens > 0 && len(e.IDs) > c.MaxTokens:
		return e, fmt.Errorf("it has %d tokens, more than the %d that fit: shorten it or filter it out", len(e.IDs),
			c.MaxTokens)
	}
	for i, id := range e.IDs {
		if id < 0 || c.Vocab > 0 && int(id) >= c.Vocab {
			return e,
				fmt.Errorf("id %d at place %d is outside the model's vocabulary of %d: is it another tokenizer's?", id,
					i, c.Vocab)
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

// completion encodes a prompt and its completion, both texts; the completion is trained on.
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

// conversation encodes the messages of column, after those of the column before, if that is not "". The assistant's
// messages of column are trained on.
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

// tools reads the column tools: a list, or the JSON text of a list, as in data sets where a column can hold only one
// type.
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

// join encodes a text of n bytes in which turns are trained on; encode(i, j) gives the ids of bytes i to j. The text is
// encoded as a whole wherever the ids of a part up to a turn's beginning or end are a prefix of the ids of a longer
// part. Where a token would cross such a border, the text after it is encoded separately: in generation, too, the model
// continues from the ids of the text before the border.
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

// add appends ids; learn says whether they are trained on.
func (e *Example) add(ids []int32, learn bool) {
	e.IDs = append(e.IDs, ids...)
	for range ids {
		e.Mask = append(e.Mask, learn)
	}
}
