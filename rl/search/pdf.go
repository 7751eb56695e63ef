//go:build !nopdf

package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/internal/pdfium"
)

const pdfTime = time.Minute // time limit for one document

// pdfReader extracts the text of PDF documents. The first document compiles PDFium (a second or two); the result is
// kept until close.
type pdfReader struct {
	limit   time.Duration // for one document; 0: pdfTime
	library *pdfium.Library
}

// text gives the text of each page. Its errors do not name the file.
func (r *pdfReader) text(document []byte) (pages []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading PDF: %v", p)
		}
	}()
	if r.library == nil {
		if r.library, err = pdfium.Open(); err != nil {
			return nil, fmt.Errorf("reading PDF: %w", err)
		}
	}
	limit := cmp.Or(r.limit, pdfTime)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	size := 0
	err = r.library.Pages(ctx, document, func(text string) error {
		if size += len(text); size > maxDocument {
			return fmt.Errorf("it holds more than %d MiB of text: split it into smaller files", maxDocument>>20)
		}
		pages = append(pages, strings.ReplaceAll(strings.ToValidUTF8(text, " "), "\x02", "")) // joins hyphenated words
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("reading this PDF takes longer than %v: convert it to text", limit)
	case errors.Is(err, pdfium.ErrPassword):
		return nil, errors.New("this PDF is protected by a password: save it without one")
	case errors.Is(err, pdfium.ErrDamaged):
		return nil, errors.New("this is not a complete PDF file: fetch it again")
	case err != nil:
		return nil, fmt.Errorf("reading PDF: %w", err)
	case strings.TrimSpace(strings.Join(pages, "")) == "":
		return nil, fmt.Errorf("this PDF has %d pages without text: run text recognition over it", len(pages))
	}
	return pages, nil
}

func (r *pdfReader) close() {
	if r.library != nil {
		r.library.Close()
	}
}
