package tokenizer

import (
	"testing"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// spaceClass is what \s means in the engine that the patterns were written for; regexp2's own \s is another set.
const spaceClass = `\u0009-\u000D\u0020\u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000`

// regexpPieces splits text by a pattern with a general engine.
func regexpPieces(t require.TestingT, re *regexp2.Regexp, text string) []string {
	var out []string
	m, err := re.FindStringMatch(text)
	for ; m != nil; m, err = re.FindNextMatch(m) {
		out = append(out, m.String())
	}
	require.NoError(t, err)
	return out
}

func scannerPieces(cut split, text string) []string {
	b := pad(nil, text)
	var out []string
	for i := 0; i < len(b); {
		end := cut(b, i)
		out = append(out, string(b[i:end]))
		i = end
	}
	return out
}

// compilePattern writes \s and \S as explicit sets, inside and outside of brackets, and the case-insensitive group as
// its members.
func compilePattern(pattern string) *regexp2.Regexp {
	var out []byte
	inSet := false
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\' && pattern[i+1] == 's' && inSet:
			out = append(out, spaceClass...)
			i++
		case c == '\\' && pattern[i+1] == 's':
			out = append(out, "["+spaceClass+"]"...)
			i++
		case c == '\\' && pattern[i+1] == 'S':
			out = append(out, "[^"+spaceClass+"]"...)
			i++
		case c == '\\':
			out = append(out, c, pattern[i+1])
			i++
		default:
			if c == '[' || c == ']' {
				inSet = c == '['
			}
			out = append(out, c)
		}
	}
	s := string(out)
	const fold = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	if len(s) > len(fold) && s[:len(fold)] == fold {
		s = `(?:'[sSſ]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])` + s[len(fold):]
	}
	return regexp2.MustCompile(s, regexp2.None)
}

// interesting is text in which the patterns' cases meet.
func interesting() *rapid.Generator[string] {
	part := rapid.OneOf(
		rapid.SampledFrom([]string{"'s", "'S", "'ſ", "'ll", "'lL", "'re", "'V", "'vE", "'", "''", " ", "  ", "\n",
			"\r\n", "\t", "\u00a0", "\u3000", "\u0085", "\u2028",
			"\x1c", "\u200b", "a", "Z", "é", "e\u0301", "ſ", "日本", "ก็", "1", "23", "½", "Ⅷ", "३", ".", "!?", "🙂", "_",
			"\u0301", "\x00", "K", "ß"}),
		rapid.StringOfN(rapid.Rune(), 0, 3, -1),
		rapid.StringMatching(`[a-z ']{0,6}`),
	)
	return rapid.Map(rapid.SliceOfN(part, 0, 12), func(parts []string) string {
		s := ""
		for _, p := range parts {
			s += p
		}
		return validText(s)
	})
}

// Each scanner cuts as a regexp engine does with its pattern.
func TestSplitsAreTheirPatterns(t *testing.T) {
	loadClasses()
	require.Len(t, patterns, 5)
	for pattern, cut := range patterns {
		re := compilePattern(pattern)
		rapid.Check(t, func(t *rapid.T) {
			text := interesting().Draw(t, "text")
			require.Equal(t, regexpPieces(t, re, text), scannerPieces(cut, text), "%q by %s", text, pattern)
		})
	}
}

func FuzzSplit(f *testing.F) {
	loadClasses()
	var engines []*regexp2.Regexp
	var cuts []split
	for pattern, cut := range patterns {
		engines, cuts = append(engines, compilePattern(pattern)), append(cuts, cut)
	}
	for _, s := range []string{"", "don't 'LL x", " \n\n  a 12345\r\n", "\u00a0\u3000x ½Ⅷ", "ก็日本語🙂'ſ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = validText(text)
		for i, re := range engines {
			require.Equal(t, regexpPieces(t, re, text), scannerPieces(cuts[i], text), "%q", text)
		}
		for _, cut := range []split{splitDigits(true), splitDigits(false), splitMetaspace, splitWords} {
			all := ""
			for _, p := range scannerPieces(cut, text) {
				require.NotEmpty(t, p)
				require.True(t, utf8.ValidString(p))
				all += p
			}
			require.Equal(t, text, all)
		}
	})
}
