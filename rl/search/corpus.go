package search

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/data"
)

// Corpus holds the passages of files and folders, and lists of what could not be used.
type Corpus struct {
	// Passages are texts, in the order of the files. Sources says where each stands.
	Passages []string
	Sources  []Source
	// Files is the number of files with passages. Kept is the number of those whose text came from Reader.Keep.
	Files, Kept int
	// KeepError says why Reader.Keep could not be written; the corpus is complete all the same.
	KeepError error
	// Bad describes the first few rows and files that could not be used, each with the reason. BadCount is the number
	// of all of them.
	Bad      []string
	BadCount int
	// Skipped describes the first few files of folders that are of no kind that is read; SkippedCount is the number of
	// all of them.
	Skipped      []string
	SkippedCount int

	reader Reader
	pdf    pdfReader
}

// Source is the place of a passage: the file, and the number of the passage in it, from 1. Of a file of rows that is
// the row.
type Source struct {
	File    string `json:"file"`
	Passage int    `json:"passage"`
}

// String is "FILE, passage N".
func (s Source) String() string { return fmt.Sprintf("%s, passage %d", s.File, s.Passage) }

// maxNamed is the largest length of Corpus.Bad.
const maxNamed = 5

// ReadCorpus reads passages. A path is a file of rows in Search-R1's format, {"id", "contents": "\"Title\"\ntext"} or
// {"title", "text"}, as lines or one list of JSON (.jsonl, .json, gzipped or not) or as .parquet; or a table (.csv,
// .tsv), each row of which is a passage; or a document (.txt, .md, .html, .pdf, .docx, .eml, any other name is taken as
// plain text), which is cut into passages; or a folder of such files. Bad rows, and bad files in folders, are left out
// and listed in Corpus.Bad. It is an error if there are more of them than of good passages: then the format is probably
// another one. Files of a folder that are of another kind are left out and listed in Corpus.Skipped.
func ReadCorpus(paths ...string) (*Corpus, error) { return Reader{}.Read(paths...) }

// Read is ReadCorpus with the settings of the reader.
func (r Reader) Read(paths ...string) (*Corpus, error) {
	c := &Corpus{reader: r}
	defer c.pdf.close()
	r.prune()
	names := strings.Join(paths, ", ")
	for _, p := range paths {
		if err := c.read(p); err != nil {
			return nil, fmt.Errorf("indexing the corpus: %w", err)
		}
	}
	switch {
	case c.BadCount > len(c.Passages):
		return nil, fmt.Errorf("indexing the corpus %s: %s", names, c.leftOut())
	case len(c.Passages) == 0:
		return nil, fmt.Errorf("indexing the corpus %s: no passages: give rows with a column contents, text files, "+
			"or a folder with .jsonl, .csv, .txt, .md, .html, .pdf, .docx or .eml files", names)
	}
	return c, nil
}

// LoadBM25 indexes a corpus in which every row and file must be usable.
func LoadBM25(path string) (*BM25, error) {
	c, err := ReadCorpus(path)
	if err == nil && c.BadCount > 0 {
		err = fmt.Errorf("indexing the corpus %s: %s", path, c.leftOut())
	}
	if err != nil {
		return nil, err
	}
	return NewBM25(c.Passages), nil
}

// Note describes what was left out, "" if nothing was.
func (c *Corpus) Note() string {
	if c.BadCount == 0 {
		return ""
	}
	return fmt.Sprintf("%s: %d passages are used", c.leftOut(), len(c.Passages))
}

// Summary describes what was read and what was not: "indexed 3 files, 5 passages, skipped photo.png (...)".
func (c *Corpus) Summary() string {
	count := func(n int, one, many string) string {
		if n == 1 {
			return "1 " + one
		}
		return fmt.Sprintf("%d %s", n, many)
	}
	s := "indexed " + count(c.Files, "file", "files") + ", " + count(len(c.Passages), "passage", "passages")
	if c.Kept > 0 {
		s += fmt.Sprintf(" (%s unchanged)", count(c.Kept, "file is", "files are"))
	}
	if c.SkippedCount > 0 {
		s += ", skipped " + strings.Join(c.Skipped, ", ")
		if more := c.SkippedCount - len(c.Skipped); more > 0 {
			s += fmt.Sprintf(" and %d more", more)
		}
	}
	return s
}

// Digest is a hash of the passages: equal corpora have equal digests.
func (c *Corpus) Digest() string {
	h := sha256.New()
	for _, p := range c.Passages {
		fmt.Fprintf(h, "%d ", len(p))
		io.WriteString(h, p)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// leftOut describes the bad rows and files.
func (c *Corpus) leftOut() string {
	s := strings.Join(c.Bad, "; ")
	if c.BadCount == 1 {
		return "1 bad row or file is left out: " + s
	}
	if more := c.BadCount - len(c.Bad); more > 0 {
		s += fmt.Sprintf("; and %d more", more)
	}
	return fmt.Sprintf("%d bad rows or files are left out: %s", c.BadCount, s)
}

// skip notes a file of a folder that is of no kind that is read.
func (c *Corpus) skip(path, why string) {
	if c.SkippedCount++; len(c.Skipped) < maxNamed {
		c.Skipped = append(c.Skipped, filepath.Base(path)+" ("+why+")")
	}
}

// add adds passages of a file, numbered from 1.
func (c *Corpus) add(path string, passages []string) {
	for i, p := range passages {
		c.Passages = append(c.Passages, p)
		c.Sources = append(c.Sources, Source{path, i + 1})
	}
	if len(passages) > 0 {
		c.Files++
	}
}

func (c *Corpus) bad(format string, args ...any) {
	if c.BadCount++; len(c.Bad) < maxNamed {
		c.Bad = append(c.Bad, fmt.Sprintf(format, args...))
	}
}

// Kinds of files by the ends of their names. A file of jsonFiles may hold rows or other JSON.
var (
	rowFiles      = []string{".jsonl", ".jsonl.gz", ".parquet"}
	jsonFiles     = []string{".json", ".json.gz"}
	tableFiles    = []string{".csv", ".tsv", ".csv.gz", ".tsv.gz"}
	documentFiles = []string{".txt", ".md", ".markdown", ".html", ".htm", ".pdf", ".docx", ".eml"}
)

func hasSuffix(path string, ends []string) bool {
	for _, e := range ends {
		if strings.HasSuffix(strings.ToLower(path), e) {
			return true
		}
	}
	return false
}

// read adds the passages of a file or a folder.
func (c *Corpus) read(path string) error {
	path, err := data.File(path)
	if err != nil {
		return err
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case st.IsDir():
		return c.folder(path)
	case hasSuffix(path, documentFiles):
		return c.document(path)
	case hasSuffix(path, rowFiles), hasSuffix(path, jsonFiles):
		return c.rows(path)
	case hasSuffix(path, tableFiles):
		return c.table(path)
	case !st.Mode().IsRegular(): // a pipe can be read only once, so its kind cannot be detected
		return c.rows(path)
	case holdsRows(path, false):
		return c.rows(path)
	}
	return c.document(path)
}

// folder adds the passages of all files under a folder.
func (c *Corpus) folder(path string) error {
	return data.Walk(path, func(p string, err error) error {
		switch {
		case p == path && err != nil:
			return err
		case err != nil:
		case hasSuffix(p, rowFiles), hasSuffix(p, jsonFiles) && holdsRows(p, true):
			err = c.rows(p)
		case hasSuffix(p, tableFiles):
			err = c.table(p)
		case hasSuffix(p, documentFiles):
			err = c.document(p)
		case hasSuffix(p, jsonFiles):
			c.skip(p, "it holds no rows")
		default:
			c.skip(p, "this kind of file is not read")
		}
		if err != nil {
			c.bad("%v", err)
		}
		return nil
	})
}

// holdsRows says whether a file begins like parquet, a JSON list of objects or strings, or a JSON object. Where strict
// is true the object must be complete on its first line, as in JSON lines.
func holdsRows(path string, strict bool) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	r, err := data.Text(f)
	if err != nil {
		return false
	}
	head, _ := r.Peek(1 << 10)
	head = bytes.TrimSpace(head)
	if list, ok := bytes.CutPrefix(head, []byte("[")); ok {
		list = bytes.TrimSpace(list)
		return len(list) > 0 && bytes.IndexByte([]byte(`{"]`), list[0]) >= 0
	}
	line, _, more := bytes.Cut(head, []byte("\n"))
	object := bytes.HasPrefix(head, []byte("{")) && (!strict || !more || json.Valid(line))
	return object || bytes.HasPrefix(head, []byte("PAR1"))
}

// rows adds the passages of a file with one passage a row. An error means that the file cannot be read at all.
func (c *Corpus) rows(path string) error {
	before := len(c.Passages)
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
		c.Passages, c.Sources = append(c.Passages, p), append(c.Sources, Source{path, row.N})
	}
	if len(c.Passages) > before {
		c.Files++
	}
	return nil
}

// passage is the text of a row. A title may be a number, as in tables.
func passage(row data.Row) (string, error) {
	has := func(column string) bool { raw, ok := row.Columns[column]; return ok && string(raw) != "null" }
	if has("contents") {
		return row.Text("contents")
	}
	title, err := row.Text("title")
	if err != nil {
		return "", err
	}
	text, err := row.Text("text")
	switch _, empty := row.Columns["text"]; {
	case err != nil:
		return "", err
	case empty && !has("text"):
		return "", errors.New("column text is null")
	case !has("text"):
		return "", errors.New("no column contents (or text): the columns are " + strings.Join(row.Names(), ", "))
	}
	if title != "" {
		text = `"` + title + "\"\n" + text
	}
	return text, nil
}
