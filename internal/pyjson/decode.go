package pyjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// Unmarshal decodes data, which must be one JSON value. NaN and infinities are read as null. Errors name JSON types,
// not Go types: see Explain.
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
