package search

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/data"
)

// Corpus are the passages of files and folders, and what had to be left out of them.
type Corpus struct {
	// Passages in the order of the files.
	Passages []string
	// Bad are the rows and files that could not be used, named, with the reason; the first few of BadCount.
	Bad      []string
	BadCount int

	pdf pdfReader
}

// maxNamed is how many bad rows are named.
const maxNamed = 5

// ReadCorpus reads passages. A path is a file of rows in Search-R1's format, {"id", "contents": "\"Title\"\ntext"} or {"title", "text"}, as
// .jsonl, .jsonl.gz or .parquet; or a document (.txt, .md, .html, .pdf, any other name is taken as plain text), which is cut into passages; or
// a folder of such files. Bad rows, and bad files in folders, are left out and named, unless they outnumber the good: then something else
// is wrong, and they are the error.
func ReadCorpus(paths ...string) (*Corpus, error) {
	c := &Corpus{}
	defer c.pdf.close()
	names := strings.Join(paths, ", ")
	for _, p := range paths {
		if err := c.read(p); err != nil {
			return nil, fmt.Errorf("indexing the corpus: %w", err)
		}
	}
	switch {
	case c.BadCount > len(c.Passages):
		return nil, fmt.Errorf("indexing the corpus %s: %s", names, c.left())
	case len(c.Passages) == 0:
		return nil, fmt.Errorf("indexing the corpus %s: no passages: give rows with a column contents, text files, or a folder with .jsonl, .txt, .md, .html or .pdf files", names)
	}
	return c, nil
}

// LoadBM25 indexes a corpus without a fault.
func LoadBM25(path string) (*BM25, error) {
	c, err := ReadCorpus(path)
	if err == nil && c.BadCount > 0 {
		err = fmt.Errorf("indexing the corpus %s: %s", path, c.left())
	}
	if err != nil {
		return nil, err
	}
	return NewBM25(c.Passages), nil
}

// Note tells what was left out, "" if nothing was.
func (c *Corpus) Note() string {
	if c.BadCount == 0 {
		return ""
	}
	return fmt.Sprintf("%s: %d passages are used", c.left(), len(c.Passages))
}

// Digest tells corpora apart by their passages.
func (c *Corpus) Digest() string {
	h := sha256.New()
	for _, p := range c.Passages {
		fmt.Fprintf(h, "%d ", len(p))
		io.WriteString(h, p)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// left names the bad rows.
func (c *Corpus) left() string {
	s := strings.Join(c.Bad, "; ")
	if c.BadCount == 1 {
		return "1 bad row or file is left out: " + s
	}
	if more := c.BadCount - len(c.Bad); more > 0 {
		s += fmt.Sprintf("; and %d more", more)
	}
	return fmt.Sprintf("%d bad rows or files are left out: %s", c.BadCount, s)
}

func (c *Corpus) bad(format string, args ...any) {
	if c.BadCount++; len(c.Bad) < maxNamed {
		c.Bad = append(c.Bad, fmt.Sprintf(format, args...))
	}
}

// kinds of files, by the ends of their names.
var rowFiles, documentFiles = []string{".jsonl", ".jsonl.gz", ".parquet"}, []string{".txt", ".md", ".markdown", ".html", ".htm", ".pdf"}

func hasSuffix(path string, ends []string) bool {
	for _, e := range ends {
		if strings.HasSuffix(strings.ToLower(path), e) {
			return true
		}
	}
	return false
}

// read takes a file, or the files of a folder in alphabetical order.
func (c *Corpus) read(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		if hasSuffix(path, documentFiles) {
			return c.document(path)
		}
		return c.file(path)
	}
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		switch hidden := p != path && strings.HasPrefix(d.Name(), "."); {
		case err != nil:
			return err
		case d.IsDir() && hidden:
			return filepath.SkipDir
		case d.IsDir() || hidden:
		case hasSuffix(p, rowFiles):
			if err := c.rows(p); err != nil {
				c.bad("%v", err)
			}
		case hasSuffix(p, documentFiles):
			if err := c.document(p); err != nil {
				c.bad("%v", err)
			}
		}
		return nil
	})
}

// file takes a file without a telling name: rows if it begins like them.
func (c *Corpus) file(path string) error {
	if hasSuffix(path, rowFiles) || beginsWithRow(path) {
		return c.rows(path)
	}
	return c.document(path)
}

func beginsWithRow(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 512)
	n, _ := f.Read(head)
	s := strings.TrimSpace(strings.TrimPrefix(string(head[:n]), "\ufeff"))
	return strings.HasPrefix(s, "{") || strings.HasPrefix(s, "PAR1") || strings.HasPrefix(s, "\x1f\x8b")
}

// rows takes a file of passages. The error is one of the file itself.
func (c *Corpus) rows(path string) error {
	for row, err := range data.Rows(path) {
		var p string
		if err == nil {
			if p, err = passage(row); err != nil {
				err = fmt.Errorf("%s: row %d: %w", path, row.N, err)
			}
		} else if row.N == 0 {
			return err
		}
		if err != nil {
			c.bad("%v", err)
			continue
		}
		c.Passages = append(c.Passages, p)
	}
	return nil
}

func passage(row data.Row) (string, error) {
	var contents, title, text string
	if ok, err := row.Get("contents", &contents); ok || err != nil {
		return contents, err
	}
	if _, err := row.Get("title", &title); err != nil {
		return "", err
	}
	if ok, err := row.Get("text", &text); err != nil {
		return "", err
	} else if !ok {
		return "", errors.New("no column contents (or text): the columns are " + strings.Join(row.Names(), ", "))
	}
	if title != "" {
		text = `"` + title + "\"\n" + text
	}
	return text, nil
}
