package search_test

import (
	"compress/gzip"
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
		"b.md": "Before.\n\n# First *part*\n\nText of it,\nstill.\n\n```\n# no heading\n\n```\n## Second " +
			"##\nMore.\n#hash tag",
		"c.html": "<!doctype html><html><head><title>A &amp; B</title><style>p{}</style><script>var x = " +
			"'<p>no</p>';</script></head><body><h1>A &amp; B</h1>" +
			"<p>Some " +
			"<b>bo</b>ld&nbsp;text.<p>Next<br>line.<svg><title>icon</title></svg><h2>Part</h2><ul><li>one<li>two</ul><table><tr><td>x<td>y</table>",
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

// Bad rows and files are counted, listed and left out, as long as there are fewer of them than of good passages.
func TestCorpusBadRows(t *testing.T) {
	good := strings.Repeat(`{"contents":"x"}`+"\n", 9)
	rows := good + `{"contents":` + "\n" + good + `{"contents":[3]}` + "\n" + `{"body":"x"}`
	dir := folder(t, map[string]string{"c.jsonl": rows})
	path := filepath.Join(dir, "c.jsonl")
	c, err := search.ReadCorpus(path)
	require.NoError(t, err)
	require.Len(t, c.Passages, 18)
	require.Equal(t, 3, c.BadCount)
	require.Equal(t,
		"3 bad rows or files are left out: reading "+path+": row 10: unexpected end of JSON input: each line must be "+
			"one JSON object; "+
			path+": row 20: column contents: expected text, found an object or a list; "+
			path+": row 21: no column contents (or text): the columns are body: 18 passages are used", c.Note())
	_, err = search.LoadBM25(path)
	require.ErrorContains(t, err, "row 10", "who cannot show a note takes no corpus with faults")

	many := folder(t, map[string]string{"c.jsonl": good + strings.Repeat("x\n", 8), "d.txt": "\xff", "e.txt": "\xff",
		"f.txt": "\xff", "ok.txt": "fine\n"})
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

// A corpus is read in every format of rows, and a text that only begins like rows is read as text.
func TestCorpusForms(t *testing.T) {
	rows := []string{`{"title":"Lima","text":"Lima is the capital of Peru."}`, `{"title":1984,"text":"A novel."}`,
		`{"contents":"\"Rome\"\nA city."}`, `{"title":null,"text":"x"}`}
	list, indented := "["+strings.Join(rows, ",")+"]", "[\n  "+strings.Join(rows, ",\n  ")+"\n]\n"
	var zipped strings.Builder
	z := gzip.NewWriter(&zipped)
	z.Write([]byte(indented))
	z.Close()
	dir := folder(t, map[string]string{"one.json": list, "indented.json": indented, "noname": indented,
		"lines.json": strings.Join(rows, "\n"), "list.jsonl": list,
		"zipped.json.gz": zipped.String(), "zipped": zipped.String(), "bom": "\ufeff" + list})
	want := []string{"\"Lima\"\nLima is the capital of Peru.", "\"1984\"\nA novel.", "\"Rome\"\nA city.", "x"}
	for _, name := range []string{"one.json", "indented.json", "noname", "lines.json", "list.jsonl", "zipped.json.gz",
		"zipped",
		"bom"} {
		c, err := search.ReadCorpus(filepath.Join(dir, name))
		require.NoError(t, err, name)
		require.Equal(t, want, c.Passages, name)
	}
	c, err := search.ReadCorpus(dir)
	require.NoError(t, err)
	require.Len(t, c.Passages, 5*4, "files of a folder without a telling name are left out")

	utf16 := "\xff\xfeP\x00e\x00r\x00\xfa\x00"
	dir = folder(t, map[string]string{"notes": "[1] Smith et al.", "settings.json": "{\n \"a\": 1,\n \"b\": 2\n}",
		"a.txt": "text", "w.txt": utf16, "bom.txt": "\ufeffB"})
	c, err = search.ReadCorpus(filepath.Join(dir, "notes"), dir)
	require.NoError(t, err)
	require.Equal(t, []string{"\"notes\"\n[1] Smith et al.", "\"a\"\ntext", "\"bom\"\nB", "\"w\"\nPerú"}, c.Passages)
	for text, want := range map[string]string{
		`["a passage", "another"]`: "left out: reading " + dir + "/x: row 1: a string where an object is expected",
		"[]":                       "no passages: give rows",
		`[{"text":"a"},`:           "row 2: the list is cut off",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), []byte(text), 0o644))
		_, err = search.LoadBM25(filepath.Join(dir, "x"))
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "psgs.tsv"), []byte("id\ttext\ttitle\n1\ta\tb\n"), 0o644))
	c, err = search.ReadCorpus(filepath.Join(dir, "psgs.tsv"))
	require.NoError(t, err)
	require.Equal(t, []string{"\"b\"\na"}, c.Passages)
	_, err = search.LoadBM25(filepath.Join(dir, "settings.json"))
	require.ErrorContains(t, err, "row 1: unexpected end of JSON input")
}

// Documents in scripts without blanks are split, too: at the ends of sentences, or at any character if there are none.
// Nothing is added or lost.
func TestCorpusWithoutBlanks(t *testing.T) {
	sentence := "巴黎是法国的首都，也是法国最大的城市。」"
	for name, c := range map[string]struct {
		text     string
		passages int
		end      string
	}{
		"chinese": {strings.Repeat(sentence, 60), 5, "。」"},
		"thai":    {strings.Repeat("กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย", 40), 6, ""},
	} {
		path := filepath.Join(folder(t, map[string]string{name: c.text}), name)
		got, err := search.ReadCorpus(path)
		require.NoError(t, err)
		require.Len(t, got.Passages, c.passages, name)
		whole := ""
		for _, p := range got.Passages {
			body := strings.TrimPrefix(p, `"`+name+"\"\n")
			require.Less(t, len([]rune(body)), 500)
			require.True(t, strings.HasSuffix(body, c.end))
			whole += body
		}
		require.Equal(t, c.text, whole)
	}
	korean := strings.TrimSpace(strings.Repeat("서울은 대한민국의 수도이다. ", 50))
	got, err := search.ReadCorpus(filepath.Join(folder(t, map[string]string{"k.txt": korean}), "k.txt"))
	require.NoError(t, err)
	require.Len(t, got.Passages, 1, "150 words, as they are between blanks")
}

// Links to files and folders are followed, also if the corpus itself is a link. A cycle of links ends.
func TestCorpusLinks(t *testing.T) {
	dir := folder(t, map[string]string{"real/a.txt": "A", "real/sub/b.txt": "B", "other/c.txt": "C"})
	link := func(to, at string) {
		if err := os.Symlink(to, filepath.Join(dir, at)); err != nil {
			t.Skipf("this system makes no links here: %v", err)
		}
	}
	link("real", "corpus")
	link("../../other", "real/sub/other")
	link("..", "real/sub/up")
	link(".", "real/self")
	link("../other/c.txt", "real/d.txt")
	for _, root := range []string{"real", "corpus"} {
		c, err := search.ReadCorpus(filepath.Join(dir, root))
		require.NoError(t, err)
		require.Empty(t, c.Note())
		require.Equal(t, []string{"\"a\"\nA", "\"d\"\nC", "\"b\"\nB", "\"c\"\nC"}, c.Passages)
	}
	link("nowhere", "real/gone.txt")
	c, err := search.ReadCorpus(filepath.Join(dir, "corpus"))
	require.NoError(t, err)
	gone := filepath.Join(dir, "corpus/gone.txt")
	require.Equal(t, "1 bad row or file is left out: stat "+gone+": no such file or directory: 4 passages are used",
		c.Note())
}
