package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Bad requests get an error in OpenAI's form that says what to do. A good request at the same time gets its usual
// answer.
func TestBadRequests(t *testing.T) {
	r := newRig(t, Options{MaxBody: 1 << 20, MaxSequences: 8})
	good := object{"prompt": "Whales", "max_tokens": 8, "seed": 1, "n": 2}
	want := r.post(textPath, good).Choices
	long := strings.Repeat("whale ", 600)
	chat := func(extra string) string { return `{"messages":[{"role":"user","content":"x"}]` + extra + `}` }
	text := func(extra string) string { return `{"prompt":"x"` + extra + `}` }
	for _, c := range []struct {
		method, path, body string
		status             int
		param, message     string
	}{
		{"POST", chatPath, "", 400, "", "not a JSON object"},
		{"POST", chatPath, "[]", 400, "", "not a JSON object"},
		{"POST", chatPath, "{\"messages\":", 400, "", "not valid JSON"},
		{"POST", chatPath, chat("") + "{}", 400, "", "not valid JSON"},
		{"POST", chatPath, chat(`,"user":"` + "\xff\xfe" + `"`), 400, "", "not valid UTF-8"},
		{"POST", chatPath, strings.Repeat(`{"messages":[`, 60000), 400, "", "not valid JSON"},
		{"POST", chatPath, "{}", 400, "messages", "0 messages"},
		{"POST", chatPath, `{"messages":"x"}`, 400, "messages", "must be a list of messages, not \"x\""},
		{"POST", chatPath, `{"messages":[3]}`, 400, "messages[0]", "must be a message, not 3"},
		{"POST", chatPath, `{"messages":[{"content":"x"}]}`, 400, "messages[0].role", "no role"},
		{"POST", chatPath, `{"messages":[{"role":"user","content":{"a":1}}]}`, 400, "messages[0].content",
			"a string or a list of parts, not an object"},
		{"POST", chatPath, `{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, 400,
			"messages[0].content[0]", "\"image_url\" is not supported: only text"},
		{"POST", chatPath, chat(`,"model":"gpt"`), 404, "model", "use tiny"},
		{"POST", chatPath, chat(`,"max_tokens":0`), 400, "max_tokens", "1 at least"},
		{"POST", chatPath, chat(`,"max_completion_tokens":-5`), 400, "max_completion_tokens", "1 at least"},
		{"POST", chatPath, chat(`,"max_tokens":1.5`), 400, "max_tokens", "must be an integer, not 1.5"},
		{"POST", chatPath, chat(`,"temperature":-1`), 400, "temperature", "0 (greedy)"},
		{"POST", chatPath, chat(`,"temperature":1e-9`), 400, "temperature", "0 (greedy)"},
		{"POST", chatPath, chat(`,"top_p":0`), 400, "top_p", "above 0"},
		{"POST", chatPath, chat(`,"n":0`), 400, "n", "at least 1"},
		{"POST", chatPath, chat(`,"n":9`), 400, "n", "runs at most 8 at once"},
		{"POST", chatPath, chat(`,"n":9000000000000000000`), 400, "n", "runs at most 8 at once"},
		{"POST", chatPath, chat(`,"stop":""`), 400, "stop", "empty"},
		{"POST", chatPath, chat(`,"stop":[1]`), 400, "stop", "a string or a list of strings"},
		{"POST", chatPath, chat(`,"top_logprobs":2`), 400, "top_logprobs", "logprobs: true"},
		{"POST", chatPath, chat(`,"logprobs":true,"top_logprobs":21`), 400, "top_logprobs", "between 0 and 20"},
		{"POST", chatPath, chat(`,"tools":[{}]`), 400, "tools[0].type", `must be "function"`},
		{"POST", chatPath, chat(`,"tools":[{"type":"function","function":{"name":"f"}}]`), 400, "tools",
			"cannot call tools"},
		{"POST", chatPath, chat(`,"response_format":{"type":"grammar"}`), 400, "response_format.type",
			"must be text, json_object or json_schema: others are not supported"},
		{"POST", chatPath, chat(`,"stream_options":{}`), 400, "stream_options", "stream: true"},
		{"POST", chatPath, `{"messages":[{"role":"user","content":"` + long + `"}]}`, 400, "messages",
			"the context of model tiny, 512 tokens"},
		{"POST", chatPath, `{"messages":[{"role":"user","content":"` + strings.Repeat("x", 2<<20) + `"}]}`, 413, "",
			"longer than 1048576 bytes"},
		{"POST", textPath, "{}", 400, "prompt", "missing"},
		{"POST", textPath, `{"prompt":""}`, 400, "prompt", "empty"},
		{"POST", textPath, `{"prompt":[]}`, 400, "prompt", "empty"},
		{"POST", textPath, `{"prompt":[[]]}`, 400, "prompt", "empty"},
		{"POST", textPath, `{"prompt":["a",1]}`, 400, "prompt", "must be a string, a list"},
		{"POST", textPath, `{"prompt":[1,-1]}`, 400, "prompt", "outside the model's vocabulary"},
		{"POST", textPath, `{"prompt":[1,49152]}`, 400, "prompt", "outside the model's vocabulary"},
		{"POST", textPath, `{"prompt":[1,4915200000000]}`, 400, "prompt", "must be a string, a list"},
		{"POST", textPath, `{"prompt":"` + long + `"}`, 400, "prompt", "the context of model tiny, 512 tokens"},
		{"POST", textPath, text(`,"max_tokens":0`), 400, "max_tokens", "1 at least"},
		{"POST", textPath, text(`,"logprobs":-1`), 400, "logprobs", "between 0 and 20"},
		{"POST", textPath, text(`,"suffix":"y"`), 400, "suffix", "not supported"},
		{"GET", chatPath, "", 405, "", "takes POST, not GET"},
		{"POST", "/v1/rerank", "{}", 404, "", "no /v1/rerank here"},
	} {
		status, h, body := r.do(t.Context(), c.method, c.path, []byte(c.body))
		require.Equal(t, c.status, status, "%.80q: %s", c.body, body)
		require.Equal(t, "application/json", h.Get("Content-Type"))
		var e struct{ Error apiError }
		require.NoError(t, json.Unmarshal(body, &e))
		require.Equal(t, c.param, e.Error.Param, "%.80q: %s", c.body, body)
		require.Contains(t, e.Error.Message, c.message)
		require.NotEmpty(t, e.Error.Type)
	}
	require.Equal(t, want, r.post(textPath, good).Choices)
	require.Zero(t, r.s.inFlight.Load())
}

// A panic gives status 500 to its own request only.
func TestPanicIsAnAnswer(t *testing.T) {
	r := newRig(t, Options{})
	broken := r.m
	broken.ID, broken.Config = "broken", nil
	broken.context = context0
	r.s.models = append(r.s.models, &broken)
	status, _, text := r.do(t.Context(), "POST", textPath, []byte(`{"model":"broken","prompt":"x"}`))
	require.Equal(t, 500, status)
	require.Contains(t, string(text), "internal error")
	require.NotContains(t, string(text), "goroutine")
	r.post(textPath, object{"prompt": "x"})
}

func TestAPIKey(t *testing.T) {
	r := newRig(t, Options{APIKey: "sesame"})
	for header, want := range map[string]int{"": 401, "Bearer open": 401, "Bearer sesam": 401, "Bearer sesame": 200,
		"bearer sesame": 200, "BEARER  sesame ": 200, "Basic sesame": 401, "sesame": 401, "Bearer": 401,
		"Bearer SESAME": 401} {
		status, h, text := r.do(t.Context(), "GET", "/v1/models", nil, "Authorization", header)
		require.Equal(t, want, status)
		if want == 401 {
			require.Equal(t, "Bearer", h.Get("WWW-Authenticate"))
			require.Contains(t, string(text), `"code":"invalid_api_key"`)
		}
	}
	status, _, _ := r.do(t.Context(), "GET", "/metrics", nil)
	require.Equal(t, 401, status)
	status, _, text := r.do(t.Context(), "GET", "/health", nil)
	require.Equal(t, 200, status)
	require.JSONEq(t, `{"status":"ok"}`, string(text))
	status, h, text := r.do(t.Context(), "GET", "/", nil)
	require.Equal(t, 200, status, "the page asks its user for the key")
	require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'")
	require.NotContains(t, string(text), "sesame")
	status, h, _ = r.do(t.Context(), "POST", "/", nil)
	require.Equal(t, 405, status)
	require.Equal(t, "GET", h.Get("Allow"))
}

// endless starts a request that runs until its context ends.
func (r *rig) endless(ctx context.Context, n int) *bufio.Reader {
	q, err := http.NewRequestWithContext(ctx, "POST", r.url+textPath, bytes.NewReader(marshal(r.t,
		object{"prompt": "Whales", "n": n, "max_tokens": 450, "stream": true, "logprobs": 2, "seed": 1})))
	require.NoError(r.t, err)
	resp, err := r.http.Do(q)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { resp.Body.Close() })
	require.Equal(r.t, 200, resp.StatusCode)
	b := bufio.NewReader(resp.Body)
	_, err = b.ReadString('\n')
	require.NoError(r.t, err)
	return b
}

// Beyond the limit a request gets 429. A client that disconnects frees its place and its pages at once.
func TestQueueIsBounded(t *testing.T) {
	// with one thread the engine finishes before it notices the client
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0))))
	r := newRig(t, Options{MaxSequences: 4})
	want := r.post(textPath, object{"prompt": "The sea", "seed": 9, "max_tokens": 20}).Choices
	ctx, leave := context.WithCancel(t.Context())
	r.endless(ctx, 3)
	status, h, text := r.do(t.Context(), "POST", textPath, []byte(`{"prompt":"x","n":2}`))
	require.Equal(t, 429, status)
	require.Contains(t, string(text), `"code":"rate_limit_exceeded"`)
	after, err := strconv.Atoi(h.Get("Retry-After"))
	require.NoError(t, err)
	require.True(t, after >= 1 && after <= 60)
	require.Equal(t, want, r.post(textPath, object{"prompt": "The sea", "seed": 9, "max_tokens": 20}).Choices,
		"beside the others")
	leave()
	r.quiet()
	rounds := 1
	// on a busy machine the engine may finish before it notices the client
	for ; r.s.metrics.cut.Load() == 0 && rounds < 20; rounds++ {
		ctx, leave := context.WithCancel(t.Context())
		r.endless(ctx, 3)
		leave()
		r.quiet()
	}
	require.EqualValues(t, 3, r.s.metrics.cut.Load())
	r.post(textPath, object{"prompt": "x", "n": 4})
	require.Less(t, r.eng.Stats().Models[0].Sampled, int64(rounds*3*450+2*20+4*16), "it was cancelled")
	_, _, text = r.do(t.Context(), "GET", "/metrics", nil)
	require.Contains(t, string(text), "zerosearch_rejected_total 1\n")
	require.Contains(t, string(text), `zerosearch_http_requests_total{path="/v1/completions",status="429"} 1`+"\n")
}

// raw sends text over a new TCP connection.
func (r *rig) raw(text string) net.Conn {
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	require.NoError(r.t, err)
	r.t.Cleanup(func() { c.Close() })
	_, err = io.WriteString(c, text)
	require.NoError(r.t, err)
	require.NoError(r.t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	return c
}

// A client that does not send its body, or does not read the response, is disconnected.
func TestSlowClients(t *testing.T) {
	r := newServer(t, Options{ReadTimeout: 200 * time.Millisecond, WriteTimeout: 200 * time.Millisecond})
	h := httptest.NewUnstartedServer(r.s)
	h.Listener = narrow{h.Listener}
	h.Start()
	t.Cleanup(h.Close)
	r.url, r.http = h.URL, h.Client()

	c := r.raw("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	text, err := io.ReadAll(c)
	require.NoError(t, err, "the connection is closed")
	require.Contains(t, string(text), "HTTP/1.1 408 ")
	require.Contains(t, string(text), "did not arrive within 200ms")

	body := marshal(t, object{"prompt": "Whales", "n": 16, "max_tokens": 450, "stream": true, "logprobs": 20})
	c = r.raw(fmt.Sprintf("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	require.NoError(t, c.(*net.TCPConn).SetReadBuffer(4096))
	require.Eventually(t, func() bool { return r.s.inFlight.Load() == 16 }, 10*time.Second, time.Millisecond)
	r.quiet()
	require.Positive(t, r.s.metrics.cut.Load(), "it was cut off, not finished")

	// ReadTimeout does not limit the time to answer.
	slow := r.post(textPath, object{"prompt": "Whales", "n": 16, "max_tokens": 400, "seed": 1})
	require.Len(t, slow.Choices, 16)
}

// narrow is a listener whose connections have small buffers, so that writes to a client that does not read block.
type narrow struct{ net.Listener }

func (n narrow) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return c, err
}

// listen starts Serve on a new listener. It returns a function that stops it, and the channel of its error.
func (r *rig) listen() (stop context.CancelFunc, ended chan error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(r.t, err)
	ctx, stop := context.WithCancel(context.Background())
	r.t.Cleanup(stop)
	r.url, r.http = "http://"+l.Addr().String(), &http.Client{}
	ended = make(chan error, 1)
	go func() { ended <- r.s.Serve(ctx, l) }()
	return stop, ended
}

// A stopping server refuses new requests and finishes those in flight.
func TestDrain(t *testing.T) {
	r := newServer(t, Options{})
	stop, ended := r.listen()
	b := r.endless(t.Context(), 2)
	stop()
	require.Eventually(t, r.s.draining.Load, time.Minute, time.Millisecond)
	_, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	require.Error(t, err)
	w := httptest.NewRecorder() // stands for a connection that is still open
	r.s.ServeHTTP(w, httptest.NewRequest("POST", textPath, strings.NewReader(`{"prompt":"x"}`)))
	require.Equal(t, 503, w.Code)
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	w = httptest.NewRecorder()
	r.s.ServeHTTP(w, httptest.NewRequest("GET", "/health", nil))
	require.Equal(t, 503, w.Code)
	s, err := readStream(b)
	require.NoError(t, err)
	require.True(t, s.done)
	require.Equal(t, map[int]string{0: "length", 1: "length"}, s.finish)
	require.NoError(t, <-ended)
}

// Requests that do not finish within DrainTimeout are cancelled, and the client gets an error.
func TestDrainEnds(t *testing.T) {
	r := newServer(t, Options{DrainTimeout: 50 * time.Millisecond, MaxSequences: 64})
	stop, ended := r.listen()
	b := r.endless(t.Context(), 64)
	stop()
	require.ErrorContains(t, <-ended, "cut off after 50ms")
	s, err := readStream(b)
	require.False(t, s.done, "%v", err)
	r.quiet()
}

// Concurrent requests get the same answers as sequential ones.
func TestCrowd(t *testing.T) {
	r := newRig(t, Options{})
	ask := func(i int) object {
		return object{"messages": []object{{"role": "user", "content": fmt.Sprintf("question %d", i%10)}}, "seed": i,
			"max_tokens": 5 + i%17, "stop": []string{"the", "a "}}
	}
	want := make([]streamed, 40)
	for i := range want {
		want[i] = r.stream(chatPath, ask(i))
	}
	var wg sync.WaitGroup
	for i := range want {
		wg.Go(func() {
			got := r.stream(chatPath, ask(i))
			if got.text[0] != want[i].text[0] || got.finish[0] != want[i].finish[0] {
				t.Errorf("request %d: %q, alone %q", i, got.text[0], want[i].text[0])
			}
		})
	}
	wg.Wait()
	r.quiet()
}
