package tokenizer

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestJoinParts(t *testing.T) {
	for raw, want := range map[string]string{
		`[]`:                               "",
		`["a","b"]`:                        "a\nb",
		`[{"type":"text","text":"a"},"b"]`: "a\nb",
		`[{"text":"a"},{"type":"refusal","refusal":"No."}]`: "a\nNo.",
	} {
		got, err := JoinParts(json.RawMessage(raw))
		require.NoError(t, err, raw)
		require.Equal(t, want, got, raw)
	}
	for raw, want := range map[string]PartError{
		`["a",5]`:                       {1, false, "it is neither a string nor an object with a type"},
		`["a",null]`:                    {1, false, "it is neither a string nor an object with a type"},
		`[{"type":5,"text":"a"}]`:       {0, false, "its type is not a string"},
		`["a","b",{"type":"text"}]`:     {2, false, "it has no text"},
		`[{"type":"text","Text":"a"}]`:  {0, false, "it has no text"},
		`[{"type":"text","text":null}]`: {0, false, "it has no text"},
		`[{"type":"refusal"}]`:          {0, false, "it has no refusal"},
		`[{"type":"file","text":"a"}]`:  {0, true, `content of type "file" is not supported: only text is`},
	} {
		_, err := JoinParts(json.RawMessage(raw))
		var p *PartError
		require.True(t, errors.As(err, &p), raw)
		require.Equal(t, want, *p, raw)
	}
	_, err := JoinParts(json.RawMessage(`{}`))
	require.EqualError(t, err, "its content is neither text nor a list of parts")
}
