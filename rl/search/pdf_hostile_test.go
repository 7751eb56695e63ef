//go:build !nopdf

package search

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A hostile or damaged document gives one error, and the next document is read.
func TestHostilePDF(t *testing.T) {
	r := &pdfReader{}
	defer r.close()
	good, err := os.ReadFile("testdata/pdf/pages.pdf")
	require.NoError(t, err)
	of := func(contents, filter string) string {
		return fmt.Sprintf("%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"+
			"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]"+
			"/Contents 4 0 R>>endobj\n4 0 obj<</Length %d%s>>stream\n%s\nendstream endobj\ntrailer<</Root 1 0 "+
			"R>>\n%%%%EOF",
			len(contents), filter, contents)
	}
	nested := strings.Repeat("[", 1<<20)
	for name, document := range map[string]string{
		"nothing":      "",
		"header alone": "%PDF-1.7",
		"cut off":      string(good[:len(good)/2]),
		"pages in pages": "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n" +
			"2 0 obj<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
		"nested arrays": of("BT /F 9 Tf "+nested, ""),
		"nested object": "%PDF-1.4\n1 0 obj" + nested,
		"bad filter":    of("xxxx", "/Filter/FlateDecode"),
	} {
		_, err := r.text([]byte(document))
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "\n", name)
	}
	pages, err := r.text(good)
	require.NoError(t, err)
	require.Len(t, pages, 2)
}
