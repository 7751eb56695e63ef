package search

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/internal/disk"
)

// Reader reads corpora. The zero Reader reads every file anew.
type Reader struct {
	// Keep is a folder that keeps the passages of documents, keyed by their content: a document is cut again only when
	// its content or its name has changed. "": nothing is kept. What was not used for 90 days is removed.
	Keep string
}

// readerVersion is part of the key of what is kept. It rises when the same document gives other passages.
const readerVersion = 1

// keptFor is how long unused passages are kept.
const keptFor = 90 * 24 * time.Hour

// key names the passages of a document. The name of the file counts because it is the title of the passages, and its
// ending the kind.
func (r Reader) key(path string, content []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %q ", readerVersion, filepath.Base(path))
	h.Write(content)
	return hex.EncodeToString(h.Sum(nil)[:16]) + ".json"
}

// load gives the passages that are kept under a key, if there are any. A damaged file counts as none.
func (r Reader) load(key string) (passages []string, ok bool) {
	if r.Keep == "" {
		return nil, false
	}
	path := filepath.Join(r.Keep, key)
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &passages) != nil {
		return nil, false
	}
	Used(path)
	return passages, true
}

// Used notes that a file of Reader.Keep was used, so that it is kept longer.
func Used(path string) {
	if st, err := os.Stat(path); err == nil && time.Since(st.ModTime()) > 24*time.Hour {
		_ = os.Chtimes(path, time.Time{}, time.Now())
	}
}

// save keeps passages under a key.
func (r Reader) save(key string, passages []string) error {
	if r.Keep == "" {
		return nil
	}
	text, err := json.Marshal(passages)
	if err == nil {
		err = os.MkdirAll(r.Keep, 0o700) // the documents may be private
	}
	if err == nil {
		err = disk.Write(filepath.Join(r.Keep, key), 0o600, func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("keeping the text of documents: %w: choose another folder with --index", err)
	}
	return nil
}

// prune removes what was not used for 90 days.
func (r Reader) prune() {
	if r.Keep == "" {
		return
	}
	entries, _ := os.ReadDir(r.Keep)
	for _, e := range entries {
		st, err := e.Info()
		ours := strings.HasSuffix(e.Name(), ".json") || strings.HasSuffix(e.Name(), ".bf16") // passages, vectors
		if err == nil && ours && st.Mode().IsRegular() && time.Since(st.ModTime()) > keptFor {
			_ = os.Remove(filepath.Join(r.Keep, e.Name()))
		}
	}
}
