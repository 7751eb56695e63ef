//go:build nopdf

package search

import "errors"

// pdfReader returns an error for every PDF document: the program was built with -tags nopdf, which makes it 5 MB
// smaller.
type pdfReader struct{}

func (*pdfReader) text([]byte) ([]string, error) {
	return nil, errors.New("this program was built without a reader of PDF (-tags nopdf): convert it to text, " +
		"or use a program built without that tag")
}

func (*pdfReader) close() {}
