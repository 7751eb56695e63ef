// Package data reads questions and other training rows from .jsonl, .jsonl.gz and .parquet files and orders them
// deterministically. Whatever is wrong with a row is one line that names the file and the row.
package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
)

// Row is one record of a file.
type Row struct {
	// N counts rows from 1; in JSON lines it is the line number.
	N int
	// Columns holds every column as JSON.
	Columns map[string]json.RawMessage
}

// maxLine bounds one line of JSON, so that a file that is no JSON lines at all fails instead of filling memory.
const maxLine = 64 << 20

// Rows yields the rows of a file in order: parquet by its name or first bytes, else JSON lines, gzipped or not; "-" is standard
// input. A row that cannot be read yields a Row with its number and an error that names it; JSON lines go on after it, unless the
// file itself fails.
func Rows(path string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if path == "-" {
			Lines("standard input", os.Stdin)(yield)
			return
		}
		f, err := os.Open(path)
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

// Lines yields the rows of JSON lines, gzipped or not. Blank lines are skipped, a byte order mark is ignored. name appears in errors.
func Lines(name string, r io.Reader) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		br := bufio.NewReaderSize(r, 1<<16)
		if head, _ := br.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
			z, err := gzip.NewReader(br)
			if err != nil {
				yield(Row{}, fmt.Errorf("reading %s: %w: the file is damaged, fetch it again", name, err))
				return
			}
			defer z.Close()
			br = bufio.NewReaderSize(z, 1<<16)
		}
		for n := 1; ; n++ {
			line, err := readLine(br)
			if err != nil && err != io.EOF {
				yield(Row{N: n}, fmt.Errorf("reading %s: row %d: %w", name, n, err))
				return
			}
			if n == 1 {
				line = bytes.TrimPrefix(line, []byte("\ufeff"))
			}
			if line = bytes.TrimSpace(line); len(line) > 0 && !yield(parseLine(name, n, line)) {
				return
			}
			if err == io.EOF {
				return
			}
		}
	}
}

func readLine(br *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, fmt.Errorf("longer than %d MiB: is this JSON lines?", maxLine>>20)
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

func parseLine(name string, n int, line []byte) (Row, error) {
	row := Row{N: n}
	if err := json.Unmarshal(line, &row.Columns); err != nil {
		return Row{N: n}, fmt.Errorf("reading %s: row %d: %w: each line must be one JSON object", name, n, err)
	}
	if row.Columns == nil {
		return Row{N: n}, fmt.Errorf("reading %s: row %d: null: each line must be one JSON object", name, n)
	}
	return row, nil
}

// Names lists a row's columns in alphabetical order.
func (r Row) Names() []string { return slices.Sorted(maps.Keys(r.Columns)) }

// Get decodes a column into v; false when the column is absent or null.
func (r Row) Get(column string, v any) (bool, error) {
	raw, ok := r.Columns[column]
	if !ok || string(raw) == "null" {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		var t *json.UnmarshalTypeError
		if errors.As(err, &t) {
			return false, fmt.Errorf("column %s: is a %s, not of the kind expected here", column, t.Value)
		}
		return false, fmt.Errorf("column %s: %w", column, err)
	}
	return true, nil
}
