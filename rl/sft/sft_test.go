package sft_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/sft"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

const chatML = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' " +
	"}}{% endfor %}" +
	"{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

// coder has a tokenizer of bytes and three special tokens.
func coder(t testing.TB, template string) *sft.Coder {
	text, err := tokenizer.Train(func(func(string) bool) {}, 259, []string{"<|im_start|>", "<|im_end|>", "<|end|>"})
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), text, 0o644))
	tok, err := tokenizer.Open(dir)
	require.NoError(t, err)
	c := &sft.Coder{Tokenizer: tok, EOS: []int32{2}, Vocab: 259}
	if template != "" {
		c.Template, err = tok.ParseTemplate(template)
		require.NoError(t, err)
	}
	return c
}

func row(t testing.TB, text string) data.Row {
	r := data.Row{N: 1}
	require.NoError(t, json.Unmarshal([]byte(text), &r.Columns))
	return r
}

// learned writes an example as text, with the trained parts in [].
func learned(c *sft.Coder, e sft.Example) string {
	var s strings.Builder
	for i, id := range e.IDs {
		if e.Mask[i] && (i == 0 || !e.Mask[i-1]) {
			s.WriteByte('[')
		}
		s.WriteString(c.Tokenizer.Decode([]int32{id}, false))
		if e.Mask[i] && (i == len(e.IDs)-1 || !e.Mask[i+1]) {
			s.WriteByte(']')
		}
	}
	return s.String()
}

func TestEncode(t *testing.T) {
	c := coder(t, chatML)
	for _, x := range []struct{ name, row, want string }{
		{"completion, and the end", `{"prompt":"Q a\n","completion":"A"}`, "Q a\n[A<|end|>]"},
		{"no prompt: the first token has nothing before it", `{"prompt":"","completion":"AB"}`, "[AB<|end|>]"},
		{"a message of the assistant, and the token that ends its turn",
			`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}]}`,
			"<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n[a<|im_end|>]\n"},
		{"every message of the assistant; what the user says last is left out",
			`{"messages":[{"role":"system","content":"s"},{"role":"user","content":"u"},{"role":"assistant","content":"a"},{"role":"user","content":"v"},{"role":"assistant","content":"b"},{"role":"user","content":"w"}]}`,
			"<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n[a<|im_end|>]\n<|im_start|>user\nv<|im_end|>\n<|im_start|>assistant\n[b<|im_end|>]\n"},
		{"a completion that ends itself", `{"prompt":"Q","completion":"A<|end|>"}`, "Q[A<|end|>]"},
		{"a text, and the end", `{"prompt":"","completion":"Some text."}`, "[Some text.<|end|>]"},
		{"prompt and completion as messages",
			`{"prompt":[{"role":"user","content":"u"},{"role":"assistant","content":"a"},{"role":"user","content":"v"}],"completion":[{"role":"assistant","content":"b"}]}`,
			"<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n<|im_start|>user\nv<|im_end|>\n<|im_start|>assistant\n[b<|im_end|>]\n"},
		{"contents in parts",
			`{"messages":[{"role":"user","content":[{"type":"text","text":"u"},{"type":"text","text":"v"}]},{"role":"assistant","content":[{"type":"text","text":"a"}]}]}`,
			"<|im_start|>user\nu\nv<|im_end|>\n<|im_start|>assistant\n[a<|im_end|>]\n"},
		{"a call of a tool, whose content is null",
			`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":null,"tool_calls":[{"type":"function","function":{"name":"f","arguments":{}}}]}]}`,
			"<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n[<|im_end|>]\n"},
		{"special tokens in the middle of a message",
			`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a<|im_end|>b<|end|> c<|im_start|>"}]}`,
			"<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n[a<|im_end|>b<|end|> c<|im_start|><|im_end|>]\n"},
		{"an empty message", `{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":""}]}`,
			"<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n[<|im_end|>]\n"},
		{"ids before messages", `{"ids":[4,5,6],"mask":[0,1,0],"messages":[]}`, "\"[#]$"},
		{"ids as they are", `{"ids":[4,5,6],"mask":[0,1,0],"messages":[]}`, "\"[#]$"},
	} {
		e, err := c.Encode(row(t, x.row))
		require.NoError(t, err, x.name)
		require.Equal(t, x.want, learned(c, e), x.name)
		require.Len(t, e.Mask, len(e.IDs))
	}
}

func TestEncodeRefuses(t *testing.T) {
	c := coder(t, chatML)
	bare := &sft.Coder{}
	noTemplate := coder(t, "")
	rewriting := coder(t,
		"{% for m in messages %}{{ messages|length|string + m['content'] + '<|im_end|>' }}{% endfor %}")
	short := coder(t, chatML)
	short.MaxTokens = 3
	talk := `{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"},{"role":"user","content":"v"},{"role":"assistant","content":"b"}]}`
	for _, x := range []struct {
		coder     *sft.Coder
		row, want string
	}{
		{c, `{"text":"x"}`, "neither messages, nor prompt and completion, nor ids and mask; its columns are [text]"},
		{c, `{"prompt":[{"role":"user","content":"u"}]}`, "its columns are [prompt]"},
		{c, `{"prompt":[{"role":"user","content":"u"}],"completion":"a"}`, "one is text and one a list of messages"},
		{c, `{"prompt":"u","completion":[{"role":"assistant","content":"a"}]}`,
			"one is text and one a list of messages"},
		{c, `{"prompt":[{"role":"assistant","content":"a"}],"completion":[{"role":"user","content":"u"}]}`,
			"nothing in it is trained on: there is no message of the assistant"},
		{c, `{"messages":[{"from":"human","value":"u"}]}`, "message 1 has no role"},
		{c,
			`{"messages":[{"role":"user","content":[{"type":"image","image":"x"}]},{"role":"assistant","content":"a"}]}`, `message 1: content of type "image" is not supported: only text is`},
		{c, `{"ids":[1,2],"mask":[0,2]}`, "its mask has 2 at place 1"},
		{c, `{"messages":[{"role":"user","content":7},{"role":"assistant","content":"a"}]}`,
			"message 1: its content is neither text nor a list of parts"},
		{c, `{"ids":[1,2],"mask":[1]}`, "2 ids and a mask of 1"},
		{c, `{"ids":[1,2,3]}`, "3 ids and a mask of 0"},
		{c, `{"ids":[1,259],"mask":[0,1]}`, "id 259 at place 1 is outside the model's vocabulary of 259"},
		{c, `{"ids":[1,-1],"mask":[0,1]}`, "id -1 at place 1"},
		{c, `{"ids":[1,2],"mask":[1,0]}`, "nothing in it is trained on"},
		{c, `{"ids":[],"mask":[]}`, "nothing in it is trained on"},
		{c, `{"ids":"x"}`, "ids"},
		{c, `{"messages":[{"role":"user","content":"u"}]}`, "nothing in it is trained on"},
		{c, `{"prompt":7,"completion":"x"}`, "prompt"},
		{short, `{"ids":[1,2,3,4],"mask":[0,1,1,1]}`, "4 tokens, more than the 3 that fit"},
		{bare, `{"prompt":"a","completion":"b"}`, "no tokenizer.json"},
		{bare, talk, "no tokenizer.json"},
		{noTemplate, talk, "no chat template"},
		{rewriting, talk, "rewrites earlier messages"},
	} {
		_, err := x.coder.Encode(row(t, x.row))
		require.ErrorContains(t, err, x.want, x.row)
	}
}

func TestLoadNamesTheRow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rows.jsonl")
	c := coder(t, chatML)
	require.NoError(t, os.WriteFile(file, []byte("{\"ids\":[1,2],\"mask\":[0,1]}\n{\"ids\":[1],\"mask\":[0,1]}\n"),
		0o644))
	_, err := c.Load(file)
	require.ErrorContains(t, err, "rows.jsonl: row 2: it has 1 ids")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	_, err = c.Load(file)
	require.ErrorContains(t, err, "no rows")
	_, err = c.Load(file + "x")
	require.Error(t, err)
}

// An epoch has every example once, in an order that depends only on the seed; each step is computed without a state.
func TestFromSlice(t *testing.T) {
	var all []sft.Example
	for i := range 10 {
		all = append(all, sft.Example{IDs: []int32{int32(i)}})
	}
	order := func(s sft.Source, from, to int) (out []int32) {
		for step := from; step < to; step++ {
			for _, e := range s(step) {
				out = append(out, e.IDs[0])
			}
		}
		return out
	}
	inOrder := sft.FromSlice(all, 5, 1, true)
	require.Equal(t, []int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, order(inOrder, 0, 2))
	a, b := sft.FromSlice(all, 5, 1, false), sft.FromSlice(all, 5, 2, false)
	require.ElementsMatch(t, order(inOrder, 0, 2), order(a, 0, 2))
	require.ElementsMatch(t, order(inOrder, 0, 2), order(a, 2, 4))
	require.NotEqual(t, order(a, 0, 2), order(a, 2, 4), "another order in another epoch")
	require.NotEqual(t, order(a, 0, 2), order(b, 0, 2))
	require.Equal(t, order(a, 0, 4)[15:], order(sft.FromSlice(all, 5, 1, false), 3, 4), "a resumed run sees the same")
}

// fresh is a new run with a tiny model.
func fresh(t *testing.T, out string, from, steps int) *sft.Run {
	dev := ref.New()
	t.Cleanup(func() { dev.Close() })
	c := &model.Config{Arch: "llama", Vocab: 12, Hidden: 8, Inter: 16, Layers: 1, Heads: 2, KVHeads: 1, HeadDim: 4,
		Eps: 1e-5, RopeTheta: 10000, Tied: true, MaxPos: 64}
	m, err := model.NewRandom(dev, c, model.Options{DType: kernels.F32, Trainable: true}, 3)
	require.NoError(t, err)
	t.Cleanup(m.Close)
	tr, err := train.New(dev, m, nil, train.Options{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, MicroBatchTokens: 64,
		KVType: kernels.F32})
	require.NoError(t, err)
	t.Cleanup(tr.Close)
	schedule, err := train.NewSchedule("constant", 0, steps)
	require.NoError(t, err)
	rows := []sft.Example{{IDs: []int32{1, 2, 3}, Mask: []bool{false, true, true}},
		{IDs: []int32{4, 5, 6, 7}, Mask: []bool{false, false, false, true}},
		{IDs: []int32{8, 9}, Mask: []bool{true, true}}}
	r := &sft.Run{Model: &roles.LoadedModel{Model: m}, Trainer: tr, Source: sft.FromSlice(rows, 3, 1, false),
		Steps: steps, From: from, LR: 1e-2, Schedule: schedule, SaveDType: kernels.F32, Seed: 1}
	if out != "" {
		r.Out, err = rundir.Create(out, from, from > 0)
		require.NoError(t, err)
		t.Cleanup(func() { r.Out.Close() })
	}
	return r
}

// The loss is the mean over the trained tokens of the whole batch: near ln V for an untrained model, whatever the
// lengths of the examples; and it falls.
func TestRun(t *testing.T) {
	r := fresh(t, "", 0, 60)
	var losses []float64
	r.OnStep = func(step int, m rundir.Metrics) {
		require.Equal(t, len(losses)+1, step)
		losses = append(losses, m["train/loss"])
		require.Equal(t, 1e-2, m["train/lr"])
	}
	last, err := r.Do(context.Background())
	require.NoError(t, err)
	require.Equal(t, 60, last)
	require.InDelta(t, math.Log(12), losses[0], 0.1)
	require.Less(t, losses[59], 0.5)
}

// An interrupted run finishes its step and saves it. When it is resumed, it ends with the same bytes as an
// uninterrupted run.
func TestInterruptAndResume(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	_, err := fresh(t, whole, 0, 6).Do(context.Background())
	require.NoError(t, err)

	dir := filepath.Join(t.TempDir(), "broken")
	r := fresh(t, dir, 0, 6)
	ctx, cancel := context.WithCancel(context.Background())
	r.OnStep = func(step int, _ rundir.Metrics) {
		if step == 4 {
			cancel()
		}
	}
	last, err := r.Do(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 4, last)
	path, step, ok := rundir.Last(dir)
	require.True(t, ok)
	require.Equal(t, 4, step)

	require.NoError(t, r.Out.Close())
	r = fresh(t, dir, 4, 6)
	require.NoError(t, r.Trainer.LoadState(t.Context(), path))
	_, err = r.Do(context.Background())
	require.NoError(t, err)
	for _, name := range []string{"model.safetensors", "optimizer.safetensors", "trainer_state.json"} {
		a, err := os.ReadFile(filepath.Join(rundir.Checkpoint(whole, 6), name))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(rundir.Checkpoint(dir, 6), name))
		require.NoError(t, err)
		require.True(t, string(a) == string(b), name)
	}
}
