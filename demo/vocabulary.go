package demo

import (
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// tags are single tokens of the demo's vocabulary; <eos> is id 0.
var tags = []string{"<eos>", "<think>", "</think>", "<search>", "</search>", "<information>", "</information>", "<answer>", "</answer>"}

// Vocabulary makes the demo's tokenizer.json: byte-level BPE (Sennrich et al., arXiv 1508.07909), learned from the world's own words,
// in which every syllable of a name is one token.
func Vocabulary() ([]byte, error) {
	count := map[string]int{}
	for _, s := range firsts { // names come with a space before them, or begin a line
		count[" "+s] += 5000
		count[s] += 4000
	}
	for _, s := range seconds {
		count[s] += 6000
	}
	for _, text := range corpusText() {
		for _, piece := range pieces.FindAllString(text, -1) {
			if !isName(strings.TrimSpace(piece)) {
				count[piece]++
			}
		}
	}
	merges := learn(count, 1500)
	vocab := map[string]int{}
	add := func(token string) {
		if _, ok := vocab[token]; !ok {
			vocab[token] = len(vocab)
		}
	}
	var added []map[string]any
	for i, t := range tags {
		add(t)
		added = append(added, map[string]any{"id": i, "content": t, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": i == 0})
	}
	for b := range 256 {
		add(alphabet[b])
	}
	var pairs []string
	for _, m := range merges {
		pairs = append(pairs, m[0]+" "+m[1])
		add(m[0] + m[1])
	}
	return json.Marshal(map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": nil,
		"pre_tokenizer":  map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
		"post_processor": nil,
		"decoder":        map[string]any{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": "", "end_of_word_suffix": "",
			"fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": pairs}})
}

// pieces splits text as GPT-2's pattern does, but for the look-ahead at trailing spaces, which the world's texts do not have.
var pieces = regexp.MustCompile(`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+`)

// alphabet is GPT-2's printable stand-in for each byte.
var alphabet = func() (a [256]string) {
	next := 256
	for b := range 256 {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			a[b] = string(rune(b))
		} else {
			a[b] = string(rune(next))
			next++
		}
	}
	return a
}()

// corpusText is the text whose words the vocabulary should know.
func corpusText() []string {
	var out []string
	w := NewWriter(1)
	for range 300 {
		for b := range shares {
			for _, p := range w.Trajectory(Behaviour(b)) {
				out = append(out, tagPattern.ReplaceAllString(p.Text, "\n"))
			}
		}
	}
	for _, form := range []search.Form{search.SFT} {
		for _, q := range []search.Quality{search.Useful, search.Noisy} {
			for range 100 {
				out = append(out, search.Render(form, q, search.Query{}, docsPerResult))
			}
		}
	}
	return out
}

var tagPattern = regexp.MustCompile(`</?(think|search|information|answer)>`)

// learn finds up to n merges: again and again the most frequent pair of neighbours, ties in byte order, until all words are whole.
func learn(count map[string]int, n int) (merges [][2]string) {
	type word struct {
		parts []string
		n     int
	}
	var words []word
	var texts []string
	for t := range count {
		texts = append(texts, t)
	}
	sort.Strings(texts)
	for _, t := range texts {
		w := word{n: count[t]}
		for _, b := range []byte(t) {
			w.parts = append(w.parts, alphabet[b])
		}
		words = append(words, w)
	}
	for len(merges) < n {
		pairs := map[[2]string]int{}
		for _, w := range words {
			for i := 1; i < len(w.parts); i++ {
				pairs[[2]string{w.parts[i-1], w.parts[i]}] += w.n
			}
		}
		var best [2]string
		for p, c := range pairs {
			if c > pairs[best] || c == pairs[best] && fmt.Sprint(p) < fmt.Sprint(best) {
				best = p
			}
		}
		if len(pairs) == 0 {
			break
		}
		merges = append(merges, best)
		for k := range words {
			words[k].parts = merge(words[k].parts, best)
		}
	}
	return merges
}

func merge(parts []string, pair [2]string) []string {
	out := parts[:0:0]
	for i := 0; i < len(parts); i++ {
		if i+1 < len(parts) && parts[i] == pair[0] && parts[i+1] == pair[1] {
			out = append(out, pair[0]+pair[1])
			i++
			continue
		}
		out = append(out, parts[i])
	}
	return out
}
