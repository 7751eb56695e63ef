package serve

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// with is a copy of q with more members.
func with(q, extra object) object {
	all := maps.Clone(q)
	maps.Copy(all, extra)
	return all
}

// Every sampling parameter reaches the engine: the answer, with log-probabilities, equals that of a direct engine
// request.
func TestSamplingParametersReachTheEngine(t *testing.T) {
	r := newRig(t, Options{})
	prompt := r.m.Tokenizer.Encode("Whales sing in the sea", tokenizer.EncodeOptions{AddSpecial: true})
	base := engine.Request{Model: "m", Prompt: prompt, MaxTokens: 24, Temperature: 1, EOS: r.m.EOS,
		Stream: engine.Stream(7, 0)}
	plain, err := r.eng.Generate(t.Context(), base)
	require.NoError(t, err)
	id := plain.IDs[4]
	different := 0
	for _, c := range []struct {
		q  object
		to func(e *engine.Request)
	}{
		{object{"temperature": 0.5}, func(e *engine.Request) { e.Temperature = 0.5 }},
		{object{"top_k": 3}, func(e *engine.Request) { e.TopK = 3 }},
		{object{"top_p": 0.4}, func(e *engine.Request) { e.TopP = 0.4 }},
		{object{"min_p": 0.9}, func(e *engine.Request) { e.MinP = 0.9 }},
		{object{"presence_penalty": 1.5, "temperature": 0.1},
			func(e *engine.Request) { e.Presence, e.Temperature = 1.5, 0.1 }},
		{object{"frequency_penalty": -2, "temperature": 0.1},
			func(e *engine.Request) { e.Frequency, e.Temperature = -2, 0.1 }},
		{object{"repetition_penalty": 0.01}, func(e *engine.Request) { e.Repetition = 0.01 }},
		{object{"logit_bias": object{fmt.Sprint(id): -100}},
			func(e *engine.Request) { e.LogitBias = map[int32]float64{id: -100} }},
		{object{"logit_bias": object{"77": 30}}, func(e *engine.Request) { e.LogitBias = map[int32]float64{77: 30} }},
		{object{"stop_token_ids": []int32{id}}, func(e *engine.Request) { e.EOS = append([]int32{id}, r.m.EOS...) }},
		{object{"stop_token_ids": []int32{id}, "min_tokens": 20},
			func(e *engine.Request) { e.EOS, e.MinTokens = append([]int32{id}, r.m.EOS...), 20 }},
		{object{"stop_token_ids": []int32{id}, "ignore_eos": true}, func(e *engine.Request) { e.EOS = []int32{id} }},
		{object{"seed": 8.0}, func(e *engine.Request) { e.Stream = engine.Stream(8, 0) }},
		{object{"max_tokens": 5.0}, func(e *engine.Request) { e.MaxTokens = 5 }},
	} {
		want := base
		c.to(&want)
		res, err := r.eng.Generate(t.Context(), want)
		require.NoError(t, err)
		a := r.post(textPath,
			with(object{"prompt": prompt, "max_tokens": 24, "seed": 7, "logprobs": 0, "return_token_ids": true}, c.q))
		require.Equal(t, res.IDs, a.Choices[0].IDs, "%v", c.q)
		var lp textLogprobs
		require.NoError(t, json.Unmarshal(a.Choices[0].Logprobs, &lp))
		for i, x := range lp.Values {
			require.Equal(t, res.Logprobs[i], x)
		}
		if !slices.Equal(plain.IDs, res.IDs) {
			different++
		}
	}
	require.GreaterOrEqual(t, different, 12, "they do nothing")
	for name, q := range map[string]object{"stop_token_ids has id 49152": {"stop_token_ids": []int{49152}},
		"stop_token_ids has id -1": {"stop_token_ids": []int{-1}},
		"logit_bias has id 49152":  {"logit_bias": object{"49152": 1}}, "longest answer, 16 tokens": {"min_tokens": 17},
		"longest answer, 3 tokens": {"min_tokens": 4, "max_tokens": 3}} {
		status, _, text := r.do(t.Context(), "POST", textPath, marshal(t, with(object{"prompt": "x"}, q)))
		require.Equal(t, 400, status)
		require.Contains(t, string(text), name)
	}
}

// The stop string or token that ends an answer is left out of its text or kept, and named in stop_reason. It has no
// effect before min_tokens.
func TestWhatEndsAnAnswer(t *testing.T) {
	r := newRig(t, Options{})
	tok := r.m.Tokenizer
	q := object{"prompt": "Whales", "max_tokens": 40, "temperature": 0, "return_token_ids": true}
	type ended struct {
		result
		reason any
	}
	ask := func(extra object) (e ended) {
		_, _, text := r.do(t.Context(), "POST", textPath, marshal(t, with(q, extra)))
		var reason struct {
			Choices []struct {
				Reason any `json:"stop_reason"`
			}
		}
		require.NoError(t, json.Unmarshal(text, &e.result))
		require.NoError(t, json.Unmarshal(text, &reason))
		require.Len(t, e.Choices, 1, "%s", text)
		e.reason = reason.Choices[0].Reason
		s := r.stream(textPath, with(q, extra))
		require.Equal(t, e.Choices[0].Text, s.text[0])
		require.Equal(t, e.Choices[0].Finish, s.finish[0])
		return e
	}
	full := ask(nil)
	require.Nil(t, full.reason)
	id := full.Choices[0].IDs[9]
	at := slices.Index(full.Choices[0].IDs, id)

	byID := ask(object{"stop_token_ids": []int32{id}})
	require.Equal(t, full.Choices[0].IDs[:at+1], byID.Choices[0].IDs)
	require.Equal(t, tok.Decode(full.Choices[0].IDs[:at], true), byID.Choices[0].Text)
	require.Equal(t, "stop", byID.Choices[0].Finish)
	require.EqualValues(t, id, byID.reason)
	kept := ask(object{"stop_token_ids": []int32{id}, "include_stop_str_in_output": true})
	require.Equal(t, tok.Decode(full.Choices[0].IDs[:at+1], true), kept.Choices[0].Text)
	later := ask(object{"stop_token_ids": []int32{id}, "min_tokens": 30})
	require.GreaterOrEqual(t, len(later.Choices[0].IDs), 30)
	require.NotContains(t, later.Choices[0].IDs[:30], id)

	stop := strings.TrimSpace(tok.Decode([]int32{full.Choices[0].IDs[6]}, true))
	byText := ask(object{"stop": stop})
	begin := strings.Index(full.Choices[0].Text, stop)
	require.Equal(t, full.Choices[0].Text[:begin], byText.Choices[0].Text)
	require.Equal(t, stop, byText.reason)
	kept = ask(object{"stop": []string{stop}, "include_stop_str_in_output": true})
	require.Equal(t, full.Choices[0].Text[:begin+len(stop)], kept.Choices[0].Text)
	later = ask(object{"stop": stop, "min_tokens": 40})
	require.Equal(t, full.Choices[0], later.Choices[0])

	always := object{"logit_bias": object{fmt.Sprint(r.m.EOS[0]): 100}, "max_tokens": 3}
	require.Len(t, ask(always).Choices[0].IDs, 1)
	ignored := ask(with(always, object{"ignore_eos": true}))
	require.Equal(t, "length", ignored.Choices[0].Finish)
	require.Equal(t, slices.Repeat(r.m.EOS[:1], 3), ignored.Choices[0].IDs)

	special := with(q, object{"logit_bias": object{"3": 100}, "max_tokens": 3, "ignore_eos": true})
	require.Empty(t, r.post(textPath, special).Choices[0].Text)
	special["skip_special_tokens"] = false
	require.Equal(t, strings.Repeat(tok.Decode([]int32{3}, false), 3), r.post(textPath, special).Choices[0].Text)
}

// Offsets count characters, also when tokens split a character.
func TestTextOffsetsAreCharacters(t *testing.T) {
	r := newRig(t, Options{})
	tok := r.m.Tokenizer
	split := tok.Encode("🦙", tokenizer.EncodeOptions{})
	require.Greater(t, len(split), 1)
	bias := object{}
	for i, id := range append(split, tok.Encode("é日 a", tokenizer.EncodeOptions{})...) {
		bias[fmt.Sprint(id)] = 90 + i%2
	}
	wide := 0
	for seed := range 12 {
		a := r.post(textPath, object{"prompt": "x", "max_tokens": 30, "seed": seed, "logprobs": 0, "logit_bias": bias,
			"return_token_ids": true})
		var lp textLogprobs
		require.NoError(t, json.Unmarshal(a.Choices[0].Logprobs, &lp))
		d, text := tok.NewDecoder(true), ""
		for i, id := range a.Choices[0].IDs {
			require.Equal(t, utf8.RuneCountInString(text), lp.Offsets[i])
			text += d.Add(id)
		}
		if wide += len(text) - utf8.RuneCountInString(text); seed == 0 {
			require.Contains(t, text+a.Choices[0].Text, "é")
		}
	}
	require.Greater(t, wide, 50)
}
