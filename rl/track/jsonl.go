package track

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
	"strconv"
)

// Metrics are the numbers of one step, by verl's names where the quantity is the same.
type Metrics map[string]float64

// line is one JSON object, "step" first, the other names in alphabetical order; a value that is not finite is null.
func (m Metrics) line(step int) []byte {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	sort.Strings(names)
	b := append([]byte(`{"step":`), strconv.Itoa(step)...)
	for _, k := range names {
		key, _ := json.Marshal(k)
		b = append(append(append(b, ','), key...), ':')
		if v := m[k]; math.IsNaN(v) || math.IsInf(v, 0) {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendFloat(b, v, 'g', -1, 64)
		}
	}
	return append(b, '}', '\n')
}

// log appends whole lines to a JSON-lines file.
type log struct{ f *os.File }

func openLog(path string) (*log, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &log{f}, nil
}

func (l *log) append(line []byte) error {
	_, err := l.f.Write(line)
	return err
}

// cutAfter drops every line of a JSON-lines file whose "step" is beyond step, and a last line that was not finished: what resuming
// does before it goes on. A file that does not exist is left alone.
func cutAfter(path string, step int) error {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var keep int64
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		var at struct {
			Step int `json:"step"`
		}
		if json.Unmarshal(bytes.TrimSpace(line), &at) != nil || at.Step > step {
			break
		}
		keep += int64(len(line))
	}
	if err := os.Truncate(path, keep); err != nil {
		return fmt.Errorf("cutting %s back to step %d: %w", path, step, err)
	}
	return nil
}
