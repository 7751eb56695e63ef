package data

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// shares is what the weights of a mixture are rounded to: every run of so many questions holds the files in exactly these numbers.
const shares = 1000

// Set is the questions of one or more files.
type Set struct {
	// Questions, file by file, in the order of the rows.
	Questions []Question
	// Parts are the files of a mixture, nil where no weights were given: then every question is drawn as often as any other.
	Parts []Part
}

// Part is a file of a mixture: the next N questions of the set, drawn Share times in a thousand.
type Part struct {
	File     string
	N, Share int
}

// LoadSet reads the files of a list, separated by commas: "a.parquet,b.jsonl", one after the other, or "a.parquet:0.7,b.jsonl:0.3", a
// mixture, in which a weight says how often questions are drawn from a file, whatever its size. A file whose name holds a comma
// or ends like a weight stands alone.
func LoadSet(list string) (*Set, error) {
	files, weights, err := parseFiles(list)
	if err != nil {
		return nil, fmt.Errorf("reading data %s: %w", list, err)
	}
	s := &Set{}
	for i, file := range files {
		qs, err := Load(file)
		if err != nil {
			return nil, err
		}
		s.Questions = append(s.Questions, qs...)
		if weights != nil {
			s.Parts = append(s.Parts, Part{File: file, N: len(qs), Share: weights[i]})
		}
	}
	return s, nil
}

// LoadFiles is LoadSet where nothing is drawn: weights are refused.
func LoadFiles(list string) ([]Question, error) {
	s, err := LoadSet(list)
	if err == nil && s.Parts != nil {
		err = fmt.Errorf("reading data %s: weights say how often training draws from a file, and here every question is taken once: leave them out", list)
	}
	if err != nil {
		return nil, err
	}
	return s.Questions, nil
}

// Rename gives a list with to(name) in place of every file's name; weights stay.
func Rename(list string, to func(file string) (string, error)) (string, error) {
	if _, err := os.Stat(list); err == nil {
		return to(list)
	}
	var out []string
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		file, _, err := parseFile(item)
		if err != nil {
			return "", fmt.Errorf("reading data %s: %w", list, err)
		}
		name, err := to(file)
		if err != nil {
			return "", err
		}
		out = append(out, name+item[len(file):])
	}
	return strings.Join(out, ","), nil
}

// parseFiles takes a list apart; weights are thousandths, nil if there are none.
func parseFiles(list string) (files []string, weights []int, err error) {
	if _, err := os.Stat(list); err == nil {
		return []string{list}, nil, nil
	}
	var given []float64
	for item := range strings.SplitSeq(list, ",") {
		file, weight, err := parseFile(strings.TrimSpace(item))
		if err != nil {
			return nil, nil, err
		}
		if file == "" {
			return nil, nil, fmt.Errorf("a name between the commas is empty: separate files by one comma")
		}
		if slices.Contains(files, file) {
			return nil, nil, fmt.Errorf("%s is named twice: name it once, with a weight if it should come more often", file)
		}
		if weight > 0 {
			given = append(given, weight)
		}
		files = append(files, file)
	}
	switch {
	case given == nil:
		return files, nil, nil
	case len(given) < len(files):
		return nil, nil, fmt.Errorf("%d of %d files have a weight: give every file one, as in a.jsonl:0.7,b.jsonl:0.3, or none", len(given), len(files))
	}
	weights, err = thousandths(files, given)
	return files, weights, err
}

// parseFile takes FILE or FILE:WEIGHT apart; without a weight it is 0.
func parseFile(item string) (file string, weight float64, err error) {
	i := strings.LastIndexByte(item, ':')
	if _, err := os.Stat(item); err == nil || i < 0 {
		return item, 0, nil
	}
	weight, err = strconv.ParseFloat(item[i+1:], 64)
	if err != nil {
		return item, 0, nil // a colon of the name
	}
	if !(weight > 0) || math.IsInf(weight, 0) {
		return "", 0, fmt.Errorf("%s: a weight must be a number above 0", item)
	}
	return item[:i], weight, nil
}

// thousandths rounds weights to whole shares by the largest remainder; none may vanish.
func thousandths(files []string, weights []float64) ([]int, error) {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	out, order, left := make([]int, len(weights)), make([]int, len(weights)), shares
	rest := make([]float64, len(weights))
	for i, w := range weights {
		exact := w / sum * shares
		out[i], order[i] = int(exact), i
		rest[i] = exact - float64(out[i])
		left -= out[i]
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case rest[a] > rest[b]:
			return -1
		case rest[a] < rest[b]:
			return 1
		}
		return 0
	})
	for i := range left {
		out[order[i]]++
	}
	if i := slices.Index(out, 0); i >= 0 {
		return nil, fmt.Errorf("the weight of %s is less than a thousandth of all: raise it or leave the file out", files[i])
	}
	return out, nil
}
