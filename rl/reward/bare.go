package reward

import (
	"slices"
	"strings"
)

// canonical is the form in which two texts are compared: the result of Normalize or, if that is empty, the bare words.
// In SQuAD's script "A" and ")" become empty texts, which equal each other and are contained in every answer. A text of
// bare words can only equal another one, because it contains an article or punctuation, which Normalize deletes.
// canonical is "" only for blank texts.
func canonical(s string) string {
	if n := Normalize(s); n != "" {
		return n
	}
	words, _ := bareWords(s)
	return strings.Join(words, " ")
}

// bareWords splits a text into words in lower case. Articles and symbols are kept ("A+" is not "A"). Sentence
// punctuation is removed from both ends of a word ("(a)." becomes "a"), unless the text has nothing else. closed,
// [words], says for each word whether such punctuation follows it.
func bareWords(s string) (words []string, closed []bool) {
	const sentence = ".,;:!?\"'`()[]{}"
	fields := strings.FieldsFunc(lower(s), isSpace)
	for _, f := range fields {
		if w := strings.Trim(f, sentence); w != "" {
			words, closed = append(words, w), append(closed, !strings.HasSuffix(f, w))
		} else if len(closed) > 0 {
			closed[len(closed)-1] = true
		}
	}
	if len(words) == 0 {
		return fields, make([]bool, len(fields))
	}
	return words, closed
}

// containsWords says whether the text contains the bare words of gold in a row. If the last of them is an article, the
// text or a clause must end after it: "the answer is A, not B" contains the answer "A", but "a zebra" does not.
func containsWords(text, gold string) bool {
	g, _ := bareWords(gold)
	t, closed := bareWords(text)
	if len(g) == 0 {
		return false
	}
	article := isArticle(g[len(g)-1])
	for end := len(g); end <= len(t); end++ {
		if slices.Equal(t[end-len(g):end], g) && (!article || end == len(t) || closed[end-1]) {
			return true
		}
	}
	return false
}
