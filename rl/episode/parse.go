package episode

import (
	"strings"
	"unicode"
)

// Parse finds the action in the text of one turn of the policy: the first complete pair <search>...</search> or
// <answer>...</answer> in the order of generation, that is, the pair whose closing tag comes first. Closing tags
// without an opening tag are ignored. Tags inside <think> count. end is the length of the text up to and including the
// closing tag; characters after it are ignored. Content is stripped of Unicode white space. Without a pair the action
// is Invalid and end is len(text).
func Parse(text string) (action Action, content string, end int) {
	action, end = Invalid, len(text)
	for _, a := range []Action{Search, Answer} {
		open := strings.Index(text, "<"+string(a)+">")
		if open < 0 {
			continue
		}
		from := open + len(a) + 2
		n := strings.Index(text[from:], "</"+string(a)+">")
		if n < 0 {
			continue
		}
		if stop := from + n + len(a) + 3; action == Invalid || stop < end {
			action, content, end = a, strip(text[from:from+n]), stop
		}
	}
	return action, content, end
}

// strip removes white space at both ends as Python's str.strip does: Unicode's, and the four information separators.
func strip(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f })
}

// longestClose is the length of </search>, which is as long as </answer>.
const longestClose = len("</search>")

// scanner watches the ids of one turn for the id that completes an action. It looks at each id once.
type scanner struct {
	tok  Tokenizer
	env  Environment
	seen int    // number of ids in text
	text []byte // of the turn so far
}

// stop takes all ids of the turn so far and says whether they hold a complete pair of tags.
func (s *scanner) stop(ids []int32) bool {
	if len(ids) < s.seen { // the engine restarted the turn
		s.seen, s.text = 0, s.text[:0]
	}
	for _, id := range ids[s.seen:] {
		s.seen++
		if s.add(id) {
			return true
		}
	}
	return false
}

// add takes one id and says whether it completes a pair.
func (s *scanner) add(id int32) bool {
	from := max(0, len(s.text)-longestClose+1)
	s.text = append(s.text, s.tok.Bytes(id)...)
	if e, ok := s.env.(interface{ mayEnd(fresh string) bool }); ok && !e.mayEnd(string(s.text[from:])) {
		return false
	}
	action, _, _ := s.env.Parse(string(s.text))
	return action != Invalid
}
