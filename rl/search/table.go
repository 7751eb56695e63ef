package search

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/rl/data"
)

// table adds the rows of a file of comma- or tab-separated values, each as a passage. Its first row names the columns.
// With a column contents or text a row is a passage as in JSON lines (DPR's and Search-R1's corpora have such tables);
// otherwise its passage is "column: value; column: value" under the name of the file.
func (c *Corpus) table(path string) error {
	content, err := readLimited(path)
	if err != nil {
		return err
	}
	before := len(c.Passages)
	if err := c.tableRows(path, content); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(c.Passages) > before {
		c.Files++
	}
	return nil
}

func (c *Corpus) tableRows(path string, content []byte) error {
	if !utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0 {
		return errors.New("it is not UTF-8 text")
	}
	r := csv.NewReader(bytes.NewReader(content))
	r.Comma, r.LazyQuotes, r.FieldsPerRecord, r.ReuseRecord = separator(content), true, -1, true
	first, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	columns := make([]string, len(first))
	for i, name := range first {
		columns[i] = strings.TrimSpace(strings.Clone(name))
	}
	title := strings.TrimSuffix(filepath.Base(path), ".gz")
	title = strings.TrimSuffix(title, filepath.Ext(title))
	for n := 1; ; n++ {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			c.bad("%s: row %d: %v", path, n, err)
			continue
		}
		if p := tableRow(title, columns, record); p != "" {
			c.Passages, c.Sources = append(c.Passages, p), append(c.Sources, Source{path, n})
		}
	}
}

// separator is the character among comma, semicolon and tab that the first line has most of; programs of countries
// with a decimal comma write semicolons.
func separator(content []byte) rune {
	line, _, _ := bytes.Cut(content, []byte("\n"))
	best, most := ',', 0
	for _, r := range ",;\t" {
		if n := bytes.Count(line, []byte(string(r))); n > most {
			best, most = r, n
		}
	}
	return best
}

// tableRow is the passage of a row, "" if the row is empty.
func tableRow(title string, columns, values []string) string {
	row := data.Row{Columns: map[string]json.RawMessage{}}
	var parts []string
	for i, value := range values {
		if value = strings.TrimSpace(value); value == "" {
			continue
		}
		if i >= len(columns) || columns[i] == "" {
			parts = append(parts, value)
			continue
		}
		parts = append(parts, columns[i]+": "+value)
		row.Columns[strings.ToLower(columns[i])], _ = json.Marshal(value)
	}
	if row.Columns["contents"] != nil || row.Columns["text"] != nil {
		if p, err := passage(row); err == nil {
			return p
		}
	}
	if parts == nil {
		return ""
	}
	return `"` + title + "\"\n" + strings.Join(parts, "; ")
}
