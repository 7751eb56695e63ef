package reward

import "strings"

// Format is 1 for an attempt of the form that the prompt asks for, else 0: every turn thinks inside <think> tags and
// then does one thing, the last one answers, all before it search, and nothing stands between or inside the tags that
// does not belong there. A thought that the prompt has begun is the turn's. (Search-R1's structure reward, arXiv
// 2505.15117, looks for the same.)
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

// wellFormed is true of a thought followed by the action; what the last token holds behind its closing tag is ignored.
func wellFormed(text, action string) bool {
	thought, rest, ok := element(text, "think")
	if !ok || thought == "" {
		return false
	}
	content, _, ok := element(rest, action)
	return ok && content != ""
}

// element cuts one element off the front of text.
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
