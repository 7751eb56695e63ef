package serve

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// However a text is split into tokens, the transcript returns the text before the first stop string, and never text
// that may still be part of one.
func TestTranscript(t *testing.T) {
	tok, err := smollm2()
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		// characters, parts of characters, special tokens
		ids := rapid.SliceOfN(rapid.Int32Range(0, 300), 1, 40).Draw(t, "ids")
		full := tok.Decode(ids, true)
		stops := rapid.SliceOfN(rapid.StringMatching(`[a-e]{1,3}`), 0, 3).Draw(t, "stops")
		if len(full) > 4 && rapid.Bool().Draw(t, "inside") {
			at := rapid.IntRange(0, len(full)-3).Draw(t, "at")
			stops = append(stops, strings.ToValidUTF8(full[at:at+3], "x"))
		}
		o := Output{Tokenizer: tok, Stop: stops, MinTokens: rapid.IntRange(0, 9).Draw(t, "min"),
			IncludeStop: rapid.Bool().Draw(t, "include"),
			KeepSpecial: rapid.Bool().Draw(t, "special")}
		full = tok.Decode(ids, !o.KeepSpecial)
		tr, stop := newTranscript(o), o.Stopper()
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
			soFar := tok.Decode(ids[:i+1], !o.KeepSpecial)
			if !tr.stopped {
				require.True(t, strings.HasPrefix(full, got))
				for _, s := range stops {
					require.False(t, strings.Contains(got[max(0, min(least(tok, o, ids)-len(s)+1, len(got))):], s))
				}
				require.Less(t, len(soFar)-len(got), 3*4+longest(stops), "held back without need")
			} else {
				break
			}
		}
		text, some := tr.end()
		got, tokens = got+text, append(tokens, some...)
		if stopped >= 0 {
			full = tok.Decode(ids[:stopped+1], !o.KeepSpecial)
			require.Equal(t, got, o.Text(ids[:stopped+1]))
		}
		for _, e := range tokens {
			require.Equal(t, utf8.RuneCountInString(full[:e.at]), e.offset, "offsets count characters")
		}
		if from, to := scanStop(full, stops, least(tok, o, ids)); from >= 0 {
			if o.IncludeStop {
				from = to
			}
			require.Equal(t, full[:from], got)
			for _, e := range tokens {
				require.Less(t, e.at, max(from, 1))
			}
		} else {
			require.Equal(t, full, got)
			require.Len(t, tokens, len(ids))
		}
	})
}

// least is the length in bytes of the text in which a stop string must not end.
func least(tok *tokenizer.Tokenizer, o Output, ids []int32) int {
	d, n := tok.NewDecoder(!o.KeepSpecial), 0
	for _, id := range ids[:min(o.MinTokens, len(ids))] {
		n += len(d.Add(id))
	}
	if o.MinTokens >= len(ids) { // includes the rest of a character that was cut
		n += len(d.Flush())
	}
	return n
}

// scanStop finds the first stop string byte by byte: slow and simple.
func scanStop(text string, stops []string, after int) (from, to int) {
	for n := after + 1; n <= len(text); n++ {
		for _, s := range stops {
			if strings.HasSuffix(text[:n], s) {
				return n - len(s), n
			}
		}
	}
	return -1, -1
}

func longest(stops []string) int {
	n := 0
	for _, s := range stops {
		n = max(n, len(s))
	}
	return n
}

// An end-of-sequence token adds no text. Without a tokenizer there are entries but no text.
func TestTranscriptEdges(t *testing.T) {
	tok, err := smollm2()
	require.NoError(t, err)
	ids := tok.Encode("whales sing", tokenizer.EncodeOptions{})
	tr := newTranscript(Output{Tokenizer: tok, EOS: ids[1:2]})
	text, tokens := tr.add(entry{id: ids[0]})
	require.Equal(t, tok.Decode(ids[:1], true), text)
	require.Len(t, tokens, 1)
	text, tokens = tr.add(entry{id: ids[1]})
	require.Empty(t, text)
	require.Empty(t, tokens)
	tr = newTranscript(Output{})
	text, tokens = tr.add(entry{id: 5})
	require.Empty(t, text)
	require.Equal(t, []entry{{id: 5}}, tokens)
	require.Equal(t, 2, partialStop("abcab", []string{"abx", "b"}))
	require.Equal(t, 0, partialStop("abc", []string{"abc"}), "a complete stop string is not a partial one")
}
