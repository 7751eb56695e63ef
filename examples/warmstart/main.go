// Command warmstart makes rows for `zerosearch sft` out of questions with passages, so that a small model learns to
// play both parts before reinforcement learning begins: the policy that searches, and the search engine that answers.
//
//	go run ./examples/warmstart --model DIR --data contexts.jsonl.gz --out rows.jsonl
//
// Input rows are {"question", "golden_answers", "supporting": [{"title", "text"}...], "distractors": [...]}. Output
// rows are {"ids", "mask"}: token by token what an episode of training looks like, the policy's own tokens marked to be
// learned.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

func main() {
	model := flag.String("model", "", "model folder: tokenizer and chat template")
	in := flag.String("data", "", "questions with passages")
	out := flag.String("out", "rows.jsonl", "rows to write")
	n := flag.Int("n", 0, "at most so many questions; 0: all")
	topK := flag.Int("topk", 3, "documents per search, as --topk in training")
	part := flag.String("part", "both", "policy, simulator or both; questions or distilled: see distil.go")
	words := flag.Int("words", 30, "length of a document")
	form := flag.String("form", string(search.SFT), "prompt of the simulator, as --search-mode in training")
	longest := flag.Int("max-tokens", 700, "longer rows are left out")
	seed := flag.Uint64("seed", 1, "seed of everything that is drawn")
	flag.Parse()
	w := &writer{part: *part, words: *words, topK: *topK, form: search.Form(*form), longest: *longest,
		rng: rand.New(rand.NewPCG(*seed, 0))}
	if err := w.run(*model, *in, *out, *n); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// writer makes rows.
type writer struct {
	part    string // policy, simulator or both
	words   int    // length of a document
	tok     *tokenizer.Tokenizer
	tmpl    *tokenizer.Template
	eos     int32
	topK    int
	form    search.Form
	longest int
	rng     *rand.Rand
	corpus  *corpus
}

// run reads the questions and writes, for each, an episode of the policy and an answer of the search engine.
func (w *writer) run(model, in, out string, n int) (err error) {
	if w.tok, err = tokenizer.Open(model); err != nil {
		return err
	}
	if w.tmpl, err = w.tok.Chat(); err != nil {
		return err
	}
	var ok bool
	if w.eos, ok = w.tok.EOS(); !ok {
		return fmt.Errorf("opening %s: the tokenizer names no end-of-sequence token", model)
	}
	if w.part == "distilled" {
		return w.distilled(in, out)
	}
	if w.topK < 1 || w.words < 1 {
		return errors.New("--topk and --words: must be at least 1")
	}
	parts, ok := map[string][]func(item) (row, error){"policy": {w.episode}, "simulator": {w.documents},
		"both": {w.episode, w.documents}, "questions": nil}[w.part]
	if !ok {
		return fmt.Errorf("--part %s: give policy, simulator, both, questions or distilled", w.part)
	}
	use, err := load(in)
	if err != nil {
		return err
	}
	w.corpus = newCorpus(use, w.words)
	w.rng.Shuffle(len(use), func(i, k int) { use[i], use[k] = use[k], use[i] })
	if n > 0 && n < len(use) {
		use = use[:n]
	}
	if w.part == "questions" {
		return w.questions(use, out)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	b := bufio.NewWriter(f)
	enc := json.NewEncoder(b)
	rows, left := 0, 0
	for _, it := range use {
		for _, make := range parts {
			r, err := make(it)
			if err != nil {
				return err
			}
			if len(r.IDs) > w.longest {
				left++
				continue
			}
			if err := enc.Encode(r); err != nil {
				return err
			}
			rows++
		}
	}
	fmt.Printf("%d rows, %d left out\n", rows, left)
	return b.Flush()
}

// row is a row of sft.
type row struct {
	IDs  []int32 `json:"ids"`
	Mask []int   `json:"mask"`
}

func (r *row) add(ids []int32, learn bool) {
	for _, id := range ids {
		r.IDs, r.Mask = append(r.IDs, id), append(r.Mask, map[bool]int{true: 1}[learn])
	}
}

// say adds what the policy or the simulator writes, env what it is shown.
func (w *writer) say(r *row, text string) { r.add(w.tok.Encode(text, tokenizer.EncodeOptions{}), true) }
func (w *writer) env(r *row, text string) {
	r.add(w.tok.Encode(text, tokenizer.EncodeOptions{}), false)
}

// episode is a search that leads to the answer; one in three finds nothing of use at first and asks again in other
// words.
func (w *writer) episode(it item) (r row, err error) {
	prompt, err := rollout.Prompter{Tokenizer: w.tok, Template: w.tmpl}.IDs(data.Question{Question: it.Question})
	if err != nil {
		return r, err
	}
	r.add(prompt, false)
	ask := func(think, query string, useful bool) {
		w.say(&r, "<think> "+think+" </think>\n<search> "+query+" </search>")
		w.env(&r, episode.Observation(w.results(it, useful)))
	}
	first, second := it.query(), it.Supporting[0].Title+" "+keywords(it.Question)
	if w.rng.IntN(3) == 0 {
		ask("I need to find out "+lower(it.Question), first, false)
		ask("The results do not say it. I will search in other words.", second, true)
	} else {
		ask("I need to find out "+lower(it.Question), first, true)
	}
	answer := it.GoldenAnswers[0]
	w.say(&r, "<think> The results say that it is "+answer+". </think>\n<answer> "+answer+" </answer>")
	return r, nil
}

// documents is the simulated engine's part: useful or noisy documents for a query.
func (w *writer) documents(it item) (r row, err error) {
	quality := search.Useful
	if w.rng.IntN(2) == 0 {
		quality = search.Noisy
	}
	q := search.Query{Query: it.query(), Question: it.Question, GoldenAnswers: it.GoldenAnswers}
	prompt, err := w.tok.EncodeChat(w.tmpl, tokenizer.ChatInput{AddGenerationPrompt: true,
		Messages: []tokenizer.Message{{Role: "system"}, {Role: "user",
			Content: search.Render(w.form, quality, q, w.topK)}}})
	if err != nil {
		return r, err
	}
	r.add(prompt, false)
	w.say(&r, w.results(it, quality == search.Useful))
	r.add([]int32{w.eos}, true)
	return r, nil
}
