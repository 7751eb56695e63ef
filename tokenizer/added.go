package tokenizer

import (
	"slices"
)

// addedToken is an entry of tokenizer.json's added_tokens: text that is one token wherever it stands.
type addedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only between characters that are not part of a word
	Lstrip     bool   `json:"lstrip"`      // takes the white space before it along
	Rstrip     bool   `json:"rstrip"`      // takes the white space behind it along
	Normalized bool   `json:"normalized"`  // is looked for in normalised text
	Special    bool   `json:"special"`     // control token: left out by a decoding that skips them
}

// matcher finds added tokens in text: at the leftmost place, the longest one. It is a tree of their bytes.
type matcher struct {
	nodes []trieNode
	first [256]bool // bytes with which a token begins
}

// trieNode is a byte behind its parent's; node 0 is the root. Siblings form a list.
type trieNode struct {
	token          *addedToken // that ends here
	child, sibling int32       // 0: none
	char           byte
}

// newMatcher builds a matcher of contents[i] for tokens[i]; nil without any.
func newMatcher(contents []string, tokens []*addedToken) *matcher {
	m := &matcher{nodes: make([]trieNode, 1)}
	for k, content := range contents {
		at := int32(0)
		for i := range len(content) {
			next := m.step(at, content[i])
			if next == 0 {
				next = int32(len(m.nodes))
				m.nodes = append(m.nodes, trieNode{sibling: m.nodes[at].child, char: content[i]})
				m.nodes[at].child = next
			}
			at = next
		}
		if content != "" {
			m.first[content[0]] = true
			m.nodes[at].token = tokens[k]
		}
	}
	if len(m.nodes) == 1 {
		return nil
	}
	return m
}

// step returns the child of a node for a byte, 0 if there is none.
func (m *matcher) step(at int32, c byte) int32 {
	for at = m.nodes[at].child; at != 0 && m.nodes[at].char != c; {
		at = m.nodes[at].sibling
	}
	return at
}

// find returns the first match at or behind i, and its place; nil where there is none.
func (m *matcher) find(b []byte, i int) (token *addedToken, start, end int) {
	for ; i < len(b); i++ {
		if !m.first[b[i]] {
			continue
		}
		at := int32(0)
		for j := i; j < len(b); j++ {
			if at = m.step(at, b[j]); at == 0 {
				break
			}
			if t := m.nodes[at].token; t != nil {
				token, start, end = t, i, j+1
			}
		}
		if token != nil {
			return token, start, end
		}
	}
	return nil, 0, 0
}

// cut calls plain with the text between added tokens and added with each of them. Tokens flagged special are plain text unless
// parseSpecial.
func (m *matcher) cut(b []byte, parseSpecial bool, plain func([]byte), added func(*addedToken)) {
	done := 0 // what lies before is dealt with
	for from := 0; m != nil; {
		token, start, end := m.find(b, from)
		if token == nil {
			break
		}
		from = end
		if token.Special && !parseSpecial || token.SingleWord && !standsAlone(b, start, end) || start < done {
			continue
		}
		if token.Lstrip {
			for start > done {
				w := lastWidth(b, start)
				if c, _ := classAt(b, start-w); c&classSpace == 0 {
					break
				}
				start = max(start-w, done)
			}
		}
		if token.Rstrip {
			end = run(b, end, classSpace, true)
		}
		if start > done {
			plain(b[done:start])
		}
		added(token)
		done = end
	}
	if done < len(b) {
		plain(b[done:])
	}
}

// standsAlone says whether no word character touches b[start:end].
func standsAlone(b []byte, start, end int) bool {
	if start > 0 {
		if c, _ := classAt(b, start-lastWidth(b, start)); c&classWord != 0 {
			return false
		}
	}
	if end < len(b) {
		if c, _ := classAt(b, end); c&classWord != 0 {
			return false
		}
	}
	return true
}

// matchers splits the added tokens of a file into those looked for in raw and in normalised text.
func matchers(tokens []addedToken, normalize func(string) string) (raw, normalized *matcher) {
	var contents [2][]string
	var found [2][]*addedToken
	// Of tokens with the same content the special one counts, as it is entered first and stays.
	ordered := make([]*addedToken, len(tokens))
	for i := range tokens {
		ordered[i] = &tokens[i]
	}
	slices.SortStableFunc(ordered, func(a, b *addedToken) int {
		if a.Special == b.Special {
			return 0
		}
		if b.Special {
			return -1
		}
		return 1
	})
	for _, t := range ordered {
		k, content := 0, t.Content
		if t.Normalized {
			k, content = 1, normalize(content)
		}
		contents[k], found[k] = append(contents[k], content), append(found[k], t)
	}
	return newMatcher(contents[0], found[0]), newMatcher(contents[1], found[1])
}
