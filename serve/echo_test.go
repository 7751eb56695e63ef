package serve

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// newFolder is a rig over the model of a Hugging Face folder, in F32.
func newFolder(t *testing.T, dir string, headless bool) *rig {
	dev, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	m, err := model.Load(dev, dir, model.Options{DType: kernels.F32, Headless: headless})
	require.NoError(t, err)
	e := engine.New(dev, engine.Options{})
	require.NoError(t, e.AddModel("m", m, engine.ModelOptions{MaxBatchTokens: 48}))
	r := &rig{t: t, eng: e, m: Model{ID: "m", Engine: "m", Config: m.Config}}
	if _, err := os.Stat(dir + "/tokenizer.json"); err == nil {
		r.m.Tokenizer, err = tokenizer.Open(dir)
		require.NoError(t, err)
	}
	r.s, err = New(e, []Model{r.m}, Options{})
	require.NoError(t, err)
	h := httptest.NewServer(r.s)
	r.url, r.http = h.URL, h.Client()
	t.Cleanup(func() {
		h.Close()
		e.Close()
		m.Close()
		require.NoError(t, dev.Close())
	})
	return r
}

type place struct {
	Logprob float64
	Rank    int
	Token   string `json:"decoded_token"`
}

// scoredChoice has the fields that echo and prompt_logprobs are about.
type scoredChoice struct {
	Index    int
	Text     string
	Finish   string `json:"finish_reason"`
	Logprobs *struct {
		Tokens  []string
		Values  []*float64           `json:"token_logprobs"`
		Top     []map[string]float64 `json:"top_logprobs"`
		Offsets []int                `json:"text_offset"`
	}
	Prompt []map[string]place `json:"prompt_logprobs"`
	IDs    []int32            `json:"token_ids"`
}

type scoredAnswer struct {
	Choices []scoredChoice
	Prompt  []map[string]place `json:"prompt_logprobs"`
	Usage   usage
}

func (r *rig) scored(path string, q object) (a scoredAnswer) {
	status, _, text := r.do(r.t.Context(), "POST", path, marshal(r.t, q))
	require.Equal(r.t, 200, status, "%s", text)
	require.NoError(r.t, json.Unmarshal(text, &a))
	return a
}

// The log-probabilities, ranks and most probable tokens of prompts are those of transformers' log-softmax, for prompts
// together and one by one, with and without a shared beginning.
func TestPromptLogprobsAreTransformers(t *testing.T) {
	var g struct {
		Model string
		Texts []struct {
			IDs      []int32
			Logprobs []float64
			Ranks    []int
			Top      [][][2]float64
		}
	}
	text, err := os.ReadFile("testdata/promptlogprobs.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &g))
	r := newFolder(t, "../model/testdata/models/"+g.Model, false)
	check := func(n int, c scoredChoice) {
		w := g.Texts[n]
		require.Equal(t, "length", c.Finish)
		require.Len(t, c.Logprobs.Values, len(w.IDs))
		require.Nil(t, c.Logprobs.Values[0])
		require.Nil(t, c.Logprobs.Top[0])
		require.Len(t, c.Prompt, len(w.IDs))
		require.Nil(t, c.Prompt[0])
		for i, lp := range w.Logprobs {
			id := fmt.Sprint(w.IDs[i+1])
			require.Equal(t, "token_id:"+id, c.Logprobs.Tokens[i+1])
			require.InDelta(t, lp, *c.Logprobs.Values[i+1], 1e-4)
			require.InDelta(t, lp, c.Prompt[i+1][id].Logprob, 1e-4)
			require.Equal(t, w.Ranks[i], c.Prompt[i+1][id].Rank)
			require.InDelta(t, lp, c.Logprobs.Top[i+1]["token_id:"+id], 1e-4)
			for k, top := range w.Top[i] {
				id := fmt.Sprint(int(top[0]))
				require.Equal(t, k+1, c.Prompt[i+1][id].Rank)
				require.InDelta(t, top[1], c.Prompt[i+1][id].Logprob, 1e-4)
				if k < 2 {
					require.InDelta(t, top[1], c.Logprobs.Top[i+1]["token_id:"+id], 1e-4)
				}
			}
		}
	}
	var prompts [][]int32
	for _, x := range g.Texts {
		prompts = append(prompts, x.IDs)
	}
	q := object{"echo": true, "logprobs": 2, "prompt_logprobs": 3, "max_tokens": 0, "temperature": 0}
	for range 2 {
		a := r.scored(textPath, with(q, object{"prompt": prompts}))
		require.Len(t, a.Choices, len(prompts))
		for i, c := range a.Choices {
			require.Equal(t, i, c.Index)
			check(i, c)
		}
		require.Zero(t, a.Usage.Completion)
		require.Positive(t, a.Usage.Details.Cached, "the shared beginning is computed once")
	}
	alone := newFolder(t, "../model/testdata/models/"+g.Model, false)
	for i := range prompts {
		check(i, alone.scored(textPath, with(q, object{"prompt": prompts[i]})).Choices[0])
	}
	last := alone.scored(textPath, with(q, object{"prompt": prompts[4]}))
	require.Equal(t, len(prompts[4]), last.Usage.Details.Cached)
	check(4, last.Choices[0])
}

// With echo an answer is the prompt and then what the same request has without echo: text, tokens, log-probabilities,
// offsets; streamed too. The prompt's log-probabilities are the bits of the engine's Score, at the request's
// temperature.
func TestEcho(t *testing.T) {
	r := newRig(t, Options{})
	prompt := "Whales läuten 鯨 and sing in the sea of the north <|im_end|> again"
	tok := r.m.Tokenizer
	ids := tok.Encode(prompt, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
	for _, extra := range []object{{"logprobs": 2}, {"logprobs": 0, "n": 2}, {"logprobs": 1, "temperature": 0.5},
		{}, {"prompt": ids, "logprobs": 1}} {
		q := with(object{"prompt": prompt, "max_tokens": 9, "seed": 3}, extra)
		plain, a := r.scored(textPath, q), r.scored(textPath, with(q, object{"echo": true}))
		require.Len(t, a.Choices, len(plain.Choices))
		s := r.stream(textPath, with(q, object{"echo": true}))
		for i, c := range a.Choices {
			require.Equal(t, prompt+plain.Choices[i].Text, c.Text)
			require.Equal(t, c.Text, s.text[i])
			if extra["logprobs"] == nil {
				require.Nil(t, c.Logprobs)
				continue
			}
			lp, after := c.Logprobs, plain.Choices[i].Logprobs
			require.Len(t, lp.Tokens, len(ids)+9)
			require.Equal(t, after.Tokens, lp.Tokens[len(ids):])
			require.Equal(t, after.Values, lp.Values[len(ids):])
			if extra["logprobs"] != 0 {
				require.Equal(t, after.Top, lp.Top[len(ids):])
				require.Equal(t, len(lp.Values), len(s.plain[i].Top))
			}
			require.Equal(t, strings.Join(lp.Tokens[:5], ""), string([]rune(prompt)[:lp.Offsets[5]]))
			for k, at := range after.Offsets {
				require.Equal(t, at+len([]rune(prompt)), lp.Offsets[len(ids)+k])
			}
			temperature, _ := extra["temperature"].(float64)
			sc, err := r.eng.Score(t.Context(), "m", nil, ids, engine.ScoreOptions{InvTemp: engine.InvTemp(temperature)})
			require.NoError(t, err)
			for k, x := range sc.Logprobs {
				require.Equal(t, x, float32(*lp.Values[k+1]))
				require.Equal(t, x, s.plain[i].Values[k+1])
			}
			require.Equal(t, lp.Offsets, s.plain[i].Offsets)
		}
	}
	r.quiet()
}

// The end-of-sequence token that ends a completion is in the list of tokens: clients that drop the last token of echo
// rely on it.
func TestEndIsListed(t *testing.T) {
	r := newRig(t, Options{})
	q := object{"prompt": "Whales", "max_tokens": 1, "temperature": 0, "logprobs": 1, "return_token_ids": true}
	id := r.scored(textPath, q).Choices[0].IDs[0]
	for _, echo := range []bool{false, true} {
		q := with(q, object{"stop_token_ids": []int32{id}, "echo": echo})
		c := r.scored(textPath, q).Choices[0]
		require.Equal(t, "stop", c.Finish)
		require.Equal(t, string(r.m.Tokenizer.Bytes(id)), c.Logprobs.Tokens[len(c.Logprobs.Tokens)-1])
		require.Equal(t, len([]rune(c.Text)), c.Logprobs.Offsets[len(c.Logprobs.Offsets)-1])
		s := r.stream(textPath, q)
		require.Equal(t, c.Logprobs.Tokens, s.plain[0].Tokens)
		require.Equal(t, echo, strings.HasPrefix(c.Text, "Whales"))
	}
}

// A chat's prompt_logprobs stand beside its choices, as in vLLM.
func TestChatPromptLogprobs(t *testing.T) {
	r := newRig(t, Options{})
	ids, err := r.m.Tokenizer.EncodeChat(r.m.Template, tokenizer.ChatInput{AddGenerationPrompt: true,
		Messages: []tokenizer.Message{{Role: "user", Content: "Where do whales live?"}}})
	require.NoError(t, err)
	sc, err := r.eng.Score(t.Context(), "m", nil, ids, engine.ScoreOptions{Ranks: true})
	require.NoError(t, err)
	for _, most := range []int{0, 3} {
		a := r.scored(chatPath, object{"messages": []object{{"role": "user", "content": "Where do whales live?"}},
			"prompt_logprobs": most, "max_tokens": most})
		require.Len(t, a.Prompt, len(ids))
		require.Len(t, a.Choices, 1)
		require.Equal(t, most, a.Usage.Completion)
		for i, lp := range sc.Logprobs {
			own := a.Prompt[i+1][fmt.Sprint(ids[i+1])]
			require.Equal(t, lp, float32(own.Logprob))
			require.Equal(t, int(sc.Ranks[i]), own.Rank)
			require.GreaterOrEqual(t, len(a.Prompt[i+1]), max(1, most))
			require.LessOrEqual(t, len(a.Prompt[i+1]), 1+most)
		}
	}
}

// What the prompt's parameters refuse.
func TestEchoRefusals(t *testing.T) {
	r := newRig(t, Options{})
	zeros := make([]int, 513)
	for want, q := range map[string]object{
		"max_tokens is 0: ask for 1 at least":                 {"max_tokens": 0},
		"prompt_logprobs needs stream: false":                 {"prompt_logprobs": 0, "stream": true},
		"prompt_logprobs is 21: it must be between 0 and 20":  {"prompt_logprobs": 21},
		"prompt_logprobs is -1: it must be between 0 and 20":  {"prompt_logprobs": -1},
		"min_tokens is 1 and more than the longest answer, 0": {"max_tokens": 0, "echo": true, "min_tokens": 1},
		"the prompt has 513 tokens":                           {"max_tokens": 0, "echo": true, "prompt": zeros[:513]},
		"the prompt has 512 tokens, but prompt and answer":    {"max_tokens": 1, "echo": true, "prompt": zeros[:512]},
		"echo must be true or false":                          {"echo": 1},
	} {
		status, _, text := r.do(t.Context(), "POST", textPath, marshal(t, with(object{"prompt": "x"}, q)))
		require.Equal(t, 400, status)
		require.Contains(t, string(text), want)
	}
	full := r.scored(textPath, object{"max_tokens": 0, "echo": true, "logprobs": 0, "prompt": make([]int, 512)})
	require.Len(t, full.Choices[0].Logprobs.Values, 512)
	r.quiet()
}

// SmolLM2's log-probabilities of chats, scored together through /v1/completions, are those of transformers.
func TestSmolLM2PromptLogprobs(t *testing.T) {
	dir := os.Getenv("ZEROSEARCH_SMOLLM2")
	if dir == "" {
		t.Skip("set ZEROSEARCH_SMOLLM2 to a folder with SmolLM2-135M-Instruct")
	}
	text, err := os.ReadFile(goldens.Path(t, "smollm2/golden.json"))
	require.NoError(t, err)
	var g struct {
		Chats []struct {
			IDs  []int32
			Logp []float64
		}
	}
	require.NoError(t, json.Unmarshal(text, &g))
	require.NotEmpty(t, g.Chats)
	var prompts [][]int32
	for _, c := range g.Chats {
		prompts = append(prompts, c.IDs)
	}
	a := newFolder(t, dir, false).scored(textPath, object{"prompt": prompts, "echo": true, "logprobs": 1,
		"max_tokens": 1, "temperature": 0})
	for i, c := range a.Choices {
		for k, want := range g.Chats[i].Logp {
			require.InDelta(t, want, *c.Logprobs.Values[k+1], 3e-4)
		}
		require.Len(t, c.Logprobs.Values, len(prompts[i])+1)
	}
}
