package pyjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// Unmarshal decodes the one JSON value that fills data, numbers that only Python reads as null. What is wrong is said in the words of
// the file, not of Go.
func Unmarshal(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(Standard(data)))
	if err := d.Decode(v); err == io.EOF {
		return Explain(io.ErrUnexpectedEOF)
	} else if err != nil {
		return Explain(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the JSON value")
	}
	return nil
}
