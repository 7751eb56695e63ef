package serve

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// For any body the status is 200 or 4xx.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		`{"messages":[{"role":"user","content":"x"}],"max_tokens":1,"seed":1}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}],"max_completion_tokens":1,"stop":["a"],"logprobs":true,"top_logprobs":2}`,
		`{"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f","arguments":{}}}]}],"max_tokens":1}`,
		`{"prompt":[[1,2],[3]],"max_tokens":1,"stream":true,"n":2,"logprobs":1}`,
		`{"prompt":"\ud800","max_tokens":1,"temperature":1e300}`,
		`{"prompt":["a"],"model":"tiny","max_tokens":1,"stop":null,"stream_options":null}`,
		`{"prompt":[1],"logit_bias":{"5":1},"max_tokens":1}`,
		`{"prompt":"x","max_tokens":1.0,"min_tokens":1,"stop_token_ids":[1,2.0],"repetition_penalty":1.5,"frequency_penalty":-1,"stop":["a","b"],"ignore_eos":true}`,
		`{"messages":[{"role":"developer","content":["a",{"type":"refusal","refusal":"b"}],"name":"n"},{"role":"assistant","content":"c"}],"max_tokens":1,"continue_final_message":true,"chat_template_kwargs":{"enable_thinking":false,"x":[1,{"y":null}]}}`,
	} {
		f.Add(s)
	}
	r := newServer(f, Options{MaxSequences: 8, MaxBody: 4096})
	f.Fuzz(func(t *testing.T, body string) {
		if strings.Contains(body, "max_") && !strings.Contains(body, `tokens":1`) {
			t.Skip("long answers are not the point")
		}
		for _, path := range []string{chatPath, textPath} {
			w := httptest.NewRecorder()
			r.s.ServeHTTP(w, httptest.NewRequest("POST", path, strings.NewReader(body)))
			if w.Code != 200 && w.Code/100 != 4 {
				t.Fatalf("%d: %s", w.Code, w.Body)
			}
			if n := r.s.inFlight.Load(); n != 0 {
				t.Fatalf("%d sequences left behind", n)
			}
		}
	})
}
