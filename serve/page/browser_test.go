package page

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

//go:embed testdata/agent.jsonl
var agentDeltas string

//go:embed testdata/chat.jsonl
var chatDeltas string

// fake is a server that streams recorded answers, as package serve does.
type fake struct {
	mu     sync.Mutex
	key    string           // "": none is asked for
	bodies []map[string]any // of the requests for answers
	hold   chan struct{}    // not nil: an answer waits for it before its last delta
	left   chan struct{}    // gets a value when a client goes away
	refuse string           // an error in place of an answer
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	key, hold, refuse := f.key, f.hold, f.refuse
	f.mu.Unlock()
	fail := func(status int, message string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": message}})
	}
	switch {
	case r.URL.Path == "/":
		ServeHTTP(w, r)
		return
	case key != "" && r.Header.Get("Authorization") != "Bearer "+key:
		fail(401, "the API key is missing or wrong")
		return
	case r.URL.Path == "/v1/models":
		_, _ = w.Write([]byte(`{"object":"list","data":[{"id":"small"},{"id":"small-agent"}]}`))
		return
	case r.URL.Path != "/v1/chat/completions" || refuse != "":
		fail(400, refuse)
		return
	}
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body)
	f.mu.Lock()
	f.bodies = append(f.bodies, body)
	f.mu.Unlock()
	deltas := chatDeltas
	if body["model"] == "small-agent" {
		deltas = agentDeltas
	}
	if body["continue_final_message"] == true {
		deltas = `{"content":" and that is all."}`
	}
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(format string, args ...any) {
		_, _ = fmt.Fprintf(w, "data: "+format+"\n\n", args...)
		_ = http.NewResponseController(w).Flush()
	}
	if body["model"] == "small-agent" {
		send(`{"choices":[],"zerosearch":{"method":"direct"}}`)
		send(`{"choices":[],"zerosearch":{"method":"agent"}}`)
	}
	if strings.Contains(fmt.Sprint(body["messages"]), "briefly") {
		deltas = strings.Join(append(strings.Split(agentDeltas, "\n")[:5], `{"content":"Anna Berg"}`), "\n")
	}
	list := strings.Split(strings.TrimSpace(deltas), "\n")
	for i, d := range list {
		if i == len(list)-1 && hold != nil {
			select {
			case <-hold:
			case <-r.Context().Done():
				f.left <- struct{}{}
				return
			}
		}
		send(`{"choices":[{"index":0,"delta":%s,"finish_reason":null}]}`, d)
		time.Sleep(3 * time.Millisecond)
	}
	end := ""
	if body["model"] == "small-agent" {
		end = `"zerosearch":{"method":"agent","turns":[{"documents":[{"id":1,"cited":true},{"id":2,"cited":false}]},` +
			`{"documents":[{"id":4,"cited":true}]}],"supported":false,"warning":"1 of the sentences does not stand in ` +
			`the documents: check it"},`
	}
	send(`{%s"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`, end)
	send(`{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":42,"total_tokens":52}}`)
	send("[DONE]")
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// last is the body of the latest request for an answer.
func (f *fake) last() map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bodies[len(f.bodies)-1]
}

const idle = "document.getElementById('stop').hidden"

func open(t *testing.T, f *fake) *browser {
	b := newBrowser(t)
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	b.look(1280, 900, "light")
	b.into(nil, "/url", map[string]string{"url": s.URL})
	return b
}

// ready waits for the list of models.
func (b *browser) ready() { b.until("!document.getElementById('model').disabled") }

// choose selects a model.
func (b *browser) choose(model string) {
	b.t.Helper()
	b.js(nil, `const m = document.getElementById('model');
m.value = arguments[0];
m.dispatchEvent(new Event('change'));
document.getElementById('message').focus()`, model)
}

// ask types a question and waits for the end of the answer.
func (b *browser) ask(question string) {
	b.t.Helper()
	b.keys(question + keyEnter)
	b.until("document.querySelectorAll('.mine').length > 0 && [...document.querySelectorAll('.mine')].at(-1).textContent === " +
		strings.TrimSpace(quoted(question)) + " && " + idle)
}

func quoted(s string) string {
	out, _ := json.Marshal(s)
	return string(out)
}

// An answer with its turns: nothing of it becomes HTML, marks lead to documents, and a reload keeps all.
func TestAgentInBrowser(t *testing.T) {
	f := &fake{hold: make(chan struct{}), left: make(chan struct{}, 9)}
	b := open(t, f)
	b.ready()
	b.shot("welcome-agent-1280-light")
	b.keys("Where was the architect of the bridge born?" + keyEnter)
	b.until("document.querySelectorAll('.document').length === 4 && document.querySelector('.answer')?.innerText.includes('Troms')")
	var live bool
	b.js(&live, "return document.querySelector('.message.live') !== null && document.querySelector('.message.live').ariaBusy === 'true'")
	require.True(t, live)
	b.shot("agent-live-1280-light")
	close(f.hold)
	b.until(idle)

	require.Equal(t, map[string]any{"model": "small-agent", "stream": true, "stream_options": map[string]any{
		"include_usage": true}, "messages": []any{map[string]any{"role": "user",
		"content": "Where was the architect of the bridge born?"}}}, f.last())
	check := func() {
		b.until("document.querySelectorAll('.document').length === 4")
		var got struct {
			Title, Strong, Text        string
			Cites, Cited, Images, Open int
			Items                      []string
		}
		b.js(&got, `const a = document.querySelector('.answer'), all = s => [...document.querySelectorAll('main ' + s)];
return { title: document.title, strong: a.querySelector('strong').textContent, text: a.innerText,
  cites: all('a.cite').length, cited: all('.document.cited').length,
  images: all('img').length + all('script').length + all('.passage b').length, open: all('.thought[open]').length, items: all('li').map(e => e.textContent) }`)
		require.Equal(t, "zerosearch", got.Title, "a script of a document has run")
		require.Equal(t, "Anna Berg", got.Strong)
		require.Zero(t, got.Images, "text became elements")
		require.Equal(t, 2, got.Cites, "[9] is no document")
		require.Equal(t, 2, got.Cited)
		require.Zero(t, got.Open, "thoughts are closed at the end")
		require.Equal(t, []string{"the lighthouse", "the <harbour> master's house [9]"}, got.Items)
		require.Contains(t, b.text(), "No answer by answering from memory: searching in turns instead.")
		require.Contains(t, b.text(), "1 of the sentences does not stand in the documents: check it.")
		require.Contains(t, got.Text, `<img src=x onerror="document.title='owned'"><script>`)
	}
	check()
	b.click("a.cite")
	var focus string
	b.js(&focus, "return document.activeElement.closest('.document[open]').querySelector('.passage').textContent")
	require.Contains(t, focus, "designed by Anna Berg")
	b.shot("agent-1280-light")
	b.js(nil, "document.querySelectorAll('.thought, .document').forEach(d => { d.open = true })")
	b.shot("agent-open-1280-light")

	b.into(nil, "/refresh", struct{}{})
	b.ready()
	check()
	var model string
	b.js(&model, "return document.getElementById('model').value")
	require.Equal(t, "small-agent", model)
	for _, w := range []struct {
		width, height int
		scheme        string
	}{{1280, 900, "dark"}, {390, 844, "light"}, {390, 844, "dark"}} {
		b.look(w.width, w.height, w.scheme)
		var over int
		b.js(&over, "return document.documentElement.scrollWidth - innerWidth")
		require.LessOrEqual(t, over, 0, "the page is wider than the window")
		b.js(nil, "scrollTo(0, document.documentElement.scrollHeight)")
		b.shot(fmt.Sprintf("agent-%d-%s", w.width, w.scheme))
	}
	b.js(nil, "scrollTo(0, 0)")
	b.shot("agent-top-390-dark")
	require.Empty(t, b.complaints())
}

// Everything that chat offers works by keys alone.
func TestKeysInBrowser(t *testing.T) {
	f := &fake{left: make(chan struct{}, 9)}
	b := open(t, f)
	b.ready()
	b.choose("small")
	b.shot("welcome-1280-light")
	b.ask("reverse a slice")
	text := b.text()
	for _, want := range []string{"Reversing a slice", "for i, j := 0", "1000", "Measure before you decide.", "small · 42 tokens"} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "```")
	require.NotContains(t, text, "<think>")
	for _, w := range []int{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			b.look(w, 900, scheme)
			b.shot(fmt.Sprintf("chat-%d-%s", w, scheme))
			var over int
			b.js(&over, "return document.documentElement.scrollWidth - innerWidth")
			require.LessOrEqual(t, over, 0)
		}
	}
	b.look(1280, 900, "light")

	// Escape stops, and the server learns it
	f.set(func() { f.hold = make(chan struct{}) })
	b.keys("and once more" + keyEnter)
	b.until("!" + idle)
	b.until("document.querySelectorAll('.answer').length === 2 && [...document.querySelectorAll('.answer')].at(-1).innerText.includes('standard')")
	b.shot("stop-1280-light")
	b.keys(keyEscape)
	b.until(idle)
	<-f.left
	require.Contains(t, b.text(), "Stopped.")
	messages := f.last()["messages"].([]any)
	require.Len(t, messages, 3)
	require.True(t, strings.HasPrefix(messages[1].(map[string]any)["content"].(string), "## Reversing"), "no thoughts")

	// the answer goes on
	f.set(func() { f.hold = nil })
	b.js(nil, "[...document.querySelectorAll('.tools button')].find(b => b.textContent === 'Go on').click()")
	b.until("document.body.innerText.includes('and that is all.') && " + idle)
	require.Equal(t, true, f.last()["continue_final_message"])

	// earlier questions, a new line, options, a new conversation
	b.keys(keyUp)
	var value string
	b.js(&value, "return document.getElementById('message').value")
	require.Equal(t, "and once more", value)
	b.keys(keyUp)
	b.keys(keyShift + keyEnter)
	b.keys("x")
	b.js(&value, "return document.getElementById('message').value")
	require.Equal(t, "reverse a slice\nx", value)
	b.keys(keyAlt + "o")
	b.until("document.getElementById('options').open && document.activeElement.name === 'temperature'")
	b.keys("0.5" + keyTab)
	b.keys("3.5" + keyTab)
	b.shot("options-1280-light")
	b.look(390, 844, "dark")
	b.shot("options-390-dark")
	b.look(1280, 900, "light")
	b.keys(keyAlt + "o")
	b.until("document.activeElement.id === 'message'")
	n := len(f.bodies)
	b.keys(keyEnter)
	b.until("document.activeElement.name === 'max'") // 3.5 tokens are none
	require.Len(t, f.bodies, n)
	b.js(nil, "const m = document.querySelector('[name=max]'); m.value = '35'; m.dispatchEvent(new Event('change')); document.getElementById('message').focus()")
	b.keys(keyEnter)
	b.until("document.querySelectorAll('.mine').length === 3 && " + idle)
	require.Equal(t, 0.5, f.last()["temperature"])
	require.Equal(t, 35., f.last()["max_tokens"])
	b.keys(keyAlt + "n")
	b.until("document.querySelectorAll('.message').length === 0 && !document.getElementById('welcome').hidden")
	b.into(nil, "/refresh", struct{}{})
	b.ready()
	var kept int
	b.js(&kept, "return document.querySelectorAll('.message').length")
	require.Zero(t, kept)

	// errors of the server are said, and what is left of a broken answer stays
	f.set(func() { f.refuse = "the prompt has 900 tokens: shorten it" })
	b.ask("long")
	b.until("document.body.innerText.includes('shorten it')")
	b.shot("refused-1280-light")
	f.set(func() { f.refuse = "" })
	b.js(nil, "[...document.querySelectorAll('.tools button')].find(b => b.textContent === 'Try again').click()")
	b.until("document.body.innerText.includes('Reversing') && " + idle)
	require.NotContains(t, b.text(), "shorten it")
}

// A key is asked for, again after a wrong one, stays in the tab, and is not in what the browser keeps for longer.
func TestKeyInBrowser(t *testing.T) {
	f := &fake{key: "sesame", left: make(chan struct{}, 9)}
	b := open(t, f)
	b.until("document.getElementById('keybox').open")
	b.shot("key-1280-light")
	b.look(390, 844, "dark")
	b.shot("key-390-dark")
	b.keys("wrong" + keyEnter)
	b.until("document.getElementById('keybox').open && document.body.innerText.includes('does not know this key')")
	b.keys("sesame" + keyEnter)
	b.ready()
	b.choose("small")
	b.ask("hello")
	require.Contains(t, b.text(), "Reversing")
	b.into(nil, "/refresh", struct{}{})
	b.ready()
	var kept string
	b.js(&kept, "return JSON.stringify(localStorage) + location.href")
	require.NotContains(t, kept, "sesame")
	require.Contains(t, kept, "hello")
}

// The document of a short answer, which has no marks, is named below it.
func TestShortAnswerInBrowser(t *testing.T) {
	b := open(t, &fake{left: make(chan struct{}, 9)})
	b.ready()
	b.ask("briefly")
	require.Contains(t, b.text(), "It stands in [1]")
	b.click("a.cite")
	b.until("document.activeElement.closest('.document[open]')?.textContent.includes('designed by Anna Berg')")
}

// The policy is in force: what it forbids fails in the browser.
func TestPolicyInBrowser(t *testing.T) {
	b := open(t, &fake{left: make(chan struct{}, 9)})
	b.ready()
	var got []string
	b.js(&got, `const out = [];
try { document.body.innerHTML = "<p>x</p>"; out.push("parsed"); } catch { out.push("no HTML"); }
const s = document.createElement("script");
try { s.textContent = "document.title = 'owned'"; document.body.append(s); } catch { /* forbidden */ }
out.push(document.title);
return out`)
	require.Equal(t, []string{"no HTML", "zerosearch"}, got)
	require.NotEmpty(t, b.complaints())
}

// The order of the tab key: skip link, model, new conversation, options, message box.
func TestFocusOrderInBrowser(t *testing.T) {
	b := open(t, &fake{left: make(chan struct{}, 9)})
	b.ready()
	b.js(nil, "document.activeElement.blur(); document.body.tabIndex = -1; document.body.focus()")
	var order bytes.Buffer
	for range 6 {
		b.keys(keyTab)
		var at string
		b.js(&at, "const a = document.activeElement; return a.id || a.className || a.tagName")
		order.WriteString(at + " ")
	}
	require.Equal(t, "skip model new SUMMARY message send ", order.String())
}
