//go:build nopdf

package search

import "errors"

// pdfReader refuses PDF documents: a program built with -tags nopdf is 13 MB smaller.
type pdfReader struct{}

func (*pdfReader) text([]byte) ([]string, error) {
	return nil, errors.New("this program was built without a reader of PDF (-tags nopdf): convert it to text, " +
		"or use a program built without that tag")
}

func (*pdfReader) close() {}
