package data

import (
	"encoding/hex"
	"math"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// jsonValue converts a parquet cell into a value that package json can write. Dates and times become text (2020-01-31,
// 2020-01-31T12:00:00), and so do bytes that are valid UTF-8. Values that JSON cannot hold (NaN, infinities, other
// bytes) become null: most of them are in columns that are not read, and in a column that is read null counts as
// missing. column is the cell's schema, nil where it is not known.
func jsonValue(v any, column parquet.Node) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = jsonValue(v[k], field(column, k))
		}
	case []any:
		for i := range v {
			v[i] = jsonValue(v[i], listElement(column))
		}
	case string:
		if !utf8.ValidString(v) {
			return nil
		}
	case []byte:
		return bytesCell(v, logicalType(column))
	case int32:
		return intCell(int64(v), logicalType(column))
	case int64:
		return intCell(v, logicalType(column))
	case deprecated.Int96: // v[0] and v[1]: nanoseconds of the day; v[2]: Julian day
		const day1970 = 2440588
		nanos := int64(v[1])<<32 | int64(v[0])
		return timeText(time.Unix((int64(v[2])-day1970)*24*3600, nanos), false)
	case float64:
		return finite(v)
	case float32:
		if finite(float64(v)) == nil {
			return nil
		}
	}
	return v
}

func finite(x float64) any {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return x
}

func intCell(v int64, logical format.LogicalTypeValue) any {
	switch t := logical.(type) {
	case *format.DateType:
		return time.Unix(v*24*3600, 0).UTC().Format(time.DateOnly)
	case *format.TimestampType:
		unit := t.Unit.Value.Duration()
		perSecond := int64(time.Second / unit)
		return timeText(time.Unix(v/perSecond, v%perSecond*int64(unit)), t.IsAdjustedToUTC)
	case *format.TimeType:
		return time.Unix(0, v*int64(t.Unit.Value.Duration())).UTC().Format("15:04:05.999999999")
	case *format.IntType:
		if !t.IsSigned && t.BitWidth == 64 {
			return uint64(v)
		}
	}
	return v
}

// timeText is a time as text, with a Z if it is in UTC and without one if it is a local time.
func timeText(t time.Time, utc bool) string {
	text := t.UTC().Format("2006-01-02T15:04:05.999999999")
	if utc {
		text += "Z"
	}
	return text
}

func bytesCell(v []byte, logical format.LogicalTypeValue) any {
	if _, ok := logical.(*format.UUIDType); ok && len(v) == 16 {
		x := hex.EncodeToString(v)
		return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
	}
	if !utf8.Valid(v) {
		return nil
	}
	return string(v)
}

func logicalType(column parquet.Node) format.LogicalTypeValue {
	if column == nil || !column.Leaf() || column.Type().LogicalType() == nil {
		return nil
	}
	return column.Type().LogicalType().Value
}

// field is the schema of a group's column, nil if it is not known.
func field(column parquet.Node, name string) parquet.Node {
	if column == nil || column.Leaf() {
		return nil
	}
	for _, f := range column.Fields() {
		if f.Name() == name {
			return f
		}
	}
	return nil
}

// listElement is the schema of a list's elements. In parquet a list is a group of one repeated group of one column.
func listElement(column parquet.Node) parquet.Node {
	for range 2 {
		if column == nil || column.Leaf() || len(column.Fields()) != 1 {
			return nil
		}
		column = column.Fields()[0]
	}
	return column
}
