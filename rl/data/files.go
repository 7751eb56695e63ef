package data

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// shareTotal is the sum of the shares of a mixture. Every shareTotal questions in a row hold exactly Part.Share
// questions of each file.
const shareTotal = 1000

// Set holds the questions of one or more files.
type Set struct {
	// Questions are ordered by file and, within a file, by row.
	Questions []Question
	// Parts are the files of a mixture. It is nil where no weights were given; then every question is drawn equally
	// often.
	Parts []Part
}

// Part is a file of a mixture: the next N questions of the set. Of every thousand questions drawn, Share come from this
// file.
type Part struct {
	File     string
	N, Share int
}

// LoadSet reads a list of files, separated by commas. "a.parquet,b.jsonl" gives the questions of one file after the
// other. "a.parquet:0.7,b.jsonl:0.3" is a mixture, in which a weight says how often questions are drawn from a file,
// regardless of its size. A file whose name contains a comma, or ends like a weight, can only be given alone.
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

// LoadFiles is LoadSet for uses that take every question once: a list with weights is an error.
func LoadFiles(list string) ([]Question, error) {
	s, err := LoadSet(list)
	if err != nil {
		return nil, err
	}
	if s.Parts != nil {
		return nil, weighted(list)
	}
	return s.Questions, nil
}

// Files are the files of a list, for uses that take every row once: a list with weights is an error.
func Files(list string) ([]string, error) {
	files, weights, err := parseFiles(list)
	if err != nil {
		return nil, fmt.Errorf("reading data %s: %w", list, err)
	}
	if weights != nil {
		return nil, weighted(list)
	}
	return files, nil
}

// weighted is the error of a list with weights where every row is taken once.
func weighted(list string) error {
	return fmt.Errorf("reading data %s: weights say how often training draws from a file, and here every question is "+
		"taken once: leave them out", list)
}

// Unweighted gives the list of files without their weights, as LoadFiles takes it.
func Unweighted(list string) string {
	files, _, err := parseFiles(list)
	if err != nil {
		return list // reading it gives the error
	}
	return strings.Join(files, ",")
}

// Rename gives the list with each file name replaced by to(name). Weights are not changed.
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

// parseFiles reads a list of files. weights are in thousandths of all, nil if the list has none.
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
			return nil, nil, fmt.Errorf("%s is named twice: name it once, with a weight if it should come more often",
				file)
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
		return nil, nil,
			fmt.Errorf("%d of %d files have a weight: give every file one, as in a.jsonl:0.7,b.jsonl:0.3, or none",
				len(given), len(files))
	}
	weights, err = thousandths(files, given)
	return files, weights, err
}

// parseFile reads FILE or FILE:WEIGHT; weight is 0 if there is none.
func parseFile(item string) (file string, weight float64, err error) {
	i := strings.LastIndexByte(item, ':')
	if _, err := os.Stat(item); err == nil || i < 0 {
		return item, 0, nil
	}
	weight, err = strconv.ParseFloat(item[i+1:], 64)
	if err != nil {
		return item, 0, nil // the colon is part of the name
	}
	if !(weight > 0) || math.IsInf(weight, 0) {
		return "", 0, fmt.Errorf("%s: a weight must be a number above 0", item)
	}
	return item[:i], weight, nil
}

// thousandths rounds weights to shares of shareTotal by the method of the largest remainder. A share that rounds to 0
// is an error.
func thousandths(files []string, weights []float64) ([]int, error) {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	out, order, left := make([]int, len(weights)), make([]int, len(weights)), shareTotal
	rest := make([]float64, len(weights))
	for i, w := range weights {
		exact := w / sum * shareTotal
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
		return nil, fmt.Errorf("the weight of %s is less than a thousandth of all: raise it or leave the file out",
			files[i])
	}
	return out, nil
}
