package serve

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zerosearch-go/zerosearch/engine"
)

// metrics are the server's counters since its start. engine.Stats has the engine's.
type metrics struct {
	mu       sync.Mutex
	requests map[route]int64
	seconds  map[string]*histogram // duration of requests, by path
	first    histogram             // seconds to the first token of a choice
	rejected atomic.Int64
	cut      atomic.Int64 // choices that were cancelled or failed
	prompt   atomic.Int64 // prompt tokens
	sampled  atomic.Int64 // generated tokens
}

type route struct {
	path   string
	status int
}

func (m *metrics) init() { m.requests, m.seconds = map[route]int64{}, map[string]*histogram{} }

// request counts a request and its duration. Status 0 means that the client disconnected: it is counted as 499, as
// nginx does. All unknown paths are counted as "other".
func (m *metrics) request(path string, known map[string]string, status int, d time.Duration) {
	if _, ok := known[path]; !ok {
		path = "other"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests[route{path, cmp.Or(status, 499)}]++
	h := m.seconds[path]
	if h == nil {
		h = &histogram{}
		m.seconds[path] = h
	}
	h.observe(d)
}

// count adds the tokens of a finished choice.
func (s *Server) count(c *call, p piece) {
	if p.choice%c.choices == 0 {
		s.metrics.prompt.Add(int64(len(c.prompts[p.choice/c.choices])))
	}
	s.metrics.sampled.Add(int64(len(p.result.IDs)))
}

// cutOff counts a choice that was cancelled or failed after n tokens.
func (m *metrics) cutOff(n int) {
	m.cut.Add(1)
	m.sampled.Add(int64(n))
}

// typicalDuration is the median duration of a chat or completion request, between 1 and 60 seconds. Retry-After uses
// it.
func (m *metrics) typicalDuration() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := time.Second
	for path, h := range m.seconds {
		if strings.HasSuffix(path, "completions") {
			d = max(d, h.median())
		}
	}
	return min(d, time.Minute)
}

// bounds are the upper bounds of the histograms' buckets, in seconds.
var bounds = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300}

type histogram struct {
	mu     sync.Mutex
	counts [16]int64 // one a bucket; the last one counts durations above all bounds
	sum    float64   // seconds
	n      int64
}

func (h *histogram) observe(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, _ := slices.BinarySearch(bounds, d.Seconds())
	h.counts[i]++
	h.sum += d.Seconds()
	h.n++
}

// median is the smallest bound that at least half of the durations do not exceed; 0 if there is none.
func (h *histogram) median() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := int64(0)
	for i, c := range h.counts[:len(bounds)] {
		if seen += c; 2*seen > h.n {
			return time.Duration(bounds[i] * float64(time.Second))
		}
	}
	return 0
}

// text writes metrics in Prometheus' exposition format, version 0.0.4.
type text struct{ bytes.Buffer }

// family begins a metric.
func (t *text) family(name, kind, help string) {
	fmt.Fprintf(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// sample writes one value; labels are pairs of a name and a value.
func (t *text) sample(name string, v float64, labels ...string) {
	t.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		t.WriteByte(sep)
		fmt.Fprintf(t, `%s="%s"`, labels[i], escape.Replace(labels[i+1]))
	}
	if len(labels) > 0 {
		t.WriteByte('}')
	}
	t.WriteByte(' ')
	t.WriteString(strconv.FormatFloat(v, 'g', -1, 64))
	t.WriteByte('\n')
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (t *text) one(name, kind, help string, v float64) {
	t.family(name, kind, help)
	t.sample(name, v)
}

func (t *text) histogram(name string, h *histogram, labels ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := int64(0)
	for i, c := range h.counts {
		le := "+Inf"
		if seen += c; i < len(bounds) {
			le = strconv.FormatFloat(bounds[i], 'g', -1, 64)
		}
		t.sample(name+"_bucket", float64(seen), append(slices.Clone(labels), "le", le)...)
	}
	t.sample(name+"_sum", h.sum, labels...)
	t.sample(name+"_count", float64(h.n), labels...)
}

func (s *Server) writeMetrics(w http.ResponseWriter, _ *http.Request) {
	var t text
	m := &s.metrics
	m.mu.Lock()
	t.family("zerosearch_http_requests_total", "counter", "Requests by path and status; 499: the client went away.")
	for _, r := range slices.SortedFunc(maps.Keys(m.requests), func(a, b route) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.status, b.status))
	}) {
		t.sample("zerosearch_http_requests_total", float64(m.requests[r]), "path", r.path, "status",
			strconv.Itoa(r.status))
	}
	t.family("zerosearch_http_request_seconds", "histogram", "Duration of requests.")
	for _, path := range slices.Sorted(maps.Keys(m.seconds)) {
		t.histogram("zerosearch_http_request_seconds", m.seconds[path], "path", path)
	}
	m.mu.Unlock()
	t.family("zerosearch_time_to_first_token_seconds", "histogram",
		"From a request's arrival to the first token of a choice.")
	t.histogram("zerosearch_time_to_first_token_seconds", &m.first)
	t.one("zerosearch_rejected_total", "counter", "Requests refused because the queue was full.",
		float64(m.rejected.Load()))
	t.one("zerosearch_cut_off_total", "counter", "Choices that were cancelled or failed.", float64(m.cut.Load()))
	t.one("zerosearch_prompt_tokens_total", "counter", "Prompt tokens of finished choices, each prompt once.",
		float64(m.prompt.Load()))
	t.one("zerosearch_completion_tokens_total", "counter", "Tokens sampled for clients.", float64(m.sampled.Load()))
	t.one("zerosearch_sequences_in_flight", "gauge", "Sequences running or waiting.", float64(s.inFlight.Load()))
	t.one("zerosearch_sequences_limit", "gauge", "Maximum number of sequences in flight.", float64(s.o.MaxSequences))
	t.engine(s.eng.Stats())
	t.one("go_goroutines", "gauge", "Goroutines.", float64(runtime.NumGoroutine()))
	if rss := residentBytes(); rss > 0 {
		t.one("process_resident_memory_bytes", "gauge", "Resident memory, including mapped files.", float64(rss))
	}
	t.one("process_start_time_seconds", "gauge", "Start of the server, seconds since 1970.",
		float64(s.began.UnixMilli())/1e3)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(t.Bytes())
}

// engine writes the engine's counters, by model.
func (t *text) engine(st engine.Stats) {
	for _, f := range []struct {
		name, kind, help string
		value            func(m *engine.ModelStats) float64
	}{
		{"waiting", "gauge", "Sequences waiting in the engine.",
			func(m *engine.ModelStats) float64 { return float64(m.Waiting) }},
		{"running", "gauge", "Sequences running in the engine.",
			func(m *engine.ModelStats) float64 { return float64(m.Running) }},
		{"kv_pages", "gauge", "Pages of the KV cache.", func(m *engine.ModelStats) float64 { return float64(m.Pages) }},
		{"kv_pages_free", "gauge", "Free pages.", func(m *engine.ModelStats) float64 { return float64(m.FreePages) }},
		{"kv_pages_idle", "gauge", "Pages that no sequence uses, kept for prefix reuse.",
			func(m *engine.ModelStats) float64 { return float64(m.IdlePages) }},
		{"kv_bytes", "gauge", "Memory of the KV cache.", func(m *engine.ModelStats) float64 {
			return float64(m.KVBytes)
		}},
		{"workspace_bytes", "gauge", "Memory of the workspace for forward passes.",
			func(m *engine.ModelStats) float64 { return float64(m.WorkspaceBytes) }},
		{"steps_total", "counter", "Forward passes.", func(m *engine.ModelStats) float64 { return float64(m.Steps) }},
		{"busy_seconds_total", "counter", "Time spent in forward passes.",
			func(m *engine.ModelStats) float64 { return m.Busy.Seconds() }},
		{"prefilled_tokens_total", "counter", "Prompt tokens computed.",
			func(m *engine.ModelStats) float64 { return float64(m.Prefilled) }},
		{"cached_tokens_total", "counter", "Prompt tokens found in the prefix cache.",
			func(m *engine.ModelStats) float64 { return float64(m.Cached) }},
		{"decoded_tokens_total", "counter", "Sampled tokens computed.",
			func(m *engine.ModelStats) float64 { return float64(m.Decoded) }},
		{"recomputed_tokens_total", "counter", "Tokens computed again after their pages were evicted.",
			func(m *engine.ModelStats) float64 { return float64(m.Recomputed) }},
		{"sampled_tokens_total", "counter", "Tokens sampled.",
			func(m *engine.ModelStats) float64 { return float64(m.Sampled) }},
		{"scored_tokens_total", "counter", "Tokens scored.",
			func(m *engine.ModelStats) float64 { return float64(m.Scored) }},
		{"preemptions_total", "counter", "Sequences preempted: moved from running to waiting.",
			func(m *engine.ModelStats) float64 { return float64(m.Preemptions) }},
		{"evictions_total", "counter", "Pages evicted.", func(m *engine.ModelStats) float64 {
			return float64(m.Evictions)
		}},
		{"page_copies_total", "counter", "Pages copied.", func(m *engine.ModelStats) float64 {
			return float64(m.Copies)
		}},
	} {
		name := "zerosearch_engine_" + f.name
		t.family(name, f.kind, f.help)
		for i := range st.Models {
			t.sample(name, f.value(&st.Models[i]), "model", st.Models[i].Name)
		}
	}
}
