// Package dense searches passages by the vectors that an embedding model makes of them: Qwen3-Embedding (arXiv
// 2506.05176) and other decoders that put their vector into the last token.
package dense

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/zerosearch-go/zerosearch/engine/embed"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Encoder turns texts into vectors. It may be used by many goroutines at once; its device belongs to it.
type Encoder struct {
	// QueryPrefix and DocumentPrefix are put before a text.
	QueryPrefix, DocumentPrefix string

	mu  sync.Mutex // of the device
	m   *model.Model
	enc *embed.Encoder
	tok *tokenizer.Tokenizer
}

// queryPrefix is the instruction of Qwen3-Embedding's model card for web search.
const queryPrefix = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"

// maxTokens is the length of the longest text; what is beyond it is cut off. Passages have about 130 tokens.
const maxTokens = 1024

// Open loads the Hugging Face folder dir of an embedding model onto dev, weights held as t (0: BF16). Prefixes come
// from the file config_sentence_transformers.json, if there is one.
func Open(ctx context.Context, dev kernels.Device, dir string, t kernels.DType) (*Encoder, error) {
	fail := func(err error) (*Encoder, error) {
		return nil, fmt.Errorf("opening the embedding model %s: %w", dir, err)
	}
	e := &Encoder{QueryPrefix: queryPrefix}
	if err := e.readPrompts(dir); err != nil {
		return fail(err)
	}
	if err := checkPooling(dir); err != nil {
		return fail(err)
	}
	var err error
	if e.tok, err = tokenizer.Open(dir); err != nil {
		return fail(err)
	}
	if t == 0 {
		t = kernels.BF16
	}
	if e.m, err = model.LoadContext(ctx, dev, dir, model.Options{DType: t, Headless: true}); err != nil {
		return fail(err)
	}
	if e.enc, err = embed.NewEncoder(e.m, maxTokens); err != nil {
		e.m.Close()
		return fail(err)
	}
	return e, nil
}

// readPrompts reads the prefixes of sentence-transformers.
func (e *Encoder) readPrompts(dir string) error {
	const name = "config_sentence_transformers.json"
	text, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var c struct {
		Prompts map[string]string `json:"prompts"`
	}
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if p, ok := c.Prompts["query"]; ok {
		e.QueryPrefix = p
	}
	e.DocumentPrefix = c.Prompts["document"]
	return nil
}

// IsEmbedding reports whether the folder dir holds an embedding model, by the files of sentence-transformers. It is an
// error if its vector is not that of the last token.
func IsEmbedding(dir string) (bool, error) {
	for _, name := range []string{"modules.json", "1_Pooling/config.json", "config_sentence_transformers.json"} {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err == nil {
			if err := checkPooling(dir); err != nil {
				return false, fmt.Errorf("opening the embedding model %s: %w", dir, err)
			}
			return true, nil
		}
	}
	return false, nil
}

// checkPooling refuses models whose vector is not that of the last token.
func checkPooling(dir string) error {
	const name = "1_Pooling/config.json"
	text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	c := struct {
		Last bool `json:"pooling_mode_lasttoken"`
	}{}
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err == nil && !c.Last {
		err = errors.New("its vector is not that of the last token: use a model such as Qwen3-Embedding")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Dim is the length of a vector, C.
func (e *Encoder) Dim() int { return e.enc.Dim() }

// Query gives the vector of a query, [C].
func (e *Encoder) Query(text string) ([]float32, error) {
	return e.encode([]string{e.QueryPrefix + text})
}

// Documents gives the vectors of texts, [texts, C].
func (e *Encoder) Documents(texts []string) ([]float32, error) {
	full := make([]string, len(texts))
	for i, t := range texts {
		full[i] = e.DocumentPrefix + t
	}
	return e.encode(full)
}

func (e *Encoder) encode(texts []string) ([]float32, error) {
	var seqs [][]int32
	for _, t := range texts {
		ids := e.tok.Encode(t, tokenizer.EncodeOptions{AddSpecial: true})
		if most := e.enc.MaxTokens(); len(ids) > most { // keep what the tokenizer puts at the end, as transformers does
			end := ids[len(ids)-1]
			if bare := e.tok.Encode(t, tokenizer.EncodeOptions{}); end == bare[len(bare)-1] {
				end = ids[most-1]
			}
			ids = append(ids[:most-1:most-1], end)
		}
		if len(ids) == 0 {
			return nil, errors.New("embedding: an empty text, and the tokenizer adds no token to it")
		}
		seqs = append(seqs, ids)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.enc.Encode(seqs)
}

// Close gives the memory back.
func (e *Encoder) Close() {
	e.enc.Close()
	e.m.Close()
}
