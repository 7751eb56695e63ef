//go:build !nopdf

package search

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// PDF documents may stand among other documents. Those that cannot be read are counted and listed.
func TestCorpusOfPDF(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, data []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	for _, name := range []string{"pages", "unicode", "locked", "scan"} {
		data, err := os.ReadFile("testdata/pdf/" + name + ".pdf")
		require.NoError(t, err)
		put(name+".pdf", data)
		if name == "pages" {
			put("cut.pdf", data[:len(data)/2])
			put("named otherwise.txt", data)
		}
	}
	put("empty.pdf", nil)
	put("plain.txt", []byte("Plain text."))
	c := &Corpus{}
	defer c.pdf.close()
	require.NoError(t, c.read(dir))
	pages := "\nOslo and its harbour " + strings.Repeat("Oslo lies in Norway. ", 30)
	paris := "\"\nParis is the capital of France."
	require.Equal(t, []string{
		"\"named otherwise\"" + strings.TrimRight(pages, " "), "\"named otherwise" + paris,
		"\"pages\"" + strings.TrimRight(pages, " "), "\"pages" + paris,
		"\"plain\"\nPlain text.",
		"\"unicode\"\nŁódź, Größe und naïve Москва: the Unicode text of page one. Second page: the river Vistula.",
	}, c.Passages)
	require.Equal(t, []string{
		dir + "/cut.pdf: this is not a complete PDF file: fetch it again",
		dir + "/empty.pdf: this is not a complete PDF file: fetch it again",
		dir + "/locked.pdf: this PDF is protected by a password: save it without one",
		dir + "/scan.pdf: this PDF has 1 pages without text: run text recognition over it",
	}, c.Bad)

	// Reading a document that takes too long is stopped, and the next document is read.
	text := strings.Repeat("(a) Tj 1 1 Td ", 2<<20)
	slow := fmt.Sprintf(
		"%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"+
			"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 "+
			"R/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>endobj\n"+
			"4 0 obj<</Length %d>>stream\nBT /F 9 Tf %s ET\nendstream endobj\ntrailer<</Root 1 0 R>>\n%%%%EOF",
		len(text)+14, text)
	c.pdf.limit = 300 * time.Millisecond
	began := time.Now()
	_, err := c.pdf.text([]byte(slow))
	require.EqualError(t, err, "reading this PDF takes longer than 300ms: convert it to text")
	require.Less(t, time.Since(began), 5*time.Second)
	c.pdf.limit = 0
	require.NoError(t, c.document(filepath.Join(dir, "pages.pdf")))
}
