package pyjson

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// The texts are outputs of json.dumps of Python 3.12, and other texts that json.loads accepts.
func TestStandard(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": NaN, "b": {"c": [1, -Infinity, {"d": Infinity}]}, "e": "NaN, Infinity"}`: `{"a": null, "b": {"c": [1, null, {"d": null}]}, "e": "NaN, Infinity"}`,
		`[NaN,NaN]`:                  `[null,null]`,
		"NaN":                        "null",
		"-Infinity\n":                "null\n",
		`{"NaN": 1, "\"": Infinity}`: `{"NaN": 1, "\"": null}`,
		`{"text": "a \\\" NaN: \\"}`: `{"text": "a \\\" NaN: \\"}`,
		`{"a":NaN}`:                  `{"a":null}`,
	} {
		got := Standard([]byte(in))
		require.Equal(t, want, string(got))
		require.True(t, json.Valid(got), in)
	}
	for _, in := range []string{`{"a": NaNs}`, `{"a": +Infinity}`, `{"a": -NaN}`, `{"a": nan}`, `{"a": NaN`,
		`{"a": "NaN`} {
		require.False(t, json.Valid(Standard([]byte(in))), "Python refuses %s", in)
	}
}

func TestFindNamesThePlace(t *testing.T) {
	text := []byte(`{"rope_parameters": {"factor": NaN, "x": [{"y": 1}, Infinity]}, "list": [[-Infinity]], "z": "NaN"}`)
	require.Equal(t, []NonFinite{
		{"rope_parameters.factor", "NaN", 31, 34},
		{"rope_parameters.x", "Infinity", 52, 60},
		{"list", "-Infinity", 74, 83},
	}, Find(text))
	require.Nil(t, Find([]byte(`{"a": 1}`)))
}

// FuzzStandard: valid JSON is unchanged. Text that becomes valid has one null for each number that was found.
func FuzzStandard(f *testing.F) {
	for _, s := range []string{`{"a": NaN}`, `[Infinity, -Infinity]`, `{"a": "NaN"}`, `"\\`,
		`{"a\u0062": {"b": [NaN]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out := Standard(data)
		if json.Valid(data) {
			require.Equal(t, data, out)
		}
		for _, n := range Find(data) {
			require.Equal(t, n.Value, string(data[n.Start:n.End]))
		}
	})
}
