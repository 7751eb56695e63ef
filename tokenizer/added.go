package tokenizer

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// addedToken is an entry of tokenizer.json's added_tokens: a string that is always encoded as one token.
type addedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // matches only if no word character is next to it
	Lstrip     bool   `json:"lstrip"`      // the match includes white space before it
	Rstrip     bool   `json:"rstrip"`      // the match includes white space after it
	Normalized bool   `json:"normalized"`  // is searched in normalised text
	Special    bool   `json:"special"`     // special token: decoding can leave it out
}

// matcher finds added tokens in text: the leftmost match, and of several at one position the longest. It is a trie of
// bytes.
type matcher struct {
	nodes []trieNode
	first [256]bool // bytes with which a token begins
}

// trieNode is a node of the trie for one byte. Node 0 is the root. Siblings form a linked list.
type trieNode struct {
	token          *addedToken // the token that ends here; nil: none
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

// find returns the first match at or after i, and its bytes [start, end); nil if there is none.
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

// cut calls plain with the text between added tokens and its marks, and added with each of the tokens. Special tokens
// are plain text if parseSpecial is false, or if said marks all of their bytes.
func (m *matcher) cut(b []byte, parseSpecial bool, said string, plain func([]byte, string), added func(*addedToken)) {
	marks := func(i, j int) string { return said[min(i, len(said)):min(j, len(said))] }
	done := 0 // text before it has been passed on
	for from := 0; m != nil; {
		token, start, end := m.find(b, from)
		if token == nil {
			break
		}
		from = end
		if token.Special && (!parseSpecial || said != "" && strings.IndexByte(marks(start, end), 0) < 0) ||
			token.SingleWord && !standsAlone(b, start, end) {
			continue
		}
		start = max(start, done) // the previous match may include the white space
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

// standsAlone reports whether no word character is next to b[start:end].
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

// addedTokens are the tokens added to a model's vocabulary: first those of tokenizer.json, then those that are only in
// the files beside it.
type addedTokens struct {
	base     int // number of tokens in the model's vocabulary
	ids      map[string]int32
	byID     map[int32]addedToken
	special  map[string]bool  // contents that are, or were once added as, special tokens
	rewrites map[int32]string // normalised content of a token, if it differs from the content
	bytes    int              // total length of the contents
	file     []addedToken     // as tokenizer.json lists them
	padding  string           // tokenizer.json's own padding token
}

// maxAdded is the maximum length of an added token in bytes. It limits the time of a search, which compares at every
// position.
const maxAdded = 4096

func (t *Tokenizer) loadAdded(raw, padding json.RawMessage) error {
	if len(raw) > 0 {
		if err := pyjson.Unmarshal(raw, &t.added.file); err != nil {
			return err
		}
	}
	var p struct {
		Token string `json:"pad_token"`
	}
	if len(padding) > 0 {
		if err := pyjson.Unmarshal(padding, &p); err != nil {
			return fmt.Errorf("padding: %w", err)
		}
	}
	t.added.padding = p.Token
	return t.addTokens(t.added.file)
}

// addTokens adds tokens as Hugging Face's tokenizers do, ignoring the ids in the files. A token that exists already
// keeps its id and gets the new options. The others get the next ids after the vocabulary and the tokens added before.
func (t *Tokenizer) addTokens(tokens []addedToken) error {
	a, v := &t.added, t.model.vocab
	if a.ids == nil {
		a.ids, a.byID = map[string]int32{}, map[int32]addedToken{}
		a.special, a.rewrites = map[string]bool{}, map[int32]string{}
	}
	next := int32(a.base)
	for id := range a.byID {
		next = max(next, id+1)
	}
	for _, n := range tokens {
		n.ID = 0 // the file's id is ignored
		if n.Content == "" {
			continue
		}
		id, known := t.ID(n.Content)
		if old, again := a.byID[id]; known && again && old == n {
			continue
		}
		if !known {
			id = next
			next++
		}
		text := n.Content
		if n.Normalized && t.normalize != nil {
			text = t.normalize(text)
		}
		if a.bytes += len(text); len(text) > maxAdded || a.bytes > 1024*maxAdded {
			return fmt.Errorf("token %d: added tokens may have %d bytes, and %d together", id, maxAdded, 1024*maxAdded)
		}
		if text != n.Content {
			a.rewrites[id] = text
		}
		if !known || text != n.Content {
			if err := v.put(int(id), []byte(text)); err != nil { // decoding prints the normalised text
				return err
			}
		}
		a.ids[n.Content], a.byID[id] = id, n
		a.special[n.Content] = a.special[n.Content] || n.Special
	}
	t.special = make([]bool, len(v.spans))
	for id, n := range a.byID {
		text, ok := a.rewrites[id]
		if !ok {
			text = n.Content
		}
		t.special[id] = a.special[text]
	}
	t.raw, t.normalized = a.matchers()
	return nil
}

// matchers returns the matcher for raw text and the one for normalised text.
func (a *addedTokens) matchers() (raw, normalized *matcher) {
	var contents [2][]string
	var found [2][]*addedToken
	for _, id := range slices.Sorted(maps.Keys(a.byID)) {
		n := a.byID[id]
		n.ID, n.Special = int(id), a.special[n.Content]
		k, text := 0, n.Content
		if n.Normalized {
			k = 1
			if rewritten, ok := a.rewrites[id]; ok {
				text = rewritten
			}
		}
		contents[k], found[k] = append(contents[k], text), append(found[k], &n)
	}
	return newMatcher(contents[0], found[0]), newMatcher(contents[1], found[1])
}
