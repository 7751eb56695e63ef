package data

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWriteParquet(t *testing.T) {
	columns := []Column{{"query", TextColumn}, {"documents", TextListColumn}, {"tokens", WholeColumn},
		{"tau", NumberColumn}, {"extra", TextColumn}}
	rows := []json.RawMessage{
		json.RawMessage(
			`{"query":"q1","documents":["a","b","日本"],"tokens":9007199254740993,"tau":0.25,"extra":{"id":7}}`),
		json.RawMessage(`{"query":"q2","documents":[],"tokens":null,"left out":1}`),
	}
	var b bytes.Buffer
	require.NoError(t, WriteParquet(&b, columns, rows))
	path := filepath.Join(t.TempDir(), "x.parquet")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	var got []string
	for row, err := range Rows(path) {
		require.NoError(t, err)
		line, err := json.Marshal(row.Columns)
		require.NoError(t, err)
		got = append(got, string(line))
	}
	require.Equal(t, []string{
		`{"documents":["a","b","日本"],"extra":"{\"id\":7}","query":"q1","tau":0.25,"tokens":9007199254740993}`,
		`{"documents":[],"extra":null,"query":"q2","tau":null,"tokens":null}`}, got)
}
