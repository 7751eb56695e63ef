package data_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/unicode"

	"github.com/zerosearch-go/zerosearch/rl/data"
)

func utf16(t *testing.T, order unicode.Endianness, bom unicode.BOMPolicy, text string) []byte {
	out, err := unicode.UTF16(order, bom).NewEncoder().Bytes([]byte(text))
	require.NoError(t, err)
	return out
}

// The same rows in every file format.
func TestFormsOfRows(t *testing.T) {
	a, b := `{"question":"wo liegt Łódź [\"]?","golden_answers":["a]","é"]}`,
		`{"question":"q","golden_answers":"b","n":{"x":[1,{}]}}`
	lines := a + "\n" + b + "\n"
	list := "[" + a + "," + b + "]"
	indented := "\n [\n  " + a + " ,\r\n" + strings.ReplaceAll(b, ":", ": \n\t") + "\n]\n"
	little, big := unicode.LittleEndian, unicode.BigEndian
	for name, content := range map[string][]byte{
		"lines": []byte(lines), "crlf": []byte(strings.ReplaceAll(lines, "\n", "\r\n")),
		"bom":  []byte("\ufeff" + lines),
		"list": []byte(list), "indented": []byte(indented),
		"bom list": []byte("\ufeff" + list), "gzipped list": gz([]byte(indented)),
		"little endian, bom": utf16(t, little, unicode.UseBOM, lines),
		"big endian, bom":    utf16(t, big, unicode.UseBOM, lines),
		"little endian":      utf16(t, little, unicode.IgnoreBOM, lines),
		"big endian":         utf16(t, big, unicode.IgnoreBOM, indented),
		"gzipped utf-16":     gz(utf16(t, little, unicode.UseBOM, list)),
		"cr":                 []byte(strings.ReplaceAll(list, ",", ",\r")),
	} {
		qs, err := data.Load(file(t, "q.json", content))
		require.NoError(t, err, name)
		require.Len(t, qs, 2, name)
		require.Equal(t, "wo liegt Łódź [\"]?", qs[0].Question, name)
		require.Equal(t, []string{"a]", "é"}, qs[0].GoldenAnswers, name)
		require.Equal(t, 2, qs[1].Row, name)
	}
}

func TestFormsThatAreWrong(t *testing.T) {
	a := `{"question":"q","golden_answers":["a"]}`
	for content, want := range map[string]string{
		"[" + a:               "row 1: the list is cut off: its closing ] is missing",
		"[" + a + "," + a[:9]: "row 2: the list is cut off",
		"[" + a + ",]":        "row 2: the list has no element between two commas, or after the last comma",
		"[" + a + "," +
			`"q"]`: "row 2: a string where an object is expected: each element of the list must be",
		"[" + a + "]\n[" + a + "]":       "row 2: something follows the list",
		"[" + a + ",{\"question\":7 8}]": "row 2: invalid character '8'",
		"[]":                             "no rows: give a file with at least one question",
		" [ ] ":                          "no rows",
		"5":                              "row 1: a number where an object is expected",
		"{\"question\":\"caf\xe9\",\"golden_answers\":[\"a\"]}": "row 1: it is not UTF-8 text",
		"\xff\xfe\x00\x00{\x00\x00\x00":                         "the file is UTF-32 text: save it as UTF-8",
	} {
		_, err := data.Load(file(t, "q.jsonl", []byte(content)))
		require.ErrorContains(t, err, want, "%q", content)
		require.NotContains(t, err.Error(), "\n")
	}
	_, err := data.Load(file(t, "q.json", gz([]byte("[" + a + "," + a + "]"))[:30]))
	require.ErrorContains(t, err, "row 1: ")
}

// NaN and Infinity, as Python writes them, are null.
func TestRowsOfPython(t *testing.T) {
	text := `[{"question":"NaN?","golden_answers":["a",NaN],"score":-Infinity,"n":{"x":[NaN,1]}}]`
	for row, err := range data.Lines("x", strings.NewReader(text)) {
		require.NoError(t, err)
		q, err := data.ParseQuestion(row)
		require.NoError(t, err)
		require.Equal(t, "NaN?", q.Question)
		require.Equal(t, []string{"a"}, q.GoldenAnswers)
		require.JSONEq(t, `[null,{"x":[null,1]}]`, fmt.Sprintf("[%s,%s]", q.Columns["score"], q.Columns["n"]))
	}
}

// After a bad element of a list, the following elements are still read.
func TestListGoesOn(t *testing.T) {
	var got []string
	for row, err := range data.Lines("x", strings.NewReader(`[{"a":1},{bad},7,{"a":2}]`)) {
		got = append(got, fmt.Sprint(row.N, " ", err == nil))
	}
	require.Equal(t, []string{"1 true", "2 false", "3 false", "4 true"}, got)
}

// A null in a list of numbers is an error, although package json reads it as 0.
func TestNoNullAmongIDs(t *testing.T) {
	for row, err := range data.Lines("x", strings.NewReader(`{"ids":[1,null,3],"more":[1.0]}`)) {
		require.NoError(t, err)
		var ids []int32
		_, err = row.Get("ids", &ids)
		require.EqualError(t, err, "column ids: null at place 1 of 3: give a number")
		_, err = row.Get("more", &ids)
		require.EqualError(t, err, "column more: the number 1.0 where a whole number is expected")
	}
}

func TestText(t *testing.T) {
	for _, in := range []string{"", "x", "\ufeff", "\ufeffx: 1", "\xef\xbb", "PK\x00\x03"} {
		r, err := data.Text(strings.NewReader(in))
		require.NoError(t, err)
		var out bytes.Buffer
		_, err = out.ReadFrom(r)
		require.NoError(t, err)
		require.Equal(t, strings.TrimPrefix(in, "\ufeff"), out.String())
	}
}
