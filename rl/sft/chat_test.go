package sft_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/sft"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Conversations give the ids of transformers 5.23.0 and, except for white space after the end of a turn, the masks of
// TRL, for the chat templates of published models (see testdata/make.py).
func TestChatAsReference(t *testing.T) {
	text, err := os.ReadFile("testdata/chat.jsonl")
	require.NoError(t, err)
	coders := map[string]*sft.Coder{}
	for line := range strings.Lines(string(text)) {
		var c struct {
			Template, Tokenizer string
			Source              string // of a template that belongs to no published model
			Special             map[string]string
			Ends                []int32
			Row                 map[string]json.RawMessage
			IDs, Mask           []int32
		}
		require.NoError(t, json.Unmarshal([]byte(line), &c))
		t.Run(strings.TrimSuffix(c.Template, ".jinja"), func(t *testing.T) {
			coder := coders[c.Template]
			if coder == nil {
				coder = &sft.Coder{EOS: c.Ends}
				if c.Tokenizer == "smollm2" {
					coder.Tokenizer, err = tokenizer.Open("../../tokenizer/testdata/smollm2")
					require.NoError(t, err)
					coder.Template, err = coder.Tokenizer.Chat()
					if c.Source != "" {
						coder.Template, err = coder.Tokenizer.ParseTemplate(c.Source)
					}
				} else {
					source, rerr := os.ReadFile(goldens.Data(t, "tokenizers/chat_templates/"+c.Template))
					require.NoError(t, rerr)
					coder.Tokenizer, err = tokenizer.Open(goldens.Data(t, "tokenizers/"+c.Tokenizer))
					require.NoError(t, err)
					coder.Template, err = coder.Tokenizer.ParseTemplate(string(source))
					if bos := c.Special["bos_token"]; err == nil && bos != "" {
						coder.Template, err = coder.Template.With("bos_token", bos)
					}
				}
				require.NoError(t, err)
				coders[c.Template] = coder
			}
			e, err := coder.Encode(data.Row{N: 1, Columns: c.Row})
			require.NoError(t, err, line)
			require.Equal(t, c.IDs, e.IDs, line)
			mask := make([]int32, len(e.Mask))
			for i, m := range e.Mask {
				if m {
					mask[i] = 1
				}
			}
			require.Equal(t, c.Mask, mask, line)
		})
	}
}

// user and assistant begin messages of chatML.
const user, assistant = "<|im_start|>user\n", "<|im_start|>assistant\n"

// A template may open a thought in a turn without one, or render earlier turns differently than they were generated.
// The messages that can be located are trained on, and the others are counted.
func TestChatNotes(t *testing.T) {
	// The generation prompt opens a thought, as with DeepSeek-R1's distillations; a message is rendered unchanged.
	opens := strings.Replace(chatML, "assistant\n' }}{% endif %}", "assistant\n<think>\n' }}{% endif %}", 1)
	require.NotEqual(t, chatML, opens)
	// Only the last message keeps its thought, as with Qwen3.
	drops := "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and loop.last " +
		"%}{{ '<think></think>' }}{% endif %}" +
		"{{ m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% " +
		"endif %}"
	// All thoughts are left out, that of the last message as well.
	silent := strings.Replace(chatML, "m['content']", "m['content'].split('</think>')[-1]", 1)
	// The template appends a token to the end of the text, as with Phi-3.
	ends := strings.Replace(chatML, "{% endif %}", "{% else %}{{ '<|end|>' }}{% endif %}", 1)
	// No token ends a turn.
	plain := "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt " +
		"%}{{ 'assistant: ' }}{% endif %}"
	one := `{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}]}`
	two := `{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"},{"role":"user","content":"v"},{"role":"assistant","content":"b"}]}`
	thinks := `{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"<think>\nhm</think>a"}]}`
	for _, x := range []struct{ name, template, row, want, note string }{
		{"a thought that is not there", opens, one, user + "u<|im_end|>\n" + assistant + "[a<|im_end|>]\n",
			`1 of 1 messages of the assistant are trained on without "<think>\n", which the chat template's generation prompt adds`},
		{"a thought that is there", opens, thinks, user + "u<|im_end|>\n" + assistant +
			"<think>\n[hm</think>a<|im_end|>]\n", ""},
		{"a message that begins like the tag", opens, strings.Replace(one, `"a"`, `"<thick"`, 1),
			user + "u<|im_end|>\n" + assistant + "[<thick<|im_end|>]\n", "without"},
		{"both", opens, two, user + "u<|im_end|>\n" + assistant + "[a<|im_end|>]\n" + user + "v<|im_end|>\n" +
			assistant + "[b<|im_end|>]\n", "2 of 2"},
		{"earlier messages are rewritten", drops, two, user + "u<|im_end|>\n" + assistant + "a<|im_end|>\n" + user +
			"v<|im_end|>\n" + assistant + "[<think></think>b<|im_end|>]\n",
			"1 of 2 messages of the assistant are context only, not trained on: the chat template rewrites earlier " +
				"messages when later ones come"},
		{"the thought is left out", silent, thinks, user + "u<|im_end|>\n" + assistant + "[a<|im_end|>]\n",
			"1 of 1 messages of the assistant are trained on without their thought: the chat template leaves it out"},
		{"the end of the text is not the turn's", ends, two,
			user + "u<|im_end|>\n" + assistant + "[a<|im_end|>]\n" + user + "v<|im_end|>\n" + assistant +
				"[b<|im_end|>]\n<|end|>", ""},
		{"no end", plain, two, "user: u\nassistant: [a\n]user: v\nassistant: [b\n]", ""},
	} {
		c := coder(t, x.template)
		c.EOS = []int32{1} // <|im_end|>
		e, err := c.Encode(row(t, x.row))
		require.NoError(t, err, x.name)
		require.Equal(t, x.want, learned(c, e), x.name)
		if x.note == "" {
			require.Empty(t, c.Notes(), x.name)
		} else {
			require.Len(t, c.Notes(), 1, x.name)
			require.Contains(t, c.Notes()[0], x.note, x.name)
		}
	}
	c := coder(t, "{% for m in messages %}{{ 'A ' + m.content + '<|im_end|>' }}{% endfor %}{% if "+
		"add_generation_prompt %}{{ 'B ' }}{% endif %}")
	_, err := c.Encode(row(t, one))
	require.ErrorContains(t, err,
		`message 2 cannot be trained on: the generation prompt, which ends with "A u<|im_end|>B ", does not begin the message`)
	c = coder(t, "{% if messages|length < 2 %}{{ raise_exception('too short') }}{% endif %}"+chatML)
	_, err = c.Encode(row(t, one))
	require.ErrorContains(t, err, "message 2 cannot be trained on: nothing can be generated before it")
	require.ErrorContains(t, err, "too short")
}

// The text of a special token becomes that token only in messages that are trained on; in other messages it stays text,
// as in every prompt.
func TestSpecialText(t *testing.T) {
	c := coder(t, chatML)
	messages := []tokenizer.Message{{Role: "system", Content: "<|end|>"}, {Role: "user", Content: "u<|im_end|>"}}
	prompt, err := c.Tokenizer.EncodeChat(c.Template, tokenizer.ChatInput{Messages: messages,
		AddGenerationPrompt: true})
	require.NoError(t, err)
	e, err := c.Encode(
		row(t,
			`{"messages":[{"role":"system","content":"<|end|>"},{"role":"user","content":"u<|im_end|>"},{"role":"assistant","content":"a<|end|>b"}]}`))
	require.NoError(t, err)
	require.Equal(t, prompt, e.IDs[:len(prompt)], "the ids of a prompt")
	require.NotContains(t, e.Mask[:len(prompt)], true)
	require.Equal(t, []int32{'a' - '!', 2, 'b' - '!', 1}, []int32{e.IDs[len(prompt)] - 3, e.IDs[len(prompt)+1],
		e.IDs[len(prompt)+2] - 3, e.IDs[len(prompt)+3]})
	require.Equal(t, []bool{true, true, true, true, false}, e.Mask[len(prompt):])
}

// The columns chat_template_kwargs and tools of a row are passed to its template.
func TestChatVariables(t *testing.T) {
	c := coder(t, "{% if tools %}{% for k in tools %}{{ k.name + style }}{% endfor %}{% endif %}"+chatML)
	for tools, want := range map[string]string{`[{"name":"f"}]`: "f!", `"[{\"name\":\"f\"}]"`: "f!", `""`: "",
		`null`: "", `[]`: ""} {
		e, err := c.Encode(
			row(t, `{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}],"tools":`+tools+
				`,"chat_template_kwargs":{"style":"!"}}`))
		require.NoError(t, err, tools)
		require.Equal(t, want+user+"u<|im_end|>\n"+assistant+"[a<|im_end|>]\n", learned(c, e), tools)
	}
	_, err := c.Encode(
		row(t, `{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}],"tools":"f"}`))
	require.ErrorContains(t, err, "column tools: its text is not the JSON of a list of tools")
}

// With a tokenizer that puts a blank before each text, prompt and completion are encoded as one text, as in
// transformers.
func TestCompletionSentencePiece(t *testing.T) {
	tok, err := tokenizer.Open(goldens.Data(t, "tokenizers/llama2/tokenizer.model"))
	require.NoError(t, err)
	c := &sft.Coder{Tokenizer: tok, EOS: []int32{2}}
	e, err := c.Encode(row(t, `{"prompt":"The capital of France is","completion":" Paris."}`))
	require.NoError(t, err)
	require.Equal(t, []int32{1, 450, 7483, 310, 3444, 338, 3681, 29889, 2}, e.IDs)
	require.Equal(t, []bool{false, false, false, false, false, false, true, true, true}, e.Mask)
}
