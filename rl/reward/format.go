package reward

import "strings"

// Format is 1 for an attempt in the format that the prompt asks for, else 0. Every turn must be a <think> element
// followed by one action: <search> in all turns but the last, and <answer> in the last. No other text may stand between
// the elements, and no tag inside them. An opening <think> that the prompt already contains counts as part of the turn.
// (Search-R1's structure reward, arXiv 2505.15117, checks the same.)
func Format(a Attempt) float64 {
	for i, t := range a.Turns {
		action := "search"
		if i == len(a.Turns)-1 {
			action = "answer"
		}
		if !wellFormed(t.Prefill+t.Text, action) {
			return 0
		}
	}
	if len(a.Turns) == 0 {
		return 0
	}
	return 1
}

// wellFormed says whether text is a thought followed by the action. Text after the closing tag of the action is
// ignored: the last token may contain some.
func wellFormed(text, action string) bool {
	thought, rest, ok := element(text, "think")
	if !ok || thought == "" {
		return false
	}
	content, _, ok := element(rest, action)
	return ok && content != ""
}

// element reads one element at the beginning of text; rest is the text after it.
func element(text, tag string) (content, rest string, ok bool) {
	text, ok = strings.CutPrefix(strings.TrimSpace(text), "<"+tag+">")
	if !ok {
		return "", "", false
	}
	content, rest, ok = strings.Cut(text, "</"+tag+">")
	for _, name := range []string{"think", "search", "answer", "information"} {
		if strings.Contains(content, "<"+name+">") || strings.Contains(content, "</"+name+">") {
			return "", "", false
		}
	}
	return strings.TrimSpace(content), rest, ok
}
