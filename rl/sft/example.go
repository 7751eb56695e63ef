// Package sft is supervised fine-tuning: the warm start of a policy, or the making of a simulator. The loss is the mean negative
// log-probability of the trained ids of a whole batch.
package sft

import (
	"fmt"

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
	MaxTokens int // longer examples are an error; 0: no limit
	Vocab     int // ids from here on are an error; 0: no limit
}

// Load reads all rows of a file (see data.Rows for the formats).
func (c *Coder) Load(path string) ([]Example, error) {
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
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading %s: no rows: give a file with at least one example", path)
	}
	return out, nil
}

// Encode makes an example of a row: {"ids","mask"} as they are; {"prompt","completion"} with the completion trained, and an
// end-of-sequence id after it; {"messages"} through the chat template with every assistant message trained, up to and with the token
// that ends its turn.
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
	for _, m := range e.Mask[min(1, len(e.Mask)):] {
		if m {
			return e, nil
		}
	}
	return e, fmt.Errorf("nothing in it is trained on: the mask is empty, or covers the first token only")
}

func (c *Coder) encode(row data.Row) (Example, error) {
	var ids, mask []int32
	if ok, err := row.Get("ids", &ids); err != nil {
		return Example{}, err
	} else if ok {
		if _, err := row.Get("mask", &mask); err != nil {
			return Example{}, err
		}
		if len(mask) != len(ids) {
			return Example{}, fmt.Errorf("it has %d ids and a mask of %d: give a 0 or 1 for every id", len(ids), len(mask))
		}
		e := Example{IDs: ids, Mask: make([]bool, len(ids))}
		for i, m := range mask {
			e.Mask[i] = m != 0
		}
		return e, nil
	}
	var prompt, completion string
	hasPrompt, err := row.Get("prompt", &prompt)
	if err == nil && hasPrompt {
		var has bool
		if has, err = row.Get("completion", &completion); has && err == nil {
			return c.completion(prompt, completion)
		}
	}
	if err != nil {
		return Example{}, err
	}
	var messages []tokenizer.Message
	if ok, err := row.Get("messages", &messages); err != nil {
		return Example{}, err
	} else if ok {
		return c.chat(messages)
	}
	return Example{}, fmt.Errorf("it has neither messages, nor prompt and completion, nor ids and mask; its columns are %v", row.Names())
}

func (c *Coder) completion(prompt, completion string) (e Example, err error) {
	if c.Tokenizer == nil {
		return e, errNoTokenizer
	}
	e.add(c.Tokenizer.Encode(prompt, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}), false)
	e.add(c.Tokenizer.Encode(completion, tokenizer.EncodeOptions{ParseSpecial: true}), true)
	if len(c.EOS) > 0 {
		e.add(c.EOS[:1], true)
	}
	return e, nil
}

var errNoTokenizer = fmt.Errorf("it is text and the model has no tokenizer.json: give rows with ids and mask, or a model folder with a tokenizer")

// chat renders the conversation once for every assistant message, without and with it: what the second has more is the message.
func (c *Coder) chat(messages []tokenizer.Message) (e Example, err error) {
	if c.Tokenizer == nil {
		return e, errNoTokenizer
	}
	if c.Template == nil {
		return e, fmt.Errorf("it has messages and the model has no chat template: give --chat-template FILE, or prompt and completion")
	}
	done := ""
	for i, m := range messages {
		if m.Role != "assistant" {
			continue
		}
		before, err := c.Template.Render(tokenizer.ChatInput{Messages: messages[:i], AddGenerationPrompt: true})
		if err != nil {
			return e, err
		}
		after, err := c.Template.Render(tokenizer.ChatInput{Messages: messages[:i+1]})
		if err != nil {
			return e, err
		}
		if len(before) < len(done) || len(after) < len(before) || before[:len(done)] != done || after[:len(before)] != before {
			return e, fmt.Errorf("the chat template rewrites earlier messages when later ones come, so assistant message %d cannot be marked: give ids and mask", i+1)
		}
		parse := tokenizer.EncodeOptions{ParseSpecial: true}
		e.add(c.Tokenizer.Encode(before[len(done):], parse), false)
		said := c.Tokenizer.Encode(after[len(before):], parse)
		end := len(said)
		for k, id := range said { // what the template puts after the end of the turn is not the model's
			if c.Tokenizer.Special(id) && k > 0 {
				end = k + 1
				break
			}
		}
		e.add(said[:end], true)
		e.add(said[end:], false)
		done = after
	}
	return e, nil
}

func (e *Example) add(ids []int32, learn bool) {
	e.IDs = append(e.IDs, ids...)
	for range ids {
		e.Mask = append(e.Mask, learn)
	}
}
