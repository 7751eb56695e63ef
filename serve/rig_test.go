package serve

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// smollm2 is the tokenizer of SmolLM2 with its chat template.
var smollm2 = sync.OnceValues(func() (*tokenizer.Tokenizer, error) {
	dir, err := os.MkdirTemp("", "serve")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	const from = "../tokenizer/testdata/smollm2"
	f, err := os.Open(filepath.Join(from, "tokenizer.json.gz"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	config, err := os.ReadFile(filepath.Join(from, "tokenizer_config.json"))
	if err != nil {
		return nil, err
	}
	for name, data := range map[string][]byte{"tokenizer.json": text, "tokenizer_config.json": config} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return nil, err
		}
	}
	return tokenizer.Open(dir)
})

// rig is a server over a tiny random model with SmolLM2's tokenizer, and its client.
type rig struct {
	t    testing.TB
	s    *Server
	eng  *engine.Engine
	m    Model
	url  string
	http *http.Client
}

const context0 = 512 // tokens, of the tiny model

func newRig(t testing.TB, o Options) *rig {
	r := newServer(t, o)
	h := httptest.NewServer(r.s)
	t.Cleanup(h.Close)
	r.url, r.http = h.URL, h.Client()
	return r
}

// newServer is a rig without a listener.
func newServer(t testing.TB, o Options) *rig {
	tok, err := smollm2()
	require.NoError(t, err)
	tmpl, err := tok.Chat()
	require.NoError(t, err)
	dev, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	m, err := model.NewRandom(dev, &model.Config{Arch: "llama", Vocab: 49152, Hidden: 32, Inter: 48, Layers: 2,
		Heads: 4, KVHeads: 2, HeadDim: 8,
		MaxPos: context0, Eps: 1e-5, RopeTheta: 1e4, Tied: true,
		EOS: tok.EOSIDs()}, model.Options{DType: kernels.BF16}, 1)
	require.NoError(t, err)
	e := engine.New(dev, engine.Options{})
	require.NoError(t, e.AddModel("m", m, engine.ModelOptions{KVPages: 1024}))
	t.Cleanup(func() {
		r := e.Stats().Models[0]
		require.Equal(t, r.Pages, r.FreePages+r.IdlePages, "pages in use when nothing runs")
		e.Close()
		m.Close()
		require.NoError(t, dev.Close())
	})
	r := &rig{t: t, eng: e, m: Model{ID: "tiny", Engine: "m", Config: m.Config, Tokenizer: tok, Template: tmpl,
		EOS: tok.EOSIDs()}}
	r.s, err = New(e, []Model{r.m}, o)
	require.NoError(t, err)
	return r
}

type object = map[string]any

// do sends a request and returns status, headers and body.
func (r *rig) do(ctx context.Context, method, path string, body []byte, header ...string) (int, http.Header, []byte) {
	q, err := http.NewRequestWithContext(ctx, method, r.url+path, bytes.NewReader(body))
	require.NoError(r.t, err)
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	resp, err := r.http.Do(q)
	require.NoError(r.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return resp.StatusCode, resp.Header, text
}

func marshal(t testing.TB, v any) []byte {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}

// result has the fields of both endpoints' responses that the tests check.
type result struct {
	ID, Object, Model string
	Choices           []struct {
		Index    int
		Message  struct{ Role, Content string }
		Text     string
		Logprobs json.RawMessage
		Finish   string  `json:"finish_reason"`
		IDs      []int32 `json:"token_ids"`
	}
	Usage *usage
}

func (r *rig) post(path string, q object) result {
	status, _, text := r.do(r.t.Context(), "POST", path, marshal(r.t, q))
	require.Equal(r.t, 200, status, "%s", text)
	var a result
	require.NoError(r.t, json.Unmarshal(text, &a))
	return a
}

// running is the numbers of tokens of a choice in one event, and how many token ids came until then.
type running struct{ prompt, completion, ids int }

// streamed is a response assembled from its stream.
type streamed struct {
	text   map[int]string
	ids    map[int][]int32
	finish map[int]string
	chat   map[int][]chatLogprob
	plain  map[int]*textLogprobs
	usage  *usage
	counts map[int][]running // of the events of a choice, with continuous_usage_stats
	events int
	done   bool
}

func (r *rig) stream(path string, q object) streamed {
	q["stream"] = true
	defer delete(q, "stream")
	resp, err := r.http.Post(r.url+path, "application/json", bytes.NewReader(marshal(r.t, q)))
	require.NoError(r.t, err)
	defer resp.Body.Close()
	require.Equal(r.t, 200, resp.StatusCode)
	require.Equal(r.t, "text/event-stream; charset=utf-8", resp.Header.Get("Content-Type"))
	s, err := readStream(resp.Body)
	require.NoError(r.t, err)
	return s
}

func readStream(body io.Reader) (streamed, error) {
	s := streamed{map[int]string{}, map[int][]int32{}, map[int]string{}, map[int][]chatLogprob{},
		map[int]*textLogprobs{}, nil, map[int][]running{}, 0, false}
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if s.events++; data == "[DONE]" {
			s.done = true
			continue
		}
		var a struct {
			Error   *apiError
			Choices []struct {
				Index    int
				Delta    struct{ Content string }
				Text     string
				Logprobs json.RawMessage
				Finish   *string `json:"finish_reason"`
				IDs      []int32 `json:"token_ids"`
			}
			Usage *usage
		}
		if err := json.Unmarshal([]byte(data), &a); err != nil {
			return s, err
		}
		if a.Error != nil {
			return s, a.Error
		}
		if a.Usage != nil {
			s.usage = a.Usage
		}
		for _, c := range a.Choices {
			i := c.Index
			s.text[i] += c.Delta.Content + c.Text
			s.ids[i] = append(s.ids[i], c.IDs...)
			if a.Usage != nil {
				s.counts[i] = append(s.counts[i], running{a.Usage.Prompt, a.Usage.Completion, len(s.ids[i])})
			}
			if c.Finish != nil {
				s.finish[i] = *c.Finish
			}
			if len(c.Logprobs) == 0 || string(c.Logprobs) == "null" {
				continue
			}
			var chat chatLogprobs
			if json.Unmarshal(c.Logprobs, &chat) == nil {
				s.chat[i] = append(s.chat[i], chat.Content...)
			}
			var plain textLogprobs
			if json.Unmarshal(c.Logprobs, &plain) == nil {
				if s.plain[i] == nil {
					s.plain[i] = &textLogprobs{}
				}
				p := s.plain[i]
				p.Tokens, p.Values = append(p.Tokens, plain.Tokens...), append(p.Values, plain.Values...)
				p.Top, p.Offsets = append(p.Top, plain.Top...), append(p.Offsets, plain.Offsets...)
			}
		}
	}
	return s, lines.Err()
}

// quiet waits until no sequence is in flight and all KV pages are free.
func (r *rig) quiet() {
	require.Eventually(r.t, func() bool {
		m := r.eng.Stats().Models[0]
		return r.s.inFlight.Load() == 0 && m.Running+m.Waiting == 0 && m.Pages == m.FreePages+m.IdlePages
	}, 10*time.Second, 5*time.Millisecond, "something is still in flight")
}
