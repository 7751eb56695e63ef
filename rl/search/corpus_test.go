package search_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

func folder(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, []byte(text), 0o644))
	}
	return dir
}

func TestReadCorpus(t *testing.T) {
	long := strings.Repeat("w ", 250)
	dir := folder(t, map[string]string{
		"a/plain.txt": "One.\r\n\r\nTwo.",
		"b.md":        "Before.\n\n# First *part*\n\nText of it,\nstill.\n\n```\n# no heading\n\n```\n## Second ##\nMore.\n#hash tag",
		"c.html": "<!doctype html><html><head><title>A &amp; B</title><style>p{}</style><script>var x = '<p>no</p>';</script></head><body><h1>A &amp; B</h1>" +
			"<p>Some <b>bo</b>ld&nbsp;text.<p>Next<br>line.<svg><title>icon</title></svg><h2>Part</h2><ul><li>one<li>two</ul><table><tr><td>x<td>y</table>",
		"d.jsonl":         `{"contents":"\"T\"\nrow"}` + "\n" + `{"title":"U","text":"v"}`,
		"e.markdown":      long,
		".hidden.txt":     "hidden",
		".git/config.txt": "hidden",
		"f.bin":           "\x00\x01",
		"g.txt":           "",
	})
	c, err := search.ReadCorpus(dir)
	require.NoError(t, err)
	require.Empty(t, c.Note())
	w := strings.TrimSpace(strings.Repeat("w ", 100))
	require.Equal(t, []string{
		"\"plain\"\nOne. Two.",
		"\"b\"\nBefore.",
		"\"b: First *part*\"\nText of it, still. # no heading",
		"\"b: Second\"\nMore. #hash tag",
		"\"A & B\"\nSome bold text. Next line.",
		"\"A & B: Part\"\none two x y",
		"\"T\"\nrow", "\"U\"\nv",
		"\"e\"\n" + w, "\"e\"\n" + strings.TrimSpace(strings.Repeat("w ", 150)),
	}, c.Passages)

	one, err := search.ReadCorpus(filepath.Join(dir, "a/plain.txt"), filepath.Join(dir, "d.jsonl"))
	require.NoError(t, err)
	require.Len(t, one.Passages, 3)
	plain := folder(t, map[string]string{"notes": "no name to go by", "rows": `{"text":"a row"}`})
	one, err = search.ReadCorpus(filepath.Join(plain, "notes"), filepath.Join(plain, "rows"))
	require.NoError(t, err)
	require.Equal(t, []string{"\"notes\"\nno name to go by", "a row"}, one.Passages)
}

// Bad rows and files are counted, named and left out, as long as they are the fewer.
func TestCorpusBadRows(t *testing.T) {
	good := strings.Repeat(`{"contents":"x"}`+"\n", 9)
	dir := folder(t, map[string]string{"c.jsonl": good + `{"contents":` + "\n" + good + `{"contents":3}` + "\n" + `{"body":"x"}`})
	path := filepath.Join(dir, "c.jsonl")
	c, err := search.ReadCorpus(path)
	require.NoError(t, err)
	require.Len(t, c.Passages, 18)
	require.Equal(t, 3, c.BadCount)
	require.Equal(t, "3 bad rows or files are left out: reading "+path+": row 10: unexpected end of JSON input: each line must be one JSON object; "+
		path+": row 20: column contents: is a number, not of the kind expected here; "+path+": row 21: no column contents (or text): the columns are body: 18 passages are used", c.Note())
	_, err = search.LoadBM25(path)
	require.ErrorContains(t, err, "row 10", "who cannot show a note takes no corpus with faults")

	many := folder(t, map[string]string{"c.jsonl": good + strings.Repeat("x\n", 8), "d.txt": "\xff", "e.txt": "\xff", "f.txt": "\xff", "ok.txt": "fine\n"})
	_, err = search.ReadCorpus(many)
	require.ErrorContains(t, err, "11 bad rows or files are left out")
	require.ErrorContains(t, err, "and 6 more")
	few, err := search.ReadCorpus(many, path)
	require.NoError(t, err)
	require.Contains(t, few.Note(), "14 bad rows")

	for name, want := range map[string]string{"d.txt": "not UTF-8", "absent": "no such file"} {
		_, err := search.ReadCorpus(filepath.Join(many, name))
		require.ErrorContains(t, err, want)
	}
	_, err = search.ReadCorpus(t.TempDir())
	require.ErrorContains(t, err, "no passages: give")
}

// Whatever bytes a document holds, reading it ends, and every passage is text under a title.
func FuzzDocument(f *testing.F) {
	f.Add("<title>x</title><p>y<script>z", ".html")
	f.Add("# a\n\n```\nb\n```\n", ".md")
	f.Add(strings.Repeat("<div>", 5000)+"deep", ".htm")
	f.Fuzz(func(t *testing.T, text, ext string) {
		switch ext {
		case ".html", ".htm", ".md", ".txt":
		default:
			return
		}
		path := filepath.Join(t.TempDir(), "d"+ext)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		c, err := search.ReadCorpus(path)
		if err != nil {
			return
		}
		for _, p := range c.Passages {
			title, body, ok := strings.Cut(p, "\"\n")
			require.True(t, ok && strings.HasPrefix(title, `"`) && strings.TrimSpace(body) != "", p)
		}
	})
}
