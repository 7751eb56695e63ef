package assistant_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/assistant"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/eval"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// scripted is a policy that writes the texts one after the other, a byte at a time, and keeps the prompts.
type scripted struct {
	tok     *tokenizer.Tokenizer
	texts   []string
	prompts []string
}

func (s *scripted) Generate(_ context.Context, r episode.Request) (episode.Result, error) {
	s.prompts = append(s.prompts, s.tok.Decode(r.Context, false))
	text := s.texts[0]
	s.texts = s.texts[1:]
	ids := s.tok.Encode(text, tokenizer.EncodeOptions{})
	var out episode.Result
	for _, id := range ids {
		out.IDs, out.Logprobs = append(out.IDs, id), append(out.Logprobs, 0)
		if r.Stop(out.IDs) {
			break
		}
	}
	return out, nil
}

// rig is an assistant over a folder of two documents, with what it prints.
type rig struct {
	*assistant.Assistant
	*scripted
	view   *assistant.View
	out    bytes.Buffer
	warned []string
	dir    string
}

func newRig(t *testing.T, o assistant.Options, texts ...string) *rig {
	t.Helper()
	raw, err := tokenizer.Train(func(func(string) bool) {}, 258, []string{"<|user|>", "<|end|>"})
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), raw, 0o644))
	tok, err := tokenizer.Open(filepath.Join(dir, "tokenizer.json"))
	require.NoError(t, err)
	tmpl, err := tok.ParseTemplate("{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}")
	require.NoError(t, err)
	docs := filepath.Join(dir, "docs")
	require.NoError(t, os.Mkdir(docs, 0o755))
	for name, text := range map[string]string{
		"bridge.md": "# The old bridge\nThe old bridge was designed by Anna Berg and opened in 1931.\n\n# Repairs\nThe " +
			"railings of the bridge were painted green in 2003.",
		"harbour.txt": "The harbour was built by Otto Lund. It closes at noon.\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(docs, name), []byte(text), 0o644))
	}
	r := &rig{scripted: &scripted{tok: tok, texts: texts}, dir: docs}
	o.Corpus, err = search.ReadCorpus(docs)
	require.NoError(t, err)
	index := search.NewBM25(o.Corpus.Passages)
	index.TopK = 2
	o.Worker = rollout.Worker{Prompter: rollout.Prompter{Tokenizer: tok, Template: tmpl}, Concurrency: 1,
		Runner: episode.Runner{Policy: r.scripted, Searcher: index, Tokenizer: episode.Text(tok),
			Config: episode.Config{MaxTurns: 2, MaxResponse: 4000, MaxContext: 20000}}}
	r.Assistant = assistant.New(o)
	r.view = &assistant.View{Out: &r.out, Warn: func(s string) { r.warned = append(r.warned, s) },
		Paint: func(_ int, s string) string { return s }}
	r.view.Attach(r.Assistant)
	return r
}

func (r *rig) ask(t *testing.T, question string) (assistant.Answer, string) {
	t.Helper()
	r.out.Reset()
	out, err := r.Ask(t.Context(), question, nil)
	require.NoError(t, err)
	r.view.Finish(out)
	return out, strings.ReplaceAll(r.out.String(), r.dir+string(filepath.Separator), "")
}

// RAG answers with the prompt of evaluation, and cites the passage and its file.
func TestRAG(t *testing.T) {
	r := newRig(t, assistant.Options{Method: eval.RAG, Style: assistant.Short, Documents: true},
		"\n<think>Who?</think> Anna Berg\nand more", "Otto Lund", "Karl")
	out, shown := r.ask(t, "Who designed the old bridge?")
	require.Equal(t, `search: Who designed the old bridge?
  [1.1] bridge.md, passage 1: "bridge: The old bridge" The old bridge was designed by Anna Berg and opened in 1931.
  [1.2] bridge.md, passage 2: "bridge: Repairs" The railings of the bridge were painted green in 2003.
answer: Anna Berg [1.1]
`, shown)
	require.Equal(t, "Anna Berg", *out.Answer)
	require.Equal(t, "answered", out.Status)
	require.Equal(t, eval.RAG, out.Method)
	require.True(t, out.Grounded)
	require.Equal(t, 1, out.Citations[0].Source.Passage)
	require.Contains(t, r.prompts[0], eval.RAG.Prompt("Who designed the old bridge?",
		search.Numbered(out.Turns[0].Documents)))
	require.Empty(t, r.warned)

	out, shown = r.ask(t, "Who designed the old bridge?")
	require.Contains(t, shown, "answer: Otto Lund\n")
	require.False(t, out.Grounded)
	require.Equal(t, []string{"this answer does not stand in the documents: check it"}, r.warned)
	r.Documents = false
	out, _ = r.ask(t, "Who designed the old bridge?")
	require.False(t, out.Grounded)
	require.Equal(t, "the documents are made up by a model: check this answer", r.warned[1])
}

// Auto lets a trained model search in turns, and retrieves once where that gives no answer, or for another model.
func TestAuto(t *testing.T) {
	r := newRig(t, assistant.Options{Method: assistant.Auto, Style: assistant.Short, Documents: true, Trained: true},
		"<think>look\nit up</think><search>harbour built</search>", "junk <answer>Otto Lund</answer>")
	out, shown := r.ask(t, "Who built the harbour?")
	require.Equal(t, `think: look it up
search: harbour built
  [1.1] harbour.txt, passage 1: "harbour" The harbour was built by Otto Lund. It closes at noon.
answer: Otto Lund [1.1]
`, shown)
	require.Equal(t, eval.Agent, out.Method)
	require.Len(t, out.Turns, 2)

	r.texts = []string{"no tags", "none", "none at all", "Otto Lund"}
	out, shown = r.ask(t, "Who built the harbour?")
	require.Equal(t, `no answer by searching in turns: retrieving once instead
search: Who built the harbour?
  [1.1] harbour.txt, passage 1: "harbour" The harbour was built by Otto Lund. It closes at noon.
answer: Otto Lund [1.1]
`, shown)
	require.Equal(t, eval.RAG, out.Method)

	r.Trained, r.texts = false, []string{"Otto"}
	out, _ = r.ask(t, "Who built the harbour?")
	require.Equal(t, eval.RAG, out.Method)
	r.Documents, r.texts = false, []string{"Otto"}
	out, shown = r.ask(t, "Who built the harbour?")
	require.Equal(t, eval.Direct, out.Method)
	require.Equal(t, "answer: Otto\n", shown)
	require.Equal(t, []string{"this answer comes from the model's memory, no document was read: check it"}, r.warned)

	r.Method, r.texts = eval.Agent, []string{"a", "<answer>b", "c"}
	out, shown = r.ask(t, "Who built the harbour?")
	require.Nil(t, out.Answer)
	require.Equal(t, "answer: b\nno answer (out_of_turns)\n", shown)
	_, err := r.Ask(t.Context(), " ", nil)
	require.EqualError(t, err, "the request has no question")
}

// A longer text has the numbers of its documents: the model's own where there are such documents, else those that
// support a sentence. Sentences that stand in no document are named.
func TestStyles(t *testing.T) {
	text := "<think>hm</think>## The bridge\nThe old bridge opened in 1931. It was designed by Anna Berg [2][9]. " +
		"It opened in 1932 they say. A giant purple elephant sleeps there! Clear?\n"
	r := newRig(t, assistant.Options{Method: eval.RAG, Style: assistant.Report, Documents: true}, text, text)
	want := "## The bridge\nThe old bridge opened in 1931. [1] It was designed by Anna Berg. [2] " +
		"It opened in 1932 they say. A giant purple elephant sleeps there! Clear?"
	out, shown := r.ask(t, "What about the bridge?")
	require.Equal(t, "search: What about the bridge?\n"+want+"\n\nsources:\n  [1] bridge.md, passage 1\n"+
		"  [2] bridge.md, passage 2\n", shown)
	require.Equal(t, want, *out.Answer)
	require.Equal(t, []string{"It opened in 1932 they say.", "A giant purple elephant sleeps there!"}, out.Unsupported)
	require.False(t, out.Grounded)
	require.Equal(t,
		[]string{"2 of the sentences do not stand in the documents: check them: It opened in 1932 they say. " +
			"A giant purple elephant sleeps there!"}, r.warned)
	require.Contains(t, r.prompts[0], "Write a report")
	require.Contains(t, r.prompts[0], "Doc 1: \"bridge: The old bridge\"")

	// The agent looks up what the text is then written from.
	r.Method, r.Style = eval.Agent, assistant.Draft
	r.texts = []string{"<search>bridge opened</search>", "<search>harbour</search>", "<answer>x</answer>",
		"Dear reader,\nthe harbour was built by Otto Lund.\n"}
	out, shown = r.ask(t, "Write about the town.")
	require.Equal(t, "search: bridge opened\nsearch: harbour\nanswer: x\nDear reader,\nthe harbour was built by Otto "+
		"Lund. [3]\n\nsources:\n  [3] harbour.txt, passage 1\n", shown)
	require.True(t, out.Grounded)
	require.Equal(t, eval.Agent, out.Method)
	require.Equal(t, 4, out.Citations[0].Turn)
	require.Len(t, out.Turns[3].Documents, 3)
	require.Contains(t, r.prompts[len(r.prompts)-1], "Doc 3: \"harbour\"")
}

// Every character is shown as soon as it is known, and nothing twice.
func TestStreams(t *testing.T) {
	r := newRig(t, assistant.Options{Method: eval.Direct, Style: assistant.Short}, "Ünïté <b", "one two")
	var steps []string
	show := r.Watch.Text
	r.Watch.Text = func(text string, final bool) { show(text, final); steps = append(steps, r.out.String()) }
	_, err := r.Ask(t.Context(), "What?", nil)
	require.NoError(t, err)
	require.Equal(t, "answer: Ünïté <b", r.out.String())
	require.Equal(t, []string{"", "answer: Ü", "answer: Ün", "answer: Ün"}, steps[:4],
		"a letter of two bytes is shown whole")
	for i, s := range steps[1:] {
		require.True(t, strings.HasPrefix(s, steps[i]))
	}
}

// A session remembers: the model is told what was said, and the search knows the question before.
func TestSession(t *testing.T) {
	r := newRig(t, assistant.Options{Method: eval.RAG, Style: assistant.Short, Documents: true}, "Anna Berg", "1931",
		"Otto Lund", "Dear Otto, the harbour was built by Otto Lund.")
	var failed []string
	s := assistant.Session{Assistant: r.Assistant, View: r.view, Prompt: "> ",
		Failed: func(err error) { failed = append(failed, err.Error()) }}
	lines := "Who designed the old bridge?\n\nAnd when was that?\n/sources\n/new\nWho built the " +
		"harbour?\n/docs\n/nothing\n" +
		"/style long\n/style draft\n/method direct\nA letter to Otto\n/quit\nnever asked\n"
	require.NoError(t, s.Run(t.Context(), strings.NewReader(lines)))
	require.Contains(t, r.prompts[1],
		"[user] Who designed the old bridge?\n[assistant] Anna Berg\n[user] Here are documents")
	require.Contains(t, r.prompts[1], "opened in 1931", "found by the question before")
	require.NotContains(t, r.prompts[2], "bridge")
	shown := strings.ReplaceAll(r.out.String(), r.dir+string(filepath.Separator), "")
	require.Contains(t, shown, "answer: 1931 [1.1]\n> [1.1] bridge.md, passage 1\n  \"bridge: The old bridge\" The old")
	require.Contains(t, shown, "> indexed 2 files, 3 passages\n")
	require.Contains(t, shown, "> Dear Otto, the harbour was built by Otto Lund.\n> ")
	require.Equal(t, []string{"/nothing is not known: /help lists the commands",
		`style "long" is not known: use short, draft, tutor or report`}, failed)
	require.NotContains(t, shown, "/method NAME")
	require.NoError(t, s.Run(t.Context(), strings.NewReader("/help\n")))
	require.Contains(t, r.out.String(), "/method NAME")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	defer never.Close()
	require.ErrorIs(t, s.Run(ctx, never), context.Canceled)
}

func TestNames(t *testing.T) {
	for _, name := range []string{"auto", "agent", "rag", "direct"} {
		_, err := assistant.ParseMethod(name)
		require.NoError(t, err)
	}
	_, err := assistant.ParseMethod("cot")
	require.EqualError(t, err, `method "cot" is not known: use auto, agent, rag or direct`)
}
