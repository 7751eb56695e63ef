package reward

import (
	"slices"
	"strings"
)

// canonical is the form in which two texts are compared: Normalize's, or the bare words where that leaves nothing.
// SQuAD's script takes "A" and ")" for empty texts, which equal each other and are contained in every answer. Bare
// words equal only bare words, as they hold articles or punctuation and Normalize's words do not. It is "" for blank
// texts alone.
func canonical(s string) string {
	if n := Normalize(s); n != "" {
		return n
	}
	words, _ := bareWords(s)
	return strings.Join(words, " ")
}

// bareWords are the words of a text in lower case, articles and symbols included ("A+" is not "A"); the punctuation of
// sentences is cut from their ends ("(a)." is "a"), unless nothing else is there. closed says of each whether such
// punctuation follows it.
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

// containsWords is true where the bare words of gold stand in the text one after the other. An article at their end
// must also end the text or its clause: "the answer is A, not B" holds the answer "A", but "a zebra" does not.
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
