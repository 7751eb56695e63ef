package search

import (
	"errors"
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/data"
)

// LoadBM25 indexes a corpus file in Search-R1's format: rows {"id", "contents": "\"Title\"\ntext"}, or {"title", "text"}; .jsonl,
// .jsonl.gz or .parquet.
func LoadBM25(path string) (*BM25, error) {
	var passages []string
	for row, err := range data.Rows(path) {
		if err != nil {
			return nil, fmt.Errorf("indexing the corpus: %w", err)
		}
		p, err := passage(row)
		if err != nil {
			return nil, fmt.Errorf("indexing the corpus %s: row %d: %w", path, row.N, err)
		}
		passages = append(passages, p)
	}
	if len(passages) == 0 {
		return nil, fmt.Errorf("indexing the corpus %s: no passages: give rows with a column contents", path)
	}
	return NewBM25(passages), nil
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
