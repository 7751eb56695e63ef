package tokenizer

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// The examples of the Unicode Standard, tables 3-8 to 3-11: what each maximal invalid sequence becomes.
func TestInvalidBytes(t *testing.T) {
	for in, want := range map[string]string{
		"a\xF1\x80\x80\xE1\x80\xC2b\x80c\x80\xBFd": "a���b�c��d",
		"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82A":        "��������A",
		"\xED\xA0\x80\xED\xBF\xBF\xED\xAFA":        "��������A",
		"\xF4\x91\x92\x93\xFFA\x80\xBFB":           "�����A��B",
		"\xE1\x80\xE2\xF0\x91\x92\xF1\xBFA":        "����A",
		"\xE2\x82":                                 "�",
		"\xE2\x82\xAC":                             "€",
		"\xF0\x9F\x99":                             "�",
	} {
		require.Equal(t, want, validText(in), "%q", in)
	}
}

// x/text's decoder follows the same rule.
func TestInvalidBytesAsXText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(
			rapid.OneOf(rapid.Byte(),
				rapid.SampledFrom([]byte("\xE0\xA0\x80\xED\x9F\xF0\x90\xF4\x8F\xC2\xEF\xBF\xBD")))).Draw(t, "bytes")
		want, err := unicode.UTF8.NewDecoder().Bytes(b)
		require.NoError(t, err)
		require.Equal(t, string(want), validText(string(b)))
	})
}

// However ids cut the bytes, the pieces are whole characters and make up the whole text.
func TestDecoderOnAnyIDs(t *testing.T) {
	for _, name := range []string{"smollm2", "tiny-metaspace", "llama2"} {
		t.Run(name, func(t *testing.T) {
			tok := open(t, name)
			rapid.Check(t, func(t *rapid.T) {
				ids := rapid.SliceOf(rapid.OneOf(rapid.Int32Range(0, 300), rapid.Int32())).Draw(t, "ids")
				text := tok.Decode(ids, false)
				require.True(t, utf8.ValidString(text))
				requirePieces(t, tok, ids, text)
			})
		})
	}
}

func TestDecoderStartsAgainAfterFlush(t *testing.T) {
	tok, err := Open("testdata/tiny/tiny-metaspace.json")
	require.NoError(t, err)
	d := tok.NewDecoder(true)
	for range 2 {
		var s strings.Builder
		for _, id := range tok.Encode("the fox", EncodeOptions{AddSpecial: true}) {
			s.WriteString(d.Add(id))
		}
		require.Equal(t, "the fox", s.String()+d.Flush())
	}
}

// The composition for long runs of combining characters is the same as x/text's where that one applies.
func TestNFC(t *testing.T) {
	char := rapid.OneOf(
		rapid.SampledFrom(
			[]rune(
				"aeoAqſ각가각がガ\u3099\u0301\u0308\u0323\u0327\u0f71\u0f72\u0f73\u0344\u0958\u1e9bक़\u093c\u0b47\u0b56")),
		rapid.Rune())
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(char, 0, 12, -1).Draw(t, "text")
		require.Equal(t, norm.NFC.String(s), composeLong(s), "%+q", s)
		require.Equal(t, norm.NFC.String(s), nfc(s))
	})
	long := "e" + strings.Repeat("\u0323\u0301", 100) + "!"
	require.Equal(t, "\u1eb9"+strings.Repeat("\u0323", 99)+strings.Repeat("\u0301", 100)+"!", nfc(long))
}
