package jsonscan

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// Whatever the scanner takes, encoding/json takes too, and reads the same.
func FuzzScanner(f *testing.F) {
	f.Add([]byte(`{"a": [1, -2, "x\u00e9\ud83d\ude42\n"], "b": {"c": null}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &Scanner{Text: text}
		if got, err := s.Str(nil); err == nil && s.Peek() == 0 && s.Pos == len(text) {
			var want string
			require.NoError(t, json.Unmarshal(text, &want))
			if utf8.Valid(text) { // encoding/json replaces what is not
				require.Equal(t, want, string(got))
			}
		}
		if json.Valid(text) && bytes.Count(text, []byte{'['})+bytes.Count(text, []byte{'{'}) < MaxDepth {
			s = &Scanner{Text: text}
			raw, err := s.Raw()
			require.NoError(t, err)
			require.Equal(t, string(bytes.TrimSpace(text)), string(bytes.TrimSpace(raw)))
		}
	})
}

// What encoding/json mends or lets pass is an error here, with its place.
func TestStrict(t *testing.T) {
	for text, want := range map[string]string{
		`"\ud800"`:          `byte 7 of the header: broken \u escape in a string`,
		`"\ud800\u0041"`:    `byte 13 of the header: broken \u escape in a string`,
		`"\x"`:              "byte 1 of the header: unknown escape in a string",
		"\"a\tb\"":          `byte 2 of the header: control character '\t' inside a string`,
		`"abc`:              "byte 4 of the header: the string has no end",
		`{"a" 1}`:           "byte 5 of the header: expected ':', found '1'",
		`{"a":1 "b":2}`:     `byte 7 of the header: expected ',' or '}', found '"'`,
		`[1,]`:              "byte 3 of the header: expected a value, found ']'",
		`[1]]`:              "byte 3 of the header: expected the end, found ']'",
		`01`:                "byte 1 of the header: expected the end, found '1'",
		`-`:                 "byte 1 of the header: broken number, found the end",
		`{"a":[{"b":nul}]}`: "byte 11 of the header: expected a value, found 'n'",
	} {
		s := &Scanner{Text: []byte(text), Of: "the header"}
		err := s.Skip(0)
		if err == nil {
			err = s.End()
		}
		require.EqualError(t, err, want, text)
	}
	deep := bytes.Repeat([]byte{'['}, 10000)
	require.ErrorContains(t, (&Scanner{Text: deep}).Skip(0), "bad JSON at byte 101: more than 100 levels of nesting")
	_, err := (&Scanner{Text: deep}).Raw()
	require.ErrorContains(t, err, "nested too deeply")
}
