package tokenizer

import (
	"bytes"
	"cmp"
	"container/heap"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// Train trains a byte-level BPE tokenizer of up to vocabSize tokens on texts and returns its tokenizer.json. The tokens
// are the special tokens, the 256 bytes, and merges of the most frequent pair, repeatedly (Sennrich et al. 2016). Text
// is split with Qwen2's pattern. The same texts give the same file, and the same merges as Hugging Face's BpeTrainer.
func Train(texts iter.Seq[string], vocabSize int, specials []string) ([]byte, error) {
	if least := 256 + len(specials); vocabSize < least || vocabSize > maxID {
		return nil, fmt.Errorf("training a tokenizer: a vocabulary of %d is outside %d..%d", vocabSize, least, maxID)
	}
	loadClasses()
	t := &trainer{ids: map[string]int32{}, counts: map[pair]int{}}
	for _, s := range specials {
		if _, twice := t.ids[s]; twice || s == "" {
			return nil, fmt.Errorf("training a tokenizer: special token %q is empty or given twice", s)
		}
		t.token(s)
	}
	alphabet := slices.Clone(byteRune[:])
	slices.Sort(alphabet)
	for _, r := range alphabet {
		t.token(string(r))
	}
	if len(t.tokens) < 256+len(specials) {
		return nil, fmt.Errorf("training a tokenizer: a special token is a single character of the alphabet")
	}
	t.count(texts)
	t.merge(vocabSize)
	return t.file(specials)
}

type pair struct{ left, right int32 }

type trainer struct {
	tokens []string // by id, in the alphabet's spelling
	ids    map[string]int32
	words  []trainWord
	counts map[pair]int // occurrences in all words
	queue  candidates
	merges [][2]string
}

type trainWord struct {
	ids   []int32
	count int
}

// candidate is a pair to merge, with its count when it was queued and the words that contain it.
type candidate struct {
	pair
	count int
	words []int32
}

// token returns the id of a token, and adds the token if it is new.
func (t *trainer) token(s string) int32 {
	id, ok := t.ids[s]
	if !ok {
		id = int32(len(t.tokens))
		t.ids[s], t.tokens = id, append(t.tokens, s)
	}
	return id
}

// count splits the texts and counts their words and pairs.
func (t *trainer) count(texts iter.Seq[string]) {
	known := map[string]int{}
	cut := patterns[qwenPattern]
	var buf []byte
	for text := range texts {
		buf = pad(buf, validText(text))
		for i := 0; i < len(buf); {
			end := cut(buf, i)
			w, ok := known[string(buf[i:end])]
			if !ok {
				w = len(t.words)
				known[string(buf[i:end])] = w
				word := trainWord{}
				for _, c := range buf[i:end] {
					word.ids = append(word.ids, t.ids[string(byteRune[c])])
				}
				t.words = append(t.words, word)
			}
			t.words[w].count++
			i = end
		}
	}
	found := map[pair][]int32{}
	for w, word := range t.words {
		for i := range len(word.ids) - 1 {
			p := pair{word.ids[i], word.ids[i+1]}
			t.counts[p] += word.count
			found[p] = appendNew(found[p], int32(w))
		}
	}
	t.enqueue(found)
}

func appendNew(list []int32, v int32) []int32 {
	if n := len(list); n > 0 && list[n-1] == v {
		return list
	}
	return append(list, v)
}

func (t *trainer) enqueue(found map[pair][]int32) {
	order := slices.SortedFunc(maps.Keys(found), func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.left, b.left), cmp.Compare(a.right, b.right))
	})
	for _, p := range order {
		if n := t.counts[p]; n > 0 {
			heap.Push(&t.queue, candidate{p, n, found[p]})
		}
	}
}

// merge merges pairs until there are size tokens.
func (t *trainer) merge(size int) {
	for len(t.tokens) < size && len(t.queue) > 0 {
		top := heap.Pop(&t.queue).(candidate)
		if n := t.counts[top.pair]; n != top.count { // later merges have reduced the count
			if top.count = n; n > 0 {
				heap.Push(&t.queue, top)
			}
			continue
		}
		left, right := t.tokens[top.left], t.tokens[top.right]
		id := t.token(left + right)
		t.merges = append(t.merges, [2]string{left, right})
		found := map[pair][]int32{}
		for _, w := range top.words {
			word := &t.words[w]
			word.join(top.pair, id, func(p pair, change int) {
				t.counts[p] += change * word.count
				if change > 0 {
					found[p] = appendNew(found[p], w)
				}
			})
		}
		t.enqueue(found)
	}
}

// join replaces every p in the word by id, from the left, and calls changed for each added (+) and removed (-) pair.
func (w *trainWord) join(p pair, id int32, changed func(p pair, change int)) {
	for i := 0; i+1 < len(w.ids); i++ {
		if w.ids[i] != p.left || w.ids[i+1] != p.right {
			continue
		}
		if i > 0 {
			changed(pair{w.ids[i-1], p.left}, -1)
			changed(pair{w.ids[i-1], id}, 1)
		}
		if i+2 < len(w.ids) {
			changed(pair{p.right, w.ids[i+2]}, -1)
			changed(pair{id, w.ids[i+2]}, 1)
		}
		w.ids[i] = id
		w.ids = slices.Delete(w.ids, i+1, i+2)
	}
}

// candidates is a heap: the most frequent pair first; if counts are equal, the smallest pair.
type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	a, b := &c[i], &c[j]
	return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.left, b.left), cmp.Compare(a.right, b.right)) < 0
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *candidates) Push(x any)   { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	last := len(*c) - 1
	x := (*c)[last]
	*c = (*c)[:last]
	return x
}

// file writes tokenizer.json.
func (t *trainer) file(specials []string) ([]byte, error) {
	byteLevel := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
		"use_regex": false}
	cut := map[string]any{"type": "Split", "pattern": map[string]string{"Regex": qwenPattern}, "behavior": "Isolated",
		"invert": false}
	added := []map[string]any{}
	for id, s := range specials {
		added = append(added, map[string]any{"id": id, "content": s, "single_word": false, "lstrip": false,
			"rstrip": false, "normalized": false, "special": true})
	}
	if t.merges == nil {
		t.merges = [][2]string{}
	}
	out, err := json.MarshalIndent(map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": nil,
		"pre_tokenizer":  map[string]any{"type": "Sequence", "pretokenizers": []any{cut, byteLevel}},
		"post_processor": nil,
		"decoder":        byteLevel,
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil,
			"end_of_word_suffix": nil,
			"fuse_unk":           false, "byte_fallback": false, "ignore_merges": false, "vocab": vocabulary(t.tokens),
			"merges": t.merges},
	}, "", " ")
	return append(out, '\n'), err
}

// vocabulary writes tokens with their ids, in the order of ids.
type vocabulary []string

// MarshalJSON writes an object.
func (v vocabulary) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for id, s := range v {
		name, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, ",%s:%d", name, id)
	}
	b.WriteByte('}')
	b.Bytes()[0] = '{'
	return b.Bytes(), nil
}
