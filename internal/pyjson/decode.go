package pyjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// Unmarshal decodes the one JSON value that fills data, numbers that only Python reads as null. What is wrong is said in the words of
// the file, not of Go.
func Unmarshal(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(Standard(data)))
	if err := d.Decode(v); err != nil {
		return Explain(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the JSON value")
	}
	return nil
}

// Explain says what an error of encoding/json means: which key holds what, and what it should hold.
func Explain(err error) error {
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrong):
		key := wrong.Field
		if key == "" {
			key = "a value"
		}
		return fmt.Errorf("%s is %s, not %s", key, jsonWord(wrong.Value), goWord(wrong.Type))
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d: %w", syntax.Offset, syntax)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("not JSON: it ends too soon")
	}
	return err
}

// jsonWord names what encoding/json met: "number 4.0", "string", "bool", "array", "object".
func jsonWord(value string) string {
	switch value {
	case "string":
		return "a string"
	case "bool":
		return "true or false"
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "number":
		return "a number"
	}
	return "the " + value
}

func goWord(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a finite number"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "an object"
}
