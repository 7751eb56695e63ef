package serve

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/zerosearch-go/zerosearch/engine/embed"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Use says what clients may ask a model for.
type Use int

// The uses of a model.
const (
	Generates          Use = iota // answers: the model was not trained to make vectors
	Embeds                        // vectors: an embedding model
	GeneratesAndEmbeds            // both
)

// Limits of a request for vectors.
const (
	maxInputs = 2048 // as in OpenAI's API
	atOnce    = 64   // inputs that the engine has at a time
)

// embeddings is the response of /v1/embeddings.
type embeddings struct {
	ID      string      `json:"id"`
	Object  string      `json:"object"`
	Created int64       `json:"created"`
	Model   string      `json:"model"`
	Data    []embedding `json:"data"`
	Usage   vectorUsage `json:"usage"`
}

type embedding struct {
	Index  int    `json:"index"`
	Object string `json:"object"`
	Vector vector `json:"embedding"`
}

type vectorUsage struct {
	Prompt int `json:"prompt_tokens"`
	Total  int `json:"total_tokens"`
}

// embed gives the vectors of inputs: the hidden state of each one's last token, at length 1.
func (s *Server) embed(w http.ResponseWriter, r *http.Request) (any, error) {
	q, m, err := s.request(w, r, inEmbeddings)
	if err != nil {
		return nil, err
	}
	if m.Use == Generates {
		return nil, unsuited(m, "model %s generates text and was not trained to make vectors: serve an embedding "+
			"model, such as Qwen3-Embedding, or give --embeddings to serve to get the last token's hidden state")
	}
	size := m.Config.Hidden
	if q.dimensions > int64(size) {
		return nil, bad("dimensions", "dimensions is %d: the vectors of model %s have %d", q.dimensions, m.ID, size)
	}
	if q.dimensions > 0 {
		size = int(q.dimensions)
	}
	inputs, err := m.readInputs(q)
	if err != nil {
		return nil, err
	}
	n := min(len(inputs), atOnce)
	if !s.reserve(n) {
		return nil, busy()
	}
	defer s.release(n)
	vectors, err := s.vectors(r.Context(), m, inputs, n)
	if err != nil {
		return nil, err
	}
	id := q.requestID
	if id == "" {
		id = hex.EncodeToString(random(12))
	}
	out := embeddings{ID: "embd-" + id, Object: "list", Created: time.Now().Unix(), Model: m.ID}
	for i, v := range vectors {
		if v = v[:size]; !q.raw {
			v = embed.Normalize(v)
		}
		out.Data = append(out.Data, embedding{i, "embedding", vector{v, q.base64}})
		out.Usage.Prompt += len(inputs[i])
	}
	out.Usage.Total = out.Usage.Prompt
	s.metrics.prompt.Add(int64(out.Usage.Prompt))
	return out, nil
}

// vectors computes the hidden states of inputs, n at a time.
func (s *Server) vectors(ctx context.Context, m *Model, inputs [][]int32, n int) ([][]float32, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out, next := make([][]float32, len(inputs)), make(chan int, len(inputs))
	for i := range inputs {
		next <- i
	}
	close(next)
	var wait sync.WaitGroup
	for range n {
		wait.Go(func() {
			for i := range next {
				var err error
				if out[i], err = s.eng.Hidden(ctx, m.Engine, m.Adapter, inputs[i]); err != nil {
					cancel(err) // the others fail with it
					return
				}
			}
		})
	}
	wait.Wait()
	return out, context.Cause(ctx)
}

// readInputs reads the inputs of a request for vectors, as ids that fit the model.
func (m *Model) readInputs(q *query) ([][]int32, error) {
	texts, inputs, err := m.readPrompts("input", q.prompt)
	if err != nil {
		return nil, err
	}
	room := int64(m.context)
	if q.truncate > 0 {
		room = min(room, q.truncate)
	}
	cut := func(ids []int32) []int32 {
		if q.truncate == 0 || int64(len(ids)) <= room {
			return ids
		}
		return ids[:room]
	}
	for i := range inputs {
		inputs[i] = cut(inputs[i])
	}
	for _, text := range texts {
		bare := m.Tokenizer.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true})
		ids := bare
		if !q.noSpecial {
			ids = m.Tokenizer.Encode(text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
		}
		before := around(ids, bare)
		after := ids[before+len(bare):]
		if keep := room - int64(before+len(after)); q.truncate != 0 && int64(len(bare)) > keep && keep > 0 {
			// what the tokenizer puts at the end stays there, as transformers does it
			ids = append(ids[:before+int(keep):before+int(keep)], after...)
		}
		inputs = append(inputs, cut(ids))
	}
	if len(inputs) > maxInputs {
		return nil, bad("input", "there are %d inputs: send at most %d", len(inputs), maxInputs)
	}
	for i, ids := range inputs {
		param := fmt.Sprintf("input[%d]", i)
		if len(ids) == 0 {
			return nil, bad(param, "%s is empty", param)
		}
		if len(ids) > m.context {
			e := bad(param, "%s has %d tokens, more than the context of model %s, %d tokens: shorten it, or send "+
				"truncate_prompt_tokens: -1", param, len(ids), m.ID, m.context)
			e.Code = "context_length_exceeded"
			return nil, e
		}
		if err := m.Config.CheckIDs(ids); err != nil {
			return nil, bad(param, "%v", err)
		}
	}
	return inputs, nil
}

// unsuited is the error of a request that a model was not made for.
func unsuited(m *Model, format string) *apiError {
	e := bad("model", format, m.ID)
	e.Code = "unsupported_model"
	return e
}

// busy is the error of a request beyond MaxSequences.
func busy() *apiError {
	return &apiError{Status: http.StatusTooManyRequests, Type: "rate_limit_error", Code: "rate_limit_exceeded",
		Message: "the server is busy: try again later"}
}
