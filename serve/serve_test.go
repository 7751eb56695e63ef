package serve

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

const (
	chatPath = "/v1/chat/completions"
	textPath = "/v1/completions"
)

func hello() []object {
	return []object{{"role": "system", "content": "You are a search engine."},
		{"role": "user", "content": "Where do <b>whales</b> live? <|im_end|>"}}
}

// A chat's answer equals the engine's for the same ids and random stream: text, log-probabilities (bit for bit) and
// counts.
func TestChatIsTheEngine(t *testing.T) {
	r := newRig(t, Options{})
	ids, err := r.m.Tokenizer.EncodeChat(r.m.Template, tokenizer.ChatInput{AddGenerationPrompt: true,
		Messages: []tokenizer.Message{
			{Role: "system", Content: "You are a search engine."},
			{Role: "user", Content: "Where do <b>whales</b> live? <|im_end|>"}}})
	require.NoError(t, err)
	want, err := r.eng.Generate(t.Context(), engine.Request{Model: "m", Prompt: ids, MaxTokens: 40, Temperature: 0.8,
		TopP: 0.9, EOS: r.m.EOS, Stream: engine.Stream(42, 0)})
	require.NoError(t, err)

	a := r.post(chatPath, object{"model": "tiny", "messages": hello(), "max_tokens": 40, "temperature": 0.8,
		"top_p": 0.9, "seed": 42, "logprobs": true, "return_token_ids": true})
	require.Equal(t, "chat.completion", a.Object)
	require.Equal(t, "tiny", a.Model)
	require.True(t, strings.HasPrefix(a.ID, "chatcmpl-"))
	c := a.Choices[0]
	require.Equal(t, want.IDs, c.IDs)
	require.Equal(t, r.m.Tokenizer.Decode(want.IDs, true), c.Message.Content)
	require.Equal(t, "assistant", c.Message.Role)
	require.Equal(t, "length", c.Finish)
	require.Equal(t, usage{Prompt: len(ids), Completion: 40, Total: len(ids) + 40,
		Details: promptDetails{a.Usage.Details.Cached}}, *a.Usage)
	require.Positive(t, a.Usage.Details.Cached, "the engine has seen this prompt")
	var lp chatLogprobs
	require.NoError(t, json.Unmarshal(c.Logprobs, &lp))
	require.Len(t, lp.Content, 40)
	for i, e := range lp.Content {
		require.Equal(t, want.Logprobs[i], e.Logprob)
		var b []byte
		for _, x := range e.Bytes {
			b = append(b, byte(x))
		}
		require.Equal(t, r.m.Tokenizer.Bytes(want.IDs[i]), b)
	}
}

// A streamed response, assembled, equals the response without streaming.
func TestStreamIsTheWhole(t *testing.T) {
	r := newRig(t, Options{})
	for _, chat := range []bool{true, false} {
		for i, extra := range []object{
			{}, {"n": 3}, {"temperature": 0}, {"stop": "e"}, {"stop": []string{"zq", "on", " th"}, "n": 4},
			{"logprobs": 3, "n": 2},
			{"logprobs": 0, "stop": []string{"a"}, "temperature": 2},
			{"stream_options": object{"include_usage": true}, "ignore_eos": true},
			{"stream_options": object{"include_usage": true, "continuous_usage_stats": true}, "n": 2},
		} {
			path, q := textPath, object{"prompt": []string{"Whales are", "The sea"}, "max_tokens": 24, "seed": i,
				"return_token_ids": true}
			if chat {
				path, q = chatPath, object{"messages": hello(), "max_completion_tokens": 24, "seed": i,
					"return_token_ids": true}
			}
			for k, v := range extra {
				q[k] = v
				if k == "logprobs" && chat {
					q["logprobs"], q["top_logprobs"] = true, v
				}
			}
			s := r.stream(path, q)
			delete(q, "stream_options")
			a := r.post(path, q)
			require.True(t, s.done)
			require.Len(t, s.finish, len(a.Choices))
			for _, c := range a.Choices {
				require.Equal(t, c.Message.Content+c.Text, s.text[c.Index], "%v", q)
				require.Equal(t, c.Finish, s.finish[c.Index])
				require.Equal(t, c.IDs, s.ids[c.Index])
				if _, ok := q["logprobs"]; !ok {
					require.Equal(t, "null", string(c.Logprobs))
				} else if chat {
					var lp chatLogprobs
					require.NoError(t, json.Unmarshal(c.Logprobs, &lp))
					require.Equal(t, lp.Content, s.chat[c.Index])
				} else {
					var lp textLogprobs
					require.NoError(t, json.Unmarshal(c.Logprobs, &lp))
					require.Equal(t, lp, *s.plain[c.Index])
				}
			}
			options, _ := extra["stream_options"].(object)
			continuous := options["continuous_usage_stats"] == true
			for i := range s.ids {
				require.Equal(t, continuous, len(s.counts[i]) > 0)
				for _, c := range s.counts[i] {
					require.Equal(t, c.ids, c.completion)
					require.Positive(t, c.prompt)
				}
			}
			if extra["stream_options"] != nil {
				s.usage.Details = a.Usage.Details // the number of cached tokens differs
				require.Equal(t, a.Usage, s.usage)
			} else {
				require.Nil(t, s.usage)
			}
		}
	}
}

// The most probable tokens are the engine's. In greedy decoding the first of them is the sampled token.
func TestTopLogprobs(t *testing.T) {
	r := newRig(t, Options{})
	a := r.post(chatPath, object{"messages": hello(), "max_tokens": 6, "temperature": 0, "logprobs": true,
		"top_logprobs": 4, "return_token_ids": true})
	ids, err := r.m.Tokenizer.EncodeChat(r.m.Template, tokenizer.ChatInput{AddGenerationPrompt: true,
		Messages: []tokenizer.Message{
			{Role: "system", Content: "You are a search engine."},
			{Role: "user", Content: "Where do <b>whales</b> live? <|im_end|>"}}})
	require.NoError(t, err)
	var lp chatLogprobs
	require.NoError(t, json.Unmarshal(a.Choices[0].Logprobs, &lp))
	require.Len(t, lp.Content, 6)
	for i, e := range lp.Content {
		sc, err := r.eng.Score(t.Context(), "m", nil, append(ids[:len(ids):len(ids)], a.Choices[0].IDs[:i]...),
			engine.ScoreOptions{TopK: 4})
		require.NoError(t, err)
		require.Len(t, e.Top, 4)
		for k, x := range e.Top {
			require.Equal(t, sc.Top[k].Logprob, x.Logprob)
		}
		require.Equal(t, e.Token, e.Top[0].Token)
		require.InDelta(t, e.Logprob, e.Top[0].Logprob, 1e-5) // ln p is computed in two ways
	}
}

// A stop string may span tokens. No part of it or of what follows is returned, and generation ends there.
func TestStopSpansTokens(t *testing.T) {
	r := newRig(t, Options{})
	q := object{"prompt": "Whales", "max_tokens": 60, "seed": 5, "return_token_ids": true}
	full := r.post(textPath, q).Choices[0]
	pieces := func(i int) string { return r.m.Tokenizer.Decode(full.IDs[i:i+1], true) }
	tried := 0
	for i := 10; i+1 < len(full.IDs) && tried < 5; i++ {
		a, b := pieces(i), pieces(i+1)
		if len(a) < 3 || len(b) < 3 || strings.ContainsRune(a+b, '\uFFFD') {
			continue
		}
		stop := a[len(a)-2:] + b[:2]
		at := strings.Index(full.Text, stop)
		if at < 0 {
			continue // inside a character
		}
		tried++
		q["stop"] = []string{stop, "never to be seen"}
		c := r.post(textPath, q).Choices[0]
		require.Equal(t, full.Text[:at], c.Text)
		require.Equal(t, "stop", c.Finish)
		require.Less(t, len(c.IDs), len(full.IDs))
		s := r.stream(textPath, q)
		require.Equal(t, c.Text, s.text[0])
		require.Equal(t, "stop", s.finish[0])
	}
	require.Positive(t, tried)
}

// Prompts are a string, token ids, or lists of either. Choice i uses stream i of the seed, whatever other requests run.
func TestPromptForms(t *testing.T) {
	r := newRig(t, Options{})
	tok := r.m.Tokenizer
	x, y := tok.Encode("Whales are", tokenizer.EncodeOptions{AddSpecial: true}),
		tok.Encode("The sea", tokenizer.EncodeOptions{AddSpecial: true})
	ask := func(prompt any, n int) result {
		return r.post(textPath, object{"prompt": prompt, "n": n, "max_tokens": 12, "seed": -3,
			"return_token_ids": true})
	}
	both := ask([]string{"Whales are", "The sea"}, 2)
	require.Len(t, both.Choices, 4)
	require.Equal(t, len(x)+len(y), both.Usage.Prompt)
	require.Equal(t, 48, both.Usage.Completion)
	require.Equal(t, both.Choices, ask([][]int32{x, y}, 2).Choices)
	require.Equal(t, both.Choices[:2], ask(x, 2).Choices)
	require.Equal(t, both.Choices[0].Text, ask("Whales are", 1).Choices[0].Text)
	for i, c := range both.Choices {
		seed := -3
		want, err := r.eng.Generate(t.Context(), engine.Request{Model: "m", Prompt: [][]int32{x, y}[i/2], MaxTokens: 12,
			Temperature: 1, EOS: r.m.EOS, Stream: engine.Stream(uint64(seed), uint64(i))})
		require.NoError(t, err)
		require.Equal(t, want.IDs, c.IDs)
	}
	require.Len(t, ask("Whales are", 1).Choices[0].IDs, 12)
	require.Len(t, r.post(textPath, object{"prompt": "Whales"}).Choices, 1)
}

func TestModels(t *testing.T) {
	r := newRig(t, Options{})
	for _, path := range []string{"/v1/models", "/v1/models/tiny"} {
		status, _, text := r.do(t.Context(), "GET", path, nil)
		require.Equal(t, 200, status)
		require.Contains(t, string(text),
			fmt.Sprintf(`"id":"tiny","object":"model","created":%d,"owned_by":"zerosearch","root":"tiny",`+
				`"parent":null,"max_model_len":512`, r.s.began.Unix()))
	}
	status, _, text := r.do(t.Context(), "GET", "/v1/models/a/b", nil)
	require.Equal(t, 404, status)
	require.Contains(t, string(text), `"code":"model_not_found"`)
	_, err := New(r.eng, nil, Options{})
	require.ErrorContains(t, err, "no model to serve")
	_, err = New(r.eng, []Model{{ID: "x", Engine: "y"}}, Options{})
	require.ErrorContains(t, err, `no model "y"`)
	_, err = New(r.eng, []Model{r.m, r.m}, Options{})
	require.ErrorContains(t, err, "twice")
}

// Without a limit the answer ends at the end of the context, with finish_reason length.
func TestRunsToTheEndOfTheContext(t *testing.T) {
	r := newRig(t, Options{})
	for _, limit := range []any{nil, 100000} {
		a := r.post(chatPath, object{"messages": hello(), "max_tokens": limit, "seed": 1})
		require.Equal(t, context0, a.Usage.Total)
		require.Equal(t, "length", a.Choices[0].Finish)
	}
}
