// Package data reads questions and other training rows from .jsonl, .jsonl.gz and .parquet files and orders them
// deterministically. Every error about a row is one line that names the file and the row.
package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// Row is one record of a file.
type Row struct {
	// N counts rows from 1; in JSON lines it is the line number, in a JSON list the number of the element.
	N int
	// Columns holds the raw JSON of every column, by name.
	Columns map[string]json.RawMessage
}

// Rows yields the rows of a file in order. The file's name or its first bytes say that it is parquet; every other file
// is JSON (see Lines). "-" is standard input, and org/name/file a file of a data
// set in the Hugging Face cache (see File). A row that cannot be read yields a Row with its number, and an error that
// names it. The following rows of a JSON file are still read, unless reading the file itself fails.
func Rows(path string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if path == "-" {
			Lines("standard input", os.Stdin)(yield)
			return
		}
		path, err := File(path)
		var f *os.File
		if err == nil {
			f, err = os.Open(path)
		}
		if err != nil {
			yield(Row{}, fmt.Errorf("reading data: %w", err))
			return
		}
		defer f.Close()
		magic := make([]byte, 4)
		n, _ := f.ReadAt(magic, 0)
		if string(magic[:n]) == "PAR1" || strings.HasSuffix(path, ".parquet") {
			parquetRows(path, f)(yield)
			return
		}
		Lines(path, f)(yield)
	}
}

// AllRows yields the rows of several files in order.
func AllRows(files []string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for _, file := range files {
			for row, err := range Rows(file) {
				if !yield(row, err) {
					return
				}
			}
		}
	}
}

// Names lists a row's columns in alphabetical order.
func (r Row) Names() []string { return slices.Sorted(maps.Keys(r.Columns)) }

// Get decodes a column into v. It returns false if the column is missing or null.
func (r Row) Get(column string, v any) (bool, error) {
	raw, ok := r.Columns[column]
	if !ok || string(raw) == "null" {
		return false, nil
	}
	if err := pyjson.Unmarshal(raw, v); err != nil {
		return false, fmt.Errorf("column %s: %w", column, err)
	}
	if ids, is := v.(*[]int32); is { // package json reads null as 0
		var each []*int32
		if json.Unmarshal(raw, &each) == nil && slices.Contains(each, nil) {
			at := slices.Index(each, nil)
			return false, fmt.Errorf("column %s: null at place %d of %d: give a number", column, at, len(*ids))
		}
	}
	return true, nil
}

// Text is the text of a column that holds a string, a number or a boolean; "" if the column is missing or null.
func (r Row) Text(column string) (string, error) {
	s, err := scalar(r.Columns[column])
	if err != nil {
		return "", fmt.Errorf("column %s: %w", column, err)
	}
	return s, nil
}

// scalar is the text of a JSON string, number or boolean; null gives "".
func scalar(raw json.RawMessage) (string, error) {
	raw = json.RawMessage(strings.TrimSpace(string(raw)))
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "", nil
	case raw[0] == '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case raw[0] == '{' || raw[0] == '[':
		return "", errors.New("expected text, found an object or a list")
	}
	return string(raw), nil
}
