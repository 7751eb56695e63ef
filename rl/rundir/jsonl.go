package rundir

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
)

// Metrics are the numbers of one step, by verl's names where the quantity is the same.
type Metrics map[string]float64

// names are in alphabetical order.
func (m Metrics) names() []string { return slices.Sorted(maps.Keys(m)) }

// line is one JSON object, "step" first, the other names in alphabetical order; a value that is not finite is null.
func (m Metrics) line(step int) []byte {
	b := append([]byte(`{"step":`), strconv.Itoa(step)...)
	for _, k := range m.names() {
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

// parse reads what line writes; null is NaN.
func parse(text []byte) (step int, m Metrics, err error) {
	var values map[string]*float64
	if err := json.Unmarshal(text, &values); err != nil {
		return 0, nil, err
	}
	m = Metrics{}
	for k, v := range values {
		switch {
		case k == "step" && v != nil:
			step = int(*v)
		case v != nil:
			m[k] = *v
		default:
			m[k] = math.NaN()
		}
	}
	return step, m, nil
}

// log appends to a file: a piece whole or not at all.
type log struct {
	f    *os.File
	size int64
}

func openLog(path string) (*log, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &log{f, st.Size()}, nil
}

// append writes one piece. Where that fails half-way, as on a full disk, the half is taken back.
func (l *log) append(piece []byte) error {
	n, err := l.f.Write(piece)
	if err != nil {
		if n > 0 {
			l.f.Truncate(l.size) // the error of the writing is the one to report
		}
		return err
	}
	l.size += int64(n)
	return nil
}

// cutAfter drops every line of a JSON-lines file whose "step" is beyond step, and a last line that was not finished:
// what resuming does before it goes on. A file that does not exist is left alone.
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
