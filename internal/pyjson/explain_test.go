package pyjson

import (
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExplain(t *testing.T) {
	var v struct {
		Name  string
		IDs   []int32 `json:"ids"`
		Count uint8
		Rate  *float32
		On    bool
		Inner struct{ Keys map[string]json.RawMessage }
	}
	for text, want := range map[string]string{
		`[]`:                    "a list where an object is expected",
		`"x"`:                   "a string where an object is expected",
		`{"name":7}`:            `"Name": a number where a string is expected`,
		`{"ids":["a"]}`:         `"ids": a string where a whole number is expected`,
		`{"ids":[4.5]}`:         `"ids": the number 4.5 where a whole number is expected`,
		`{"ids":[9999999999]}`:  `"ids": the number 9999999999 where a whole number from -2147483648 to 2147483647 is expected`,
		`{"ids":{}}`:            `"ids": an object where a list is expected`,
		`{"count":-1}`:          `"Count": the number -1 where a whole number from 0 to 255 is expected`,
		`{"count":256}`:         `"Count": the number 256 where a whole number from 0 to 255 is expected`,
		`{"rate":true}`:         `"Rate": true or false where a number is expected`,
		`{"rate":1e99}`:         `"Rate": the number 1e99 where a number of 32 bits is expected`,
		`{"on":"yes"}`:          `"On": a string where true or false is expected`,
		`{"inner":{"keys":[]}}`: `"Inner.Keys": a list where an object is expected`,
		`{`:                     "unexpected end of JSON input",
	} {
		err := Explain(json.Unmarshal([]byte(text), &v))
		require.EqualError(t, err, want, text)
	}
	require.NoError(t, Explain(nil))
	require.True(t, errors.Is(Explain(io.EOF), io.EOF))
}
