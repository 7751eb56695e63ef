package pdfium

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// One library reads many documents, one after the other: an error in one changes nothing for the next.
func TestPages(t *testing.T) {
	l, err := Open()
	require.NoError(t, err)
	defer l.Close()
	read := func(name string) ([]string, error) {
		document, err := os.ReadFile("../../rl/search/testdata/pdf/" + name + ".pdf")
		require.NoError(t, err)
		var pages []string
		err = l.Pages(context.Background(), document, func(text string) error {
			pages = append(pages, text)
			return nil
		})
		return pages, err
	}
	_, err = read("locked")
	require.ErrorIs(t, err, ErrPassword)
	require.ErrorIs(t, l.Pages(context.Background(), []byte("%PDF-1.7"), nil), ErrDamaged)
	pages, err := read("pages")
	require.NoError(t, err)
	require.Len(t, pages, 2)
	require.True(t, strings.HasPrefix(pages[1], "Paris is the capital of France."), pages[1])
	again, err := read("pages")
	require.NoError(t, err)
	require.Equal(t, pages, again)

	// the caller's error ends the reading
	document, err := os.ReadFile("../../rl/search/testdata/pdf/pages.pdf")
	require.NoError(t, err)
	enough, calls := errors.New("enough"), 0
	err = l.Pages(context.Background(), document, func(string) error { calls++; return enough })
	require.ErrorIs(t, err, enough)
	require.Equal(t, 1, calls)
}
