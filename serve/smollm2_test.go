package serve

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// newSmolLM2 is a rig over the real SmolLM2-135M-Instruct.
func newSmolLM2(t *testing.T) *rig {
	dir := os.Getenv("ZEROSEARCH_SMOLLM2")
	if dir == "" {
		t.Skip("set ZEROSEARCH_SMOLLM2 to a folder with SmolLM2-135M-Instruct")
	}
	tok, err := tokenizer.Open(dir)
	require.NoError(t, err)
	tmpl, err := tok.Chat()
	require.NoError(t, err)
	dev, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	m, err := model.Load(dev, dir, model.Options{DType: kernels.BF16})
	require.NoError(t, err)
	e := engine.New(dev, engine.Options{})
	require.NoError(t, e.AddModel("m", m, engine.ModelOptions{MaxContext: 1024}))
	r := &rig{t: t, eng: e, m: Model{ID: "smollm2", Engine: "m", Config: m.Config, Tokenizer: tok, Template: tmpl,
		EOS: tok.EOSIDs()}}
	r.s, err = New(e, []Model{r.m}, Options{})
	require.NoError(t, err)
	h := httptest.NewServer(r.s)
	t.Cleanup(func() {
		h.Close()
		e.Close()
		m.Close()
		require.NoError(t, dev.Close())
	})
	r.url, r.http = h.URL, h.Client()
	return r
}

// Answers of a real model under parameters whose effect is visible only in the text.
func TestSmolLM2(t *testing.T) {
	r := newSmolLM2(t)
	question := object{"role": "user", "content": "Name the capital of France."}
	ask := func(extra object) result {
		return r.post(chatPath, with(object{"messages": []object{question}, "max_tokens": 60, "temperature": 0}, extra))
	}
	plain := ask(nil)
	require.Equal(t, "The capital of France is Paris.", plain.Choices[0].Message.Content)
	require.Equal(t, "The capital of France is", ask(object{"stop_token_ids": []int{7042}}).Choices[0].Message.Content)
	long := ask(object{"min_tokens": 50})
	require.GreaterOrEqual(t, long.Usage.Completion, 50)
	require.True(t, strings.HasPrefix(long.Choices[0].Message.Content, "The capital of France is Paris. It's a city"),
		"%s", long.Choices[0].Message.Content)
	other := ask(object{"repetition_penalty": 1.9}).Choices[0].Message.Content
	require.True(t,
		strings.HasPrefix(other, "The Capital is Paris! It's not just any city; it serves as both home and symbol"),
		"%s", other)
	require.Equal(t, plain.Choices, ask(object{"chat_template_kwargs": object{"enable_thinking": false}}).Choices)
	open := r.post(chatPath,
		object{"messages": []object{question, {"role": "assistant", "content": "The capital of France is the city of"}},
			"continue_final_message": true, "add_generation_prompt": false, "max_tokens": 60, "temperature": 0})
	require.Equal(t, 44, open.Usage.Prompt)
	require.Equal(t, " Paris.", open.Choices[0].Message.Content)

	called := json.RawMessage(
		`{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]}`)
	r.post(chatPath, object{"messages": []any{object{"role": "user", "content": "w?"}, called,
		object{"role": "tool", "tool_call_id": "c1", "content": "Paris"}, question}, "max_tokens": json.Number("12.0"),
		"temperature": 0})
}
