package data

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// maxLine is the largest size of one row of JSON, in bytes, so that a file of another format gives an error and does
// not fill the memory.
const maxLine = 64 << 20

// Lines yields the rows of JSON lines, or of one JSON list of objects, in any form that Text reads. Blank lines are
// skipped. name appears in errors.
func Lines(name string, r io.Reader) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		br, err := Text(r)
		if err != nil {
			yield(Row{}, fmt.Errorf("reading %s: %w", name, err))
			return
		}
		first, n, err := firstByte(br)
		if err == io.EOF {
			return
		}
		if err != nil {
			yield(Row{N: n}, fmt.Errorf("reading %s: row %d: %w", name, n, err))
			return
		}
		rows, requirement := eachLine(br), "each line must be one JSON object"
		if first == '[' {
			rows, requirement, n = elements(br), "each element of the list must be one JSON object", 1
		}
		for raw, err := range rows {
			if err != nil {
				yield(Row{N: n}, fmt.Errorf("reading %s: row %d: %w", name, n, err))
				return
			}
			if len(raw) > 0 {
				row, err := parseRow(n, raw)
				if err != nil {
					err = fmt.Errorf("reading %s: row %d: %w: %s", name, n, err, requirement)
				}
				if !yield(row, err) {
					return
				}
			}
			n++
		}
	}
}

// firstByte gives the first byte that is no white space, without reading it, and the number of its line.
func firstByte(br *bufio.Reader) (first byte, line int, err error) {
	for line = 1; ; {
		c, err := br.ReadByte()
		switch {
		case err != nil:
			return 0, line, err
		case c == '\n':
			line++
		case c != ' ' && c != '\t' && c != '\r':
			return c, line, br.UnreadByte()
		}
	}
}

var errTooLong = fmt.Errorf("longer than %d MiB: is this JSON lines?", maxLine>>20)

// eachLine yields all lines, empty lines included, without the white space around them.
func eachLine(br *bufio.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			line, err := readLine(br)
			if err != nil && err != io.EOF {
				yield(nil, err)
				return
			}
			if !yield(bytes.TrimSpace(line), nil) || err == io.EOF {
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
			return nil, errTooLong
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

// elements yields the raw JSON of the elements of a list, one by one.
func elements(br *bufio.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		br.Discard(1) // [
		for first := true; ; first = false {
			raw, end, err := element(br)
			if raw = bytes.TrimSpace(raw); err == nil && len(raw) == 0 && !(first && end == ']') {
				err = errors.New("the list has no element between two commas, or after the last comma")
			}
			if err == io.EOF {
				err = errors.New("the list is cut off: its closing ] is missing")
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if len(raw) > 0 && !yield(raw, nil) {
				return
			}
			if end == ']' {
				break
			}
		}
		if _, _, err := firstByte(br); err == nil {
			yield(nil,
				errors.New("something follows the list: a file is one JSON list, or lines of a JSON object each"))
		} else if err != io.EOF {
			yield(nil, err)
		}
	}
}

// element reads an element up to the comma or bracket that ends it; end is that byte.
func element(br *bufio.Reader) (raw []byte, end byte, err error) {
	depth, text := 0, false
	for {
		c, err := br.ReadByte()
		if err != nil {
			return nil, 0, err
		}
		switch {
		case text && c == '\\':
			raw = append(raw, c)
			if c, err = br.ReadByte(); err != nil {
				return nil, 0, err
			}
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			depth++
		case depth == 0 && (c == ',' || c == ']'):
			return raw, c, nil
		case c == '}' || c == ']':
			depth--
		}
		if raw = append(raw, c); len(raw) > maxLine {
			return nil, 0, errTooLong
		}
	}
}

// parseRow reads one object. NaN and Infinity, which Python writes, become null, as in parquet files.
func parseRow(n int, raw []byte) (Row, error) {
	row := Row{N: n}
	if !utf8.Valid(raw) {
		return Row{N: n}, errors.New("it is not UTF-8 text")
	}
	if err := pyjson.Unmarshal(raw, &row.Columns); err != nil {
		return Row{N: n}, err
	}
	if row.Columns == nil {
		return Row{N: n}, errors.New("null")
	}
	return row, nil
}
