package data

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// Kind is the type of a parquet column that WriteParquet writes. Every column may hold null.
type Kind int

const (
	// TextColumn is a string. A value of another JSON type is written as its JSON.
	TextColumn Kind = iota
	// TextListColumn is a list of strings.
	TextListColumn
	// WholeColumn is a 64-bit integer.
	WholeColumn
	// NumberColumn is a 64-bit floating-point number.
	NumberColumn
)

// Column is a column of a parquet file.
type Column struct {
	Name string
	Kind Kind
}

// WriteParquet writes rows, JSON objects, as a parquet file with these columns. Fields that are no column are left out.
func WriteParquet(w io.Writer, columns []Column, rows []json.RawMessage) (err error) {
	defer panicToError(&err)
	group := parquet.Group{}
	for _, c := range columns {
		group[c.Name] = parquet.Optional(c.node())
	}
	schema := parquet.NewSchema("rows", group)
	pw := parquet.NewGenericWriter[map[string]any](w, schema, parquet.Compression(&parquet.Zstd))
	for i, raw := range rows {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil {
			return fmt.Errorf("row %d: %w", i+1, err)
		}
		row := map[string]any{}
		for _, c := range columns {
			if row[c.Name], err = c.cell(fields[c.Name]); err != nil {
				return fmt.Errorf("row %d: column %s: %w", i+1, c.Name, err)
			}
		}
		if _, err := pw.Write([]map[string]any{row}); err != nil {
			return fmt.Errorf("row %d: %w", i+1, err)
		}
	}
	return pw.Close()
}

func (c Column) node() parquet.Node {
	switch c.Kind {
	case TextListColumn:
		return parquet.List(parquet.String())
	case WholeColumn:
		return parquet.Int(64)
	case NumberColumn:
		return parquet.Leaf(parquet.DoubleType)
	}
	return parquet.String()
}

// cell is the value of a field, nil for null.
func (c Column) cell(raw json.RawMessage) (v any, err error) {
	if raw == nil || string(raw) == "null" {
		return nil, nil
	}
	switch c.Kind {
	case TextListColumn:
		var list []string
		err = json.Unmarshal(raw, &list)
		return list, err
	case WholeColumn:
		var n int64
		err = json.Unmarshal(raw, &n)
		return n, err
	case NumberColumn:
		var x float64
		err = json.Unmarshal(raw, &x)
		return x, err
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		s = string(raw)
	}
	return s, nil
}
