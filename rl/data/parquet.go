package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
)

// parquetRows yields the rows of a parquet file; nested lists and structs become JSON arrays and objects.
func parquetRows(name string, f *os.File) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		st, err := f.Stat()
		if err != nil {
			yield(Row{}, fmt.Errorf("reading %s: %w", name, err))
			return
		}
		r, err := openParquet(f, st.Size())
		if err != nil {
			yield(Row{}, fmt.Errorf("reading %s: %w: the file is no sound parquet file", name, err))
			return
		}
		for n := 1; ; {
			batch, err := r.next()
			for _, v := range batch {
				row, err := toRow(n, v)
				if err != nil {
					err = fmt.Errorf("reading %s: row %d: %w", name, n, err)
				}
				if !yield(row, err) {
					return
				}
				n++
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(Row{N: n}, fmt.Errorf("reading %s: row %d: %w: the file is damaged", name, n, err))
				return
			}
		}
	}
}

type parquetReader struct{ rows *parquet.GenericReader[any] }

// openParquet and next turn the library's panics over damaged files into errors.
func openParquet(f io.ReaderAt, size int64) (r *parquetReader, err error) {
	defer recovered(&err)
	pf, err := parquet.OpenFile(f, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true)) // all rows are read in order
	if err != nil {
		return nil, err
	}
	return &parquetReader{parquet.NewGenericReader[any](pf)}, nil
}

func (r *parquetReader) next() (rows []any, err error) {
	defer recovered(&err)
	rows = make([]any, 128)
	n, err := r.rows.Read(rows)
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return rows[:n], err
}

func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%v", p)
	}
}

func toRow(n int, v any) (Row, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return Row{N: n}, fmt.Errorf("is a %T, not a record", v)
	}
	row := Row{N: n, Columns: make(map[string]json.RawMessage, len(m))}
	for name, cell := range m {
		clean, err := jsonable(cell)
		if err != nil {
			return Row{N: n}, fmt.Errorf("column %s: %w", name, err)
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(clean); err != nil {
			return Row{N: n}, fmt.Errorf("column %s: %w", name, err)
		}
		row.Columns[name] = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	}
	return row, nil
}

// jsonable turns byte strings that are text into text, and refuses numbers that JSON does not have.
func jsonable(v any) (any, error) {
	switch v := v.(type) {
	case []byte:
		if utf8.Valid(v) {
			return string(v), nil
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, errors.New("NaN or infinite: remove the value or the row")
		}
	case float32:
		return jsonable(float64(v))
	case map[string]any:
		for k := range v {
			c, err := jsonable(v[k])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			v[k] = c
		}
	case []any:
		for i := range v {
			c, err := jsonable(v[i])
			if err != nil {
				return nil, fmt.Errorf("%d: %w", i, err)
			}
			v[i] = c
		}
	}
	return v, nil
}
