package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
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
		if content != "" && m.nodes[at].token == nil {
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

// cut calls plain with the text between added tokens and its marks, and added with each of the tokens. Tokens flagged special are plain
// text unless parseSpecial, and where said marks all of their bytes.
func (m *matcher) cut(b []byte, parseSpecial bool, said string, plain func([]byte, string), added func(*addedToken)) {
	marks := func(i, j int) string { return said[min(i, len(said)):min(j, len(said))] }
	done := 0 // what lies before is dealt with
	for from := 0; m != nil; {
		token, start, end := m.find(b, from)
		if token == nil {
			break
		}
		from = end
		if token.Special && (!parseSpecial || said != "" && strings.IndexByte(marks(start, end), 0) < 0) ||
			token.SingleWord && !standsAlone(b, start, end) || start < done {
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
			plain(b[done:start], marks(done, start))
		}
		added(token)
		done = end
	}
	if done < len(b) {
		plain(b[done:], marks(done, len(b)))
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

// addedTokens are the tokens that were added to a model's vocabulary, one list after the other: those of tokenizer.json, then those that
// only the files beside it name.
type addedTokens struct {
	base    int // entries of the model's own vocabulary
	ids     map[string]int32
	byID    map[int32]addedToken
	special map[string]bool // contents that are, or were once added as, special tokens
	// Every version in which a token was added: it is looked for as that version says, and treated as byID says.
	specials, others []addedToken

	largest int32 // id
	bytes   int
	file    []addedToken // as tokenizer.json lists them
	padding string       // tokenizer.json's own padding token
}

// maxAdded bounds the length of an added token: text is compared with them at every place.
const maxAdded = 4096

func (t *Tokenizer) loadAdded(raw, padding json.RawMessage) error {
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &t.added.file); err != nil {
			return err
		}
	}
	var p struct {
		Token string `json:"pad_token"`
	}
	if len(padding) > 0 {
		if err := json.Unmarshal(padding, &p); err != nil {
			return fmt.Errorf("padding: %w", err)
		}
	}
	t.added.padding = p.Token
	return t.addTokens(t.added.file)
}

// addTokens adds tokens as Hugging Face's tokenizers do, whatever ids the files give them: one that the vocabulary or an earlier list
// has keeps its id and takes the new switches; the others get the next ids behind the vocabulary and the tokens added before.
func (t *Tokenizer) addTokens(tokens []addedToken) error {
	a, v := &t.added, t.model.vocab
	if a.ids == nil {
		a.ids, a.byID, a.special, a.largest = map[string]int32{}, map[int32]addedToken{}, map[string]bool{}, -1
	}
	tokens = slices.DeleteFunc(slices.Clone(tokens), func(n addedToken) bool { return n.Content == "" })
	for _, n := range tokens {
		if n.Special && !a.special[n.Content] {
			a.special[n.Content], a.specials = true, append(a.specials, n)
		}
	}
	for _, n := range tokens {
		id, known := t.ID(n.Content)
		if !known {
			id = max(int32(a.base), a.largest+1)
		}
		n.ID = int(id)
		if old, ok := a.byID[id]; ok && old == n {
			continue
		}
		text := n.Content // what decoding prints: as it was found in the text
		if n.Normalized && t.normalize != nil {
			text = t.normalize(text)
		}
		if _, again := a.ids[n.Content]; !known || again || text != n.Content {
			if a.bytes += len(text); len(text) > maxAdded || a.bytes > 1024*maxAdded {
				return fmt.Errorf("token %d: added tokens may have %d bytes, and %d together", n.ID, maxAdded, 1024*maxAdded)
			}
			if err := v.put(n.ID, []byte(text)); err != nil {
				return err
			}
		}
		a.ids[n.Content], a.byID[id], a.largest = id, n, max(a.largest, id)
		if !a.special[n.Content] {
			a.others = append(a.others, n)
		}
	}
	t.raw, t.normalized = t.matchers()
	t.special = make([]bool, len(v.spans))
	for id, n := range a.byID {
		t.special[id] = a.special[n.Content]
	}
	return nil
}

// matchers are those of the added tokens looked for in raw and in normalised text. Of versions with the same text the first is found.
func (t *Tokenizer) matchers() (raw, normalized *matcher) {
	var contents [2][]string
	var found [2][]*addedToken
	for _, n := range slices.Concat(t.added.specials, t.added.others) {
		k, content := 0, n.Content
		if n.Normalized {
			if k = 1; t.normalize != nil {
				content = t.normalize(content)
			}
		}
		now := t.added.byID[t.added.ids[n.Content]]
		now.Special = t.added.special[now.Content]
		contents[k], found[k] = append(contents[k], content), append(found[k], &now)
	}
	return newMatcher(contents[0], found[0]), newMatcher(contents[1], found[1])
}
