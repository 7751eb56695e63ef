package serve

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// However tokens cut a text, what is given out is the text before the first stop text, and never more than is certain.
func TestTranscript(t *testing.T) {
	tok, err := smollm2()
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfN(rapid.Int32Range(0, 300), 1, 40).Draw(t, "ids") // characters, parts of characters, special tokens
		full := tok.Decode(ids, true)
		stops := rapid.SliceOfN(rapid.StringMatching(`[a-e]{1,3}`), 0, 3).Draw(t, "stops")
		if len(full) > 4 && rapid.Bool().Draw(t, "inside") {
			at := rapid.IntRange(0, len(full)-3).Draw(t, "at")
			stops = append(stops, strings.ToValidUTF8(full[at:at+3], "x"))
		}
		tr, stop := newTranscript(tok, nil, stops), stopper(tok, nil, stops)
		var got string
		var tokens []entry
		stopped := -1
		for i, id := range ids {
			text, some := tr.add(entry{id: id})
			got, tokens = got+text, append(tokens, some...)
			if stop != nil && stop(ids[:i+1]) && stopped < 0 {
				stopped = i
			}
			require.Equal(t, stopped >= 0, tr.stopped, "the engine's stop function sees the same")
			if !tr.stopped {
				require.True(t, strings.HasPrefix(full, got))
				for _, s := range stops {
					require.NotContains(t, got, s)
				}
				soFar := tok.Decode(ids[:i+1], true)
				require.Less(t, len(soFar)-len(got), 3*4+longest(stops), "held back without need")
			} else {
				break
			}
		}
		text, some := tr.end()
		got, tokens = got+text, append(tokens, some...)
		if stopped >= 0 {
			full = tok.Decode(ids[:stopped+1], true)
		}
		if at := stopAt(full, stops); at >= 0 {
			require.Equal(t, full[:at], got)
			for _, e := range tokens {
				require.Less(t, e.at, max(at, 1))
			}
		} else {
			require.Equal(t, full, got)
			require.Len(t, tokens, len(ids))
		}
	})
}

func longest(stops []string) int {
	n := 0
	for _, s := range stops {
		n = max(n, len(s))
	}
	return n
}

// An end-of-sequence id leaves nothing; a model without a tokenizer has entries only.
func TestTranscriptEdges(t *testing.T) {
	tok, err := smollm2()
	require.NoError(t, err)
	ids := tok.Encode("whales sing", tokenizer.EncodeOptions{})
	tr := newTranscript(tok, ids[1:2], nil)
	text, tokens := tr.add(entry{id: ids[0]})
	require.Equal(t, tok.Decode(ids[:1], true), text)
	require.Len(t, tokens, 1)
	text, tokens = tr.add(entry{id: ids[1]})
	require.Empty(t, text)
	require.Empty(t, tokens)
	tr = newTranscript(nil, nil, nil)
	text, tokens = tr.add(entry{id: 5})
	require.Empty(t, text)
	require.Equal(t, []entry{{id: 5}}, tokens)
	require.Equal(t, 2, beginning("abcab", []string{"abx", "b"}))
	require.Equal(t, 0, beginning("abc", []string{"abc"}), "the whole is no beginning")
}
