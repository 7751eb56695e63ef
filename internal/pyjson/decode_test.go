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
		`{"r": 4.0}`:                  `"r": the number 4.0 where a whole number is expected`,
		`{"r": "four"}`:               `"r": a string where a whole number is expected`,
		`{"text": 7}`:                 `"text": a number where a string is expected`,
		`{"on": "yes"}`:               `"on": a string where true or false is expected`,
		`{"list": {}}`:                `"list": an object where a list is expected`,
		`{"rope": {"factor": "8"}}`:   `"rope.factor": a string where a number is expected`,
		`{"rope": "linear"}`:          `"rope": a string where an object is expected`,
		`{"rope": {"factor": 1e999}}`: `"rope.factor": the number 1e999 where a number of 64 bits is expected`,
		`[1]`:                         "a list where an object is expected",
		`{} {}`:                       "something follows the JSON value",
		`{"r": }`:                     "invalid character '}'",
		`{"r": 1`:                     "unexpected end of JSON input",
		``:                            "unexpected end of JSON input",
	} {
		err := Unmarshal([]byte(in), &v)
		require.ErrorContains(t, err, says, in)
		require.NotContains(t, err.Error(), "Go", in)
	}
	require.NoError(t, Unmarshal([]byte(`{"r": 4, "rope": {"factor": NaN}} `), &v))
	require.Equal(t, 4, v.R)
	require.Nil(t, v.Rope.Factor)
}
