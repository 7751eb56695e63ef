package search_test

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Documents that other programs wrote: python-docx and Python's email package.
func TestCorpusOfOfficeFiles(t *testing.T) {
	c, err := search.ReadCorpus("testdata/documents/report.docx", "testdata/documents/letter.eml")
	require.NoError(t, err)
	require.Equal(t, []string{
		"\"report: Annual report\"\nThe year was good. Sales & service rose.",
		"\"report: Offices\"\nWe have offices in Łódź and Genève. City | People Oslo | 12 The end.",
		"\"Übergabe der Schlüssel\"\nFrom: Åsa Öberg <asa@example.org>; To: team@example.org; " +
			"Date: Mon, 02 Mar 2026 09:00:00 +0100 The key is with Mr. Müller. Call 4711 first.",
		"\"Lieferung für März\"\nDeliver by Friday.",
	}, c.Passages)
	require.Equal(t, search.Source{File: "testdata/documents/report.docx", Passage: 2}, c.Sources[1])
	require.Equal(t, "testdata/documents/letter.eml, passage 2", c.Sources[3].String())
	require.Equal(t, "indexed 2 files, 4 passages", c.Summary())
}

func TestCorpusOfBadOfficeFiles(t *testing.T) {
	archive := func(name, content string) string {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		f, err := z.Create(name)
		require.NoError(t, err)
		_, err = f.Write([]byte(content))
		require.NoError(t, err)
		require.NoError(t, z.Close())
		return b.String()
	}
	part := `<w:document xmlns:w="w"><w:body><w:p><w:r><w:t>text</w:t></w:r></w:p>`
	for name, c := range map[string]struct{ content, want string }{
		"cut.docx":    {archive("word/document.xml", part)[:40], "not a complete .docx file"},
		"other.docx":  {archive("xl/workbook.xml", part), "it has no word/document.xml"},
		"broken.docx": {archive("word/document.xml", part), "this .docx file is damaged"},
		"huge.docx":   {archive("word/document.xml", strings.Repeat(" ", 65<<20)), "more than 64 MiB of text"},
		"no.eml":      {"just words", "it has no header"},
		"latin.csv":   {"a,b\n\xe9,1\n", "it is not UTF-8 text"},
	} {
		path := filepath.Join(folder(t, map[string]string{name: c.content}), name)
		_, err := search.ReadCorpus(path)
		require.ErrorContains(t, err, c.want, name)
		require.ErrorContains(t, err, name)
	}
}

// Every row of a table is a passage, under the names of its columns.
func TestCorpusOfTables(t *testing.T) {
	dir := folder(t, map[string]string{
		"people.csv":  "\ufeffName,City, Note\r\nAda,\"London, UK\",\"said \"\"hi\"\"\"\r\n,,\r\nBob,,x,more\r\n",
		"preise.csv":  "Ware;Preis\nBrot;1,50\n",
		"psgs.tsv":    "id\ttext\ttitle\n1\tLima is the capital.\tPeru\n",
		"empty.csv":   "",
		"photo.png":   "\x89PNG",
		"config.json": "{\n \"a\": 1\n}",
	})
	c, err := search.ReadCorpus(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"\"people\"\nName: Ada; City: London, UK; Note: said \"hi\"",
		"\"people\"\nName: Bob; Note: x; more",
		"\"preise\"\nWare: Brot; Preis: 1,50", "\"Peru\"\nLima is the capital."}, c.Passages)
	require.Equal(t, search.Source{File: filepath.Join(dir, "people.csv"), Passage: 3}, c.Sources[1])
	require.Equal(t, "indexed 3 files, 4 passages, skipped config.json (it holds no rows), photo.png (this kind of "+
		"file is not read)", c.Summary())
	require.Empty(t, c.Note())
}

// A reader that keeps passages cuts a document again only when its content or its name has changed.
func TestReaderKeeps(t *testing.T) {
	dir, keep := folder(t, map[string]string{"a.md": "# One\nText.", "b.txt": "Other."}),
		filepath.Join(t.TempDir(), "k")
	read := func(kept int) []string {
		t.Helper()
		c, err := search.Reader{Keep: keep}.Read(dir)
		require.NoError(t, err)
		require.NoError(t, c.KeepError)
		require.Equal(t, kept, c.Kept)
		return c.Passages
	}
	first := read(0)
	require.Equal(t, first, read(2))
	entries, err := filepath.Glob(filepath.Join(keep, "*.json"))
	require.NoError(t, err)
	require.Len(t, entries, 2)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "b.txt"), []byte("Changed."), 0o644))
	require.Equal(t, []string{"\"a: One\"\nText.", "\"b\"\nChanged."}, read(1))
	require.NoError(t, os.Rename(filepath.Join(dir, "b.txt"), filepath.Join(dir, "c.txt")))
	require.Equal(t, []string{"\"a: One\"\nText.", "\"c\"\nChanged."}, read(1), "the title is another")

	for _, name := range entries { // damaged, and old
		require.NoError(t, os.WriteFile(name, []byte("{"), 0o644))
		require.NoError(t, os.Chtimes(name, time.Time{}, time.Now().Add(-100*24*time.Hour)))
	}
	read(1)
	left, err := filepath.Glob(filepath.Join(keep, "*.json"))
	require.NoError(t, err)
	require.Len(t, left, 3, "what nobody used was removed; a.md was kept again")

	c, err := search.Reader{Keep: filepath.Join(dir, "a.md")}.Read(dir)
	require.NoError(t, err)
	require.ErrorContains(t, c.KeepError, "keeping the text of documents: ")
	require.Len(t, c.Passages, 2)
}
