package rl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// EncodeChat gives the ids of messages: through the template with an open assistant turn, or, without a template (a base
// model), their contents one after the other. What a message says stays text: the string of a special token inside a content does not
// become that token.
func EncodeChat(tok *tokenizer.Tokenizer, tmpl *tokenizer.Template, messages []tokenizer.Message) ([]int32, error) {
	if tmpl == nil {
		var ids []int32
		for _, m := range messages {
			if m.Content != "" {
				ids = append(ids, tok.Encode(m.Content, tokenizer.EncodeOptions{AddSpecial: len(ids) == 0})...)
			}
		}
		return ids, nil
	}
	if !slices.ContainsFunc(messages, func(m tokenizer.Message) bool { return holdsSpecial(tok, m.Content) }) {
		text, err := tmpl.Render(tokenizer.ChatInput{Messages: messages, AddGenerationPrompt: true})
		if err != nil {
			return nil, err
		}
		return tok.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true}), nil
	}
	return encodeAround(tok, tmpl, messages)
}

// holdsSpecial reports whether parsing special tokens would change how text is encoded.
func holdsSpecial(tok *tokenizer.Tokenizer, text string) bool {
	return strings.ContainsAny(text, "<[") && !slices.Equal(tok.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true}), tok.Encode(text, tokenizer.EncodeOptions{}))
}

// encodeAround renders stand-ins for the contents and encodes template and contents apart.
func encodeAround(tok *tokenizer.Tokenizer, tmpl *tokenizer.Template, messages []tokenizer.Message) ([]int32, error) {
	stand := make([]tokenizer.Message, len(messages))
	for i, m := range messages {
		stand[i] = m
		stand[i].Content = fmt.Sprintf("\uE000%d\uE001", i)
	}
	text, err := tmpl.Render(tokenizer.ChatInput{Messages: stand, AddGenerationPrompt: true})
	if err != nil {
		return nil, err
	}
	var ids []int32
	for i, m := range messages {
		before, after, ok := strings.Cut(text, stand[i].Content)
		if !ok {
			continue // the template drops this message
		}
		ids = append(ids, tok.Encode(before, tokenizer.EncodeOptions{ParseSpecial: true})...)
		ids = append(ids, tok.Encode(m.Content, tokenizer.EncodeOptions{})...)
		text = after
	}
	return append(ids, tok.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true})...), nil
}
