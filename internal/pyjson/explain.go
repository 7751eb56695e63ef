package pyjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"reflect"
	"strings"
)

// Explain rewrites an error of encoding/json for users: it names JSON types instead of Go types. Other errors are
// returned unchanged.
func Explain(err error) error {
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("unexpected end of JSON input") // as json.Unmarshal says it
	case !errors.As(err, &kind):
		return err
	}
	found, digits := kind.Value, ""
	switch {
	case found == "array":
		found = "a list"
	case found == "object":
		found = "an object"
	case found == "bool":
		found = "true or false"
	case strings.HasPrefix(found, "number "):
		digits, found = strings.TrimPrefix(found, "number "), "the "+found
	default:
		found = "a " + found
	}
	where := ""
	if kind.Field != "" {
		where = fmt.Sprintf("%q: ", kind.Field)
	}
	return fmt.Errorf("%s%s where %s is expected", where, found, expected(kind.Type, digits))
}

// expected is the JSON value that a Go type is decoded from. digits is the number that does not fit the type; "" if
// there is none.
func expected(t reflect.Type, digits string) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return "something else"
	}
	_, whole := new(big.Int).SetString(digits, 10)
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if whole {
			return fmt.Sprintf("a whole number from %d to %d", -1<<(t.Bits()-1), 1<<(t.Bits()-1)-1)
		}
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-t.Bits()))
	case reflect.Float32, reflect.Float64:
		if digits != "" {
			return fmt.Sprintf("a number of %d bits", t.Bits())
		}
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	}
	return "something else"
}
