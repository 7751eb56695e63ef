package jsonscan

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Members come in the order of the text, with their places, and what is cut off or no object is an error.
func TestMembers(t *testing.T) {
	text := []byte(" { \"b\" : [1, {\"x\":2}] ,\"a\":null,\"b\":\"\\u00e9\"} rest")
	all, err := Members(text)
	require.NoError(t, err)
	var got []string
	for _, m := range all {
		require.Equal(t, string(m.Raw), string(text[m.Start:m.End]))
		got = append(got, m.Key+" "+string(m.Raw))
	}
	require.Equal(t, []string{`b [1, {"x":2}]`, "a null", `b "\u00e9"`}, got)
	all, err = Members([]byte("{}"))
	require.NoError(t, err)
	require.NotNil(t, all)
	require.Empty(t, all)
	for _, bad := range []string{"", "[]", "1", `"a"`, "null"} {
		_, err := Members([]byte(bad))
		require.ErrorIs(t, err, ErrNoObject, bad)
	}
	for _, bad := range []string{"{", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a" 1}`, `{1:2}`, `{"a":x}`, `{"a":1]`} {
		_, err := Members([]byte(bad))
		require.Error(t, err, bad)
	}
}
