package data

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"

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
			yield(Row{}, fmt.Errorf("reading %s: %w: the file is damaged or not a parquet file", name, err))
			return
		}
		if r.file.NumRows() == 0 { // the library reports an empty row group as damage
			return
		}
		for n := 1; ; {
			batch, err := r.next()
			for _, v := range batch {
				row, err := toRow(n, v, r.file.Schema())
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

type parquetReader struct {
	file *parquet.File
	rows *parquet.GenericReader[any]
}

// openParquet and next turn the panics of the parquet library, which damaged files can cause, into errors.
func openParquet(f io.ReaderAt, size int64) (r *parquetReader, err error) {
	defer panicToError(&err)
	// both indices are not needed: all rows are read in order
	pf, err := parquet.OpenFile(f, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, err
	}
	return &parquetReader{pf, parquet.NewGenericReader[any](pf)}, nil
}

func (r *parquetReader) next() (rows []any, err error) {
	defer panicToError(&err)
	rows = make([]any, 128)
	n, err := r.rows.Read(rows)
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return rows[:n], err
}

func panicToError(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%v", p)
	}
}

func toRow(n int, v any, schema parquet.Node) (Row, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return Row{N: n}, fmt.Errorf("is a %T, not a record", v)
	}
	row := Row{N: n, Columns: make(map[string]json.RawMessage, len(m))}
	for name, cell := range m {
		raw, err := Marshal(jsonValue(cell, field(schema, name)))
		if err != nil {
			return Row{N: n}, fmt.Errorf("column %s: %w", name, err)
		}
		row.Columns[name] = raw
	}
	return row, nil
}
