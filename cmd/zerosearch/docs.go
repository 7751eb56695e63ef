package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// passageWords is about how long a passage of an indexed document is: that of the passages in search corpora for question answering.
const passageWords = 100

// maxDoc bounds a text file.
const maxDoc = 64 << 20

// indexDocs makes an index of text files, and of the .txt and .md files in folders.
func indexDocs(paths []string, topK int) (search.Searcher, error) {
	var passages []string
	for _, p := range paths {
		err := filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			ext := strings.ToLower(filepath.Ext(path))
			if d.IsDir() || path != p && ext != ".txt" && ext != ".md" {
				return nil
			}
			more, err := readPassages(path)
			passages = append(passages, more...)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("indexing --docs: %w", err)
		}
	}
	if len(passages) == 0 {
		return nil, fmt.Errorf("indexing --docs %s: no text found: give text files, or folders with .txt or .md files", strings.Join(paths, ", "))
	}
	x := search.NewBM25(passages)
	x.TopK = topK
	return x, nil
}

// readPassages cuts a text file at blank lines into passages of about passageWords words, each under the file's name.
func readPassages(path string) ([]string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxDoc {
		return nil, fmt.Errorf("%s is larger than %d MiB: cut it up", path, maxDoc>>20)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%s is not UTF-8 text", path)
	}
	title := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	var out []string
	var words []string
	flush := func() {
		if len(words) > 0 {
			out = append(out, `"`+title+"\"\n"+strings.Join(words, " "))
		}
		words = nil
	}
	for para := range strings.SplitSeq(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n\n") {
		w := strings.Fields(para)
		if len(words)+len(w) > passageWords {
			flush()
		}
		for len(w) > 2*passageWords {
			words, w = w[:passageWords], w[passageWords:]
			flush()
		}
		words = append(words, w...)
	}
	flush()
	return out, nil
}
