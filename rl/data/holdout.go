package data

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// windowWords is the length of a run of words that two passages of different paragraphs do not share.
const windowWords = 8

// HoldOut splits questions into n of each data source that are held out and the rest, so that training on the rest is
// clean: no paragraph stands behind a held-out question and one of the rest. The paragraphs of a question are the
// texts of its column supporting, a list of {"title", "text"}. Two texts are one paragraph if they share eight words
// in a row, because passages of a corpus overlap. The questions of one paragraph, whatever their data source, stay
// together; paragraphs are taken in the order of a hash of their text until n questions are reached, and those that
// would exceed n are passed over. So the split depends only on the questions, not on their order, and on no seed. Both
// parts keep the order of qs. It is an error if a data source has too few questions.
func HoldOut(qs []Question, n int) (held, rest []Question, err error) {
	groups, err := paragraphs(qs)
	if err != nil {
		return nil, nil, err
	}
	left := map[string]int{} // by data source: how many questions are still to be held out
	for _, q := range qs {
		left[q.DataSource] = n
	}
	out := make([]bool, len(qs)) // held out
	for _, g := range groups {
		want := map[string]int{}
		for _, i := range g {
			want[qs[i].DataSource]++
		}
		fits := true
		for source, k := range want {
			fits = fits && k <= left[source]
		}
		if !fits {
			continue
		}
		for _, i := range g {
			out[i] = true
			left[qs[i].DataSource]--
		}
	}
	for _, source := range slices.Sorted(maps.Keys(left)) {
		if left[source] > 0 {
			return nil, nil, fmt.Errorf("holding out %d questions of %s: only %d can be chosen with whole "+
				"paragraphs: hold out fewer, or give more questions", n, source, n-left[source])
		}
	}
	for i, q := range qs {
		if out[i] {
			held = append(held, q)
		} else {
			rest = append(rest, q)
		}
	}
	return held, rest, nil
}

// paragraphs groups the indices of questions that share a paragraph, in the order of a hash of the paragraphs' text.
func paragraphs(qs []Question) ([][]int, error) {
	parent := make([]int, len(qs)) // union-find
	for i := range parent {
		parent[i] = i
	}
	root := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	seen := map[string]int{}         // from a window of words to the first question with it
	first := make([][]byte, len(qs)) // the smallest hash of a text of the question
	for i, q := range qs {
		texts, err := supporting(q)
		if err != nil {
			return nil, fmt.Errorf("%s: row %d: %w", q.File, q.Row, err)
		}
		for _, text := range texts {
			words := strings.Fields(strings.ToLower(text))
			if h := sha256.Sum256([]byte(strings.Join(words, " "))); first[i] == nil ||
				bytes.Compare(h[:], first[i]) < 0 {
				first[i] = h[:]
			}
			for at := 0; at == 0 || at+windowWords <= len(words); at++ {
				w := strings.Join(words[at:min(at+windowWords, len(words))], " ")
				if j, ok := seen[w]; ok {
					parent[root(i)] = root(j)
				} else {
					seen[w] = i
				}
			}
		}
	}
	groups := map[int][]int{}
	hash := map[int][]byte{} // of a group: the smallest of its questions'
	for i := range qs {
		r := root(i)
		groups[r] = append(groups[r], i)
		if hash[r] == nil || bytes.Compare(first[i], hash[r]) < 0 {
			hash[r] = first[i]
		}
	}
	roots := slices.SortedFunc(maps.Keys(groups), func(a, b int) int {
		return cmp.Or(bytes.Compare(hash[a], hash[b]), cmp.Compare(a, b))
	})
	out := make([][]int, len(roots))
	for i, r := range roots {
		out[i] = groups[r]
	}
	return out, nil
}

// supporting are the texts of the column supporting.
func supporting(q Question) ([]string, error) {
	var passages []struct{ Text string }
	if ok, err := (Row{Columns: q.Columns}).Get("supporting", &passages); err != nil {
		return nil, err
	} else if !ok {
		return nil, errors.New("no column supporting, a list of {\"title\", \"text\"}: without it the paragraphs " +
			"behind the questions are not known")
	}
	var out []string
	for _, p := range passages {
		if strings.TrimSpace(p.Text) != "" {
			out = append(out, p.Text)
		}
	}
	if out == nil {
		return nil, errors.New("column supporting: it holds no text")
	}
	return out, nil
}

// QuestionLines writes questions as JSON lines that Load reads: their columns, unchanged, sorted by name. A data
// source that is not among the columns is added.
func QuestionLines(qs []Question) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, q := range qs {
		columns := maps.Clone(q.Columns)
		if columns["data_source"] == nil && q.DataSource != "" {
			columns["data_source"], _ = json.Marshal(q.DataSource)
		}
		if err := enc.Encode(columns); err != nil {
			return nil, fmt.Errorf("writing question %s: %w", q.ID, err)
		}
	}
	return b.Bytes(), nil
}
