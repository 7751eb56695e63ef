//go:build !nopdf

package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	pdfium "github.com/klippa-app/go-pdfium/errors"
	"github.com/klippa-app/go-pdfium/requests"
	"github.com/klippa-app/go-pdfium/webassembly"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

const (
	pdfTime  = time.Minute // time limit for one document
	pdfPages = 512 << 4    // memory limit for one document, in WebAssembly pages of 64 KiB
)

// pdfReader extracts the text of PDF documents with PDFium, which runs as WebAssembly. Each document gets a new
// instance without access to files and with limits of memory and time, so that no document can affect another. The
// first document compiles PDFium (a second or two); the result is kept until close.
type pdfReader struct {
	limit    time.Duration // for one document; 0: pdfTime
	compiled wazero.CompilationCache
}

// text gives the text of each page. Its errors do not name the file.
func (r *pdfReader) text(document []byte) (pages []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading PDF: %v", p)
		}
	}()
	limit := cmp.Or(r.limit, pdfTime)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pages, err = r.read(ctx, document, func() { time.AfterFunc(limit, cancel) })
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("reading this PDF takes longer than %v: convert it to text", limit)
	case errors.Is(err, pdfium.ErrPassword), errors.Is(err, pdfium.ErrSecurity):
		return nil, errors.New("this PDF is protected by a password: save it without one")
	case errors.Is(err, pdfium.ErrFormat), errors.Is(err, pdfium.ErrFile):
		return nil, errors.New("this is not a complete PDF file: fetch it again")
	case err != nil:
		return nil, fmt.Errorf("reading PDF: %w", err)
	case strings.TrimSpace(strings.Join(pages, "")) == "":
		return nil, fmt.Errorf("this PDF has %d pages without text: run text recognition over it", len(pages))
	}
	return pages, nil
}

// read calls start once PDFium is compiled: the time limit begins there.
func (r *pdfReader) read(ctx context.Context, document []byte, start func()) ([]string, error) {
	if r.compiled == nil {
		r.compiled = wazero.NewCompilationCache()
	}
	pool, err := webassembly.Init(webassembly.Config{Context: ctx, MaxIdle: 1, MaxTotal: 1, Stdout: io.Discard,
		Stderr: io.Discard, FSConfig: wazero.NewFSConfig(),
		RuntimeConfig: wazero.NewRuntimeConfig().WithCoreFeatures(
			api.CoreFeaturesV2 | experimental.CoreFeaturesExceptionHandling).
			WithCompilationCache(r.compiled).WithCloseOnContextDone(true).WithMemoryLimitPages(pdfPages)})
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	in, err := pool.GetInstanceWithContext(ctx)
	if err != nil {
		return nil, err
	}
	start()
	d, err := in.OpenDocument(&requests.OpenDocument{File: &document})
	if err != nil {
		return nil, err
	}
	count, err := in.FPDF_GetPageCount(&requests.FPDF_GetPageCount{Document: d.Document})
	if err != nil {
		return nil, err
	}
	var pages []string
	size := 0
	for i := range count.PageCount {
		page, err := in.GetPageText(
			&requests.GetPageText{Page: requests.Page{ByIndex: &requests.PageByIndex{Document: d.Document, Index: i}}})
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", i+1, err)
		}
		if size += len(page.Text); size > maxDocument {
			return nil, fmt.Errorf("it holds more than %d MiB of text: split it into smaller files", maxDocument>>20)
		}
		// PDFium marks a word that is hyphenated at the end of a line
		pages = append(pages, strings.ReplaceAll(strings.ToValidUTF8(page.Text, " "), "\x02", ""))
	}
	return pages, nil
}

func (r *pdfReader) close() {
	if r.compiled != nil {
		r.compiled.Close(context.Background())
	}
}
