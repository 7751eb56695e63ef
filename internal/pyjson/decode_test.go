package pyjson

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUnmarshalSaysWhatIsWrong(t *testing.T) {
	type inner struct {
		Factor *float64 `json:"factor"`
	}
	var v struct {
		R    int      `json:"r"`
		Text string   `json:"text"`
		On   bool     `json:"on"`
		List []string `json:"list"`
		Rope inner    `json:"rope"`
	}
	for in, says := range map[string]string{
		`{"r": 4.0}`:                  "r is the number 4.0, not a whole number",
		`{"r": "four"}`:               "r is a string, not a whole number",
		`{"text": 7}`:                 "text is a number, not a string",
		`{"on": "yes"}`:               "on is a string, not true or false",
		`{"list": {}}`:                "list is an object, not a list",
		`{"rope": {"factor": "8"}}`:   "rope.factor is a string, not a finite number",
		`{"rope": "linear"}`:          "rope is a string, not an object",
		`{"rope": {"factor": 1e999}}`: "rope.factor is the number 1e999, not a finite number",
		`[1]`:                         "a value is a list, not an object",
		`{} {}`:                       "something follows the JSON value",
		`{"r": }`:                     "not JSON at byte 7: invalid character '}'",
		`{"r": 1`:                     "ends too soon",
		``:                            "ends too soon",
	} {
		err := Unmarshal([]byte(in), &v)
		require.ErrorContains(t, err, says, in)
		require.NotContains(t, err.Error(), "Go", in)
	}
	require.NoError(t, Unmarshal([]byte(`{"r": 4, "rope": {"factor": NaN}} `), &v))
	require.Equal(t, 4, v.R)
	require.Nil(t, v.Rope.Factor)
}
