package serve

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	sampleLine = regexp.MustCompile(
		`^([a-z_]+)(\{[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? (-?[0-9.e+-]+|\+Inf)$`)
	helpLine = regexp.MustCompile(`^# (HELP|TYPE) ([a-z_]+) (.+)$`)
)

// Every line is in Prometheus' text format, every sample has its type before it, and bucket counts rise up to the
// total.
func TestMetrics(t *testing.T) {
	r := newRig(t, Options{})
	r.post(textPath, object{"prompt": "Whales", "max_tokens": 7, "n": 2, "seed": 1})
	r.do(t.Context(), "GET", "/nowhere/"+strings.Repeat("x", 100), nil)
	status, h, text := r.do(t.Context(), "GET", "/metrics", nil)
	require.Equal(t, 200, status)
	require.Equal(t, "text/plain; version=0.0.4; charset=utf-8", h.Get("Content-Type"))
	values, types := map[string]float64{}, map[string]string{}
	last := 0.0
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if m := helpLine.FindStringSubmatch(line); m != nil {
			if m[1] == "TYPE" {
				require.NotContains(t, types, m[2])
				types[m[2]] = m[3]
			}
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		require.NotNil(t, m, "%q", line)
		v, err := strconv.ParseFloat(m[3], 64)
		require.NoError(t, err)
		base := m[1]
		for _, end := range []string{"_bucket", "_sum", "_count"} {
			if b, ok := strings.CutSuffix(base, end); ok && types[b] == "histogram" {
				base = b
			}
		}
		require.Contains(t, types, base, "%q", line)
		if strings.HasSuffix(m[1], "_bucket") {
			if strings.Contains(m[2], `le="0.005"`) {
				last = 0
			}
			require.GreaterOrEqual(t, v, last)
			last = v
		} else if strings.HasSuffix(m[1], "_count") && types[base] == "histogram" {
			require.Equal(t, last, v, "%q", line)
		}
		values[m[1]+m[2]] = v
	}
	for name, want := range map[string]float64{
		`zerosearch_http_requests_total{path="/v1/completions",status="200"}`: 1,
		`zerosearch_http_requests_total{path="other",status="404"}`:           1,
		`zerosearch_http_request_seconds_count{path="/v1/completions"}`:       1,
		`zerosearch_time_to_first_token_seconds_count`:                        2,
		`zerosearch_completion_tokens_total`:                                  14,
		`zerosearch_sequences_in_flight`:                                      0,
		`zerosearch_sequences_limit`:                                          512,
		`zerosearch_engine_sampled_tokens_total{model="m"}`:                   14,
		`zerosearch_engine_kv_pages{model="m"}`:                               1024,
	} {
		require.Contains(t, values, name)
		require.Equal(t, want, values[name], name)
	}
	require.Positive(t, values["go_goroutines"])
}

func TestHistogram(t *testing.T) {
	var h histogram
	require.Zero(t, h.median())
	for _, d := range []time.Duration{time.Millisecond, 2 * time.Second, 2 * time.Second, time.Hour} {
		h.observe(d)
	}
	require.Equal(t, 2500*time.Millisecond, h.median())
	require.EqualValues(t, 1, h.counts[0])
	require.EqualValues(t, 1, h.counts[len(bounds)])
	var out text
	out.sample("x", 1, "a", "q\"\\\n")
	require.Equal(t, "x{a=\"q\\\"\\\\\\n\"} 1\n", out.String())
}

// The counters show that the second turn of a conversation finds the first one in the prefix cache.
func TestNextTurnIsCached(t *testing.T) {
	r := newRig(t, Options{})
	messages := []object{{"role": "user", "content": strings.Repeat("whale ", 100)}}
	a := r.post(chatPath, object{"messages": messages, "max_tokens": 4, "temperature": 0})
	require.Zero(t, a.Usage.Details.Cached)
	messages = append(messages, object{"role": "assistant", "content": "ok"}, object{"role": "user", "content": "more"})
	before := r.eng.Stats().Models[0].Prefilled
	b := r.post(chatPath, object{"messages": messages, "max_tokens": 4, "temperature": 0})
	require.Greater(t, b.Usage.Details.Cached, 90)
	require.EqualValues(t, b.Usage.Prompt-b.Usage.Details.Cached, r.eng.Stats().Models[0].Prefilled-before)
}
