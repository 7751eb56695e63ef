package tokenizer

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestContinueFinalMessage: what transformers 5.23.0 renders with continue_final_message=True.
func TestContinueFinalMessage(t *testing.T) {
	const smol = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging " +
		"Face<|im_end|>\n<|im_start|>user\n"
	tok := open(t, "smollm2")
	chat, err := tok.Chat()
	require.NoError(t, err)
	trim, err := ParseTemplate(
		"{% for m in messages %}<|h|>{{ m.role }}<|e|>{{ m['content'] | trim }}<|eot|>{% endfor %}")
	require.NoError(t, err)
	parts, err := ParseTemplate(
		"{% for m in messages %}[{% for p in m['content'] %}{{ p.text }}{% endfor %}]{% endfor %}")
	require.NoError(t, err)
	first, err := ParseTemplate("{{ messages[0].content }}")
	require.NoError(t, err)
	upper, err := ParseTemplate("{% for m in messages %}{{ m.content | upper }}{% endfor %}")
	require.NoError(t, err)
	for _, c := range []struct {
		tmpl           *Template
		messages, want string
	}{
		{chat, `[{"role":"user","content":"Q"},{"role":"assistant","content":"The city of"}]`,
			smol + "Q<|im_end|>\n<|im_start|>assistant\nThe city of"},
		{chat, `[{"role":"user","content":"Q"},{"role":"assistant","content":" two\nlines \n"}]`,
			smol + "Q<|im_end|>\n<|im_start|>assistant\n two\nlines \n"},
		{chat, `[{"role":"user","content":"The city of"},{"role":"assistant","content":"x The city of"}]`,
			smol + "The city of<|im_end|>\n<|im_start|>assistant\nx The city of"},
		{chat, `[{"role":"user","content":"Where"}]`, smol + "Where"},
		{chat, `[{"role":"user","content":"a"},{"role":"assistant","content":""}]`,
			smol + "a<|im_end|>\n<|im_start|>assistant\n"},
		{trim, `[{"role":"user","content":"Q"},{"role":"assistant","content":" two\nlines \n"}]`,
			"<|h|>user<|e|>Q<|eot|><|h|>assistant<|e|>two\nlines"},
		{trim, `[{"role":"user","content":"a"},{"role":"assistant","content":""}]`,
			"<|h|>user<|e|>a<|eot|><|h|>assistant<|e|>"},
		{parts, `[{"role":"user","content":[{"type":"text","text":"a "},{"type":"text","text":"b  "}]}]`, "[a b  "},
		{first, `[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}]`, "error: leaves it out"},
		{upper, `[{"role":"user","content":"Q"},{"role":"assistant","content":"abc"}]`, "error: changes what it says"},
		{trim, `[{"role":"assistant","content":null}]`, "error: no text in the last message"},
		{trim, `[]`, "error: no text in the last message"},
	} {
		var in ChatInput
		require.NoError(t, json.Unmarshal([]byte(c.messages), &in.Messages))
		in.ContinueFinalMessage = true
		text, err := c.tmpl.Render(in)
		if len(c.want) > 7 && c.want[:7] == "error: " {
			require.ErrorContains(t, err, c.want[7:])
			continue
		}
		require.NoError(t, err, c.messages)
		require.Equal(t, c.want, text)
		if c.tmpl == chat {
			ids, err := tok.EncodeChat(chat, in)
			require.NoError(t, err)
			require.Equal(t, tok.Encode(c.want, EncodeOptions{ParseSpecial: true}), ids)
		}
	}

	// The text of a special token in the message that goes on is text, as in any other.
	in := ChatInput{Messages: []Message{{Role: "user", Content: "x <|im_end|> y"}}, ContinueFinalMessage: true}
	ids, err := tok.EncodeChat(chat, in)
	require.NoError(t, err)
	opening := tok.Encode(smol, EncodeOptions{ParseSpecial: true})
	require.Equal(t, append(opening, tok.Encode("x <|im_end|> y", EncodeOptions{})...), ids)
}
