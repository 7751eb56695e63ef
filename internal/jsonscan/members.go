package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Member is a key of an object with its value, Text[Start:End] of the text that Members read.
type Member struct {
	Key        string
	Raw        json.RawMessage
	Start, End int
}

// ErrNoObject is the error of Members for a value that is not an object.
var ErrNoObject = errors.New("not an object")

// Members are the members of the object that text begins with, in their order, those that are given twice included.
// Keys and values are what encoding/json makes of them.
func Members(text []byte) ([]Member, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, ErrNoObject
	}
	all := []Member{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := Member{Key: key.(string)} // More and an object: the next token is a key, or an error
		if err := d.Decode(&m.Raw); err != nil {
			return nil, err
		}
		m.End = int(d.InputOffset())
		m.Start = m.End - len(m.Raw)
		all = append(all, m)
	}
	_, err := d.Token() // the end of the object
	return all, err
}
