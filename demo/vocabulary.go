package demo

import (
	"encoding/json"
	"errors"
	"iter"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// tags are single tokens of the demo's vocabulary. Their ids are their indices; <eos> is id 0.
var tags = []string{"<eos>", "<think>", "</think>", "<search>", "</search>", "<information>", "</information>",
	"<answer>", "</answer>"}

// vocabularySize is enough for tags, bytes, syllables and the words of the world.
const vocabularySize = 900

// Vocabulary trains the demo's tokenizer and returns its tokenizer.json. Every name is one token. Tags are not special
// tokens, because decoding would leave those out of the policy's text.
func Vocabulary() ([]byte, error) {
	b, err := tokenizer.Train(corpusText(), vocabularySize, tags)
	if err != nil {
		return nil, err
	}
	var file struct {
		Added []map[string]any `json:"added_tokens"`
	}
	var rest map[string]any
	if err := errors.Join(json.Unmarshal(b, &file), json.Unmarshal(b, &rest)); err != nil {
		return nil, err
	}
	for i := range file.Added {
		file.Added[i]["special"] = i == 0
	}
	rest["added_tokens"] = file.Added
	return json.Marshal(rest)
}

// corpusText is the text that the tokenizer is trained on: every name many times, then sentences without names.
func corpusText() iter.Seq[string] {
	return func(yield func(string) bool) {
		const often = 5000
		for _, a := range firsts { // names come with a space before them
			for _, b := range seconds {
				if !yield(strings.Repeat(" "+a+b, often)) {
					return
				}
			}
		}
		w := NewWriter(1)
		strip := strings.NewReplacer("<think>", "\n", "</think>", "\n", "<search>", "\n", "</search>", "\n",
			"<information>", "\n",
			"</information>", "\n", "<answer>", "\n", "</answer>", "\n")
		for range 300 {
			for b := range shares {
				for _, p := range w.Trajectory(Behaviour(b)) {
					if !yield(withoutNames(strip.Replace(p.Text))) {
						return
					}
				}
			}
			for _, q := range []search.Quality{search.Useful, search.Noisy} {
				if !yield(search.Render(search.SFT, q, search.Query{}, docsPerResult)) {
					return
				}
			}
		}
	}
}

// withoutNames removes names from text.
func withoutNames(text string) string {
	var b strings.Builder
	for word := range strings.SplitAfterSeq(text, " ") {
		if !isName(strings.Trim(word, " .\n?")) {
			b.WriteString(word)
		}
	}
	return b.String()
}
