package page

import (
	"fmt"
	"math"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/csp"
)

// The page is one file with its policy, and names no address of another machine.
func TestNothingIsLoaded(t *testing.T) {
	w := httptest.NewRecorder()
	ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	body, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
	require.True(t, strings.HasPrefix(policy, "default-src 'none'; "), policy)
	require.NotContains(t, policy, "unsafe")
	require.NotContains(t, policy, "*")
	for kind, text := range map[string]string{"script": script, "style": css} {
		require.Equal(t, 1, strings.Count(body, "<"+kind+">"+text+"</"+kind+">"))
		require.Contains(t, policy, kind+"-src "+csp.Hash(text)+";")
	}
	require.NotContains(t, body, "STYLE")
	require.NotContains(t, body, "SCRIPT")
	plain := strings.ReplaceAll(body, "http:%2F%2Fwww.w3.org%2F2000%2Fsvg", "") // the name of SVG, in the icon
	require.Empty(t, regexp.MustCompile(`(?i)https?:|//\w+\.\w+|url\(|@import|\bsrc=|srcset|\bon\w+="`).FindString(plain))
	require.Equal(t, []string{`href="data:`, `href="#message`}, regexp.MustCompile(`href="(?:data:|[^"]*)`).FindAllString(html, -1))
	require.Empty(t, regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|DOMParser`).
		FindString(script), "text becomes elements by textContent only")
	require.NotContains(t, strings.ToLower(script+css), "</s", "it would end the script or the style")
}

// Every id that the scripts use is on the page, and every field has a label.
func TestElements(t *testing.T) {
	ids := map[string]bool{"notice": true} // made by the script
	for _, m := range regexp.MustCompile(`\bid="([^"]+)"`).FindAllStringSubmatch(html, -1) {
		require.False(t, ids[m[1]], "id %s is there twice", m[1])
		ids[m[1]] = true
	}
	used := regexp.MustCompile(`(?:\$|getElementById)\("([^"]+)"\)`).FindAllStringSubmatch(script, -1)
	require.Greater(t, len(used), 20)
	for _, m := range used {
		require.True(t, ids[m[1]], m[1])
	}
	inLabel := regexp.MustCompile(`(?s)<label[^>]*>[^<]*<(?:input|select|textarea)`).ReplaceAllString(html, "")
	for _, m := range regexp.MustCompile(`<(?:input|select|textarea)[^>]*>`).FindAllString(inLabel, -1) {
		id := regexp.MustCompile(`id="([^"]+)"`).FindStringSubmatch(m)
		require.NotNil(t, id, m)
		require.Contains(t, html, `<label for="`+id[1]+`"`)
	}
}

// Texts have a contrast of at least 4.5 to 1 and borders of fields 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11), in both
// schemes.
func TestContrast(t *testing.T) {
	light, dark, ok := strings.Cut(css, "prefers-color-scheme: dark")
	require.True(t, ok)
	dark, _, _ = strings.Cut(dark, "* {")
	light, _, _ = strings.Cut(light, "@media")
	for name, text := range map[string]string{"light": light, "dark": dark} {
		colour := map[string]string{}
		for _, m := range regexp.MustCompile(`--([\w-]+): #([0-9a-f]+);`).FindAllStringSubmatch(text, -1) {
			colour[m[1]] = m[2]
		}
		require.Len(t, colour, 13)
		for _, c := range []struct {
			front, behind string
			least         float64
		}{{"ink", "page card mine tint", 4.5}, {"quiet", "page card tint", 4.5}, {"accent", "page card", 4.5},
			{"on-accent", "accent", 4.5}, {"think", "page", 4.5}, {"good", "card", 4.5}, {"bad", "page", 4.5},
			{"page", "bad", 4.5}, {"field", "page card", 3}} {
			for _, behind := range strings.Fields(c.behind) {
				require.GreaterOrEqual(t, contrast(t, colour[c.front], colour[behind]), c.least,
					"%s: %s on %s", name, c.front, behind)
			}
		}
	}
	require.InDelta(t, 21, contrast(t, "000", "ffffff"), 1e-9)
}

// contrast is the ratio that WCAG defines.
func contrast(t *testing.T, a, b string) float64 {
	luminance := func(hex string) (sum float64) {
		if len(hex) == 3 {
			hex = fmt.Sprintf("%[1]c%[1]c%[2]c%[2]c%[3]c%[3]c", hex[0], hex[1], hex[2])
		}
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			v, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
			require.NoError(t, err)
			c := float64(v) / 255
			if c <= 0.04045 {
				c /= 12.92
			} else {
				c = math.Pow((c+0.055)/1.055, 2.4)
			}
			sum += weight * c
		}
		return sum
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// runScript runs JavaScript behind the page's text.js and stream.js.
func runScript(t *testing.T, program string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("skipped: there is no node here to run the page's scripts with")
	}
	c := exec.Command(node, "--input-type=module")
	c.Stdin = strings.NewReader("import assert from 'node:assert/strict';\nconst sessionKey = () => '';\n" + textJS + streamJS + program)
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestSyntax(t *testing.T) {
	runScript(t, "")
	c := exec.Command("node", "--check", "-")
	c.Stdin = strings.NewReader(script)
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
}

// Markdown becomes a tree; what is no Markdown stays text, and no text takes long.
func TestMarkdown(t *testing.T) {
	runScript(t, `
const short = list => list.map(s => typeof s === "string" ? s : s.kind === "text" ? s.text : s.spans ? [s.kind, ...short(s.spans)] : [s.kind, s.text]);
const is = (text, want) => assert.deepEqual(short(spans(text)), want, text);
is("a <b>x</b> & c", ["a <b>x</b> & c"]);
is("**b *i* c** _e_ snake_case_name 2*3*4", [["strong", "b ", ["em", "i"], " c"], " ", ["em", "e"], " snake_case_name 2*3*4"]);
is("call `+"`f(*p)`"+` and `+"``a`b``"+`", ["call ", ["code", "f(*p)"], " and ", ["code", "a`+"`"+`b"]]);
is("Oslo [1]. Bergen [1.2, 3] [x] [4](u) [", ["Oslo ", ["cite", "[1]"], ". Bergen ", ["cite", "[1.2]"], ["cite", "[3]"], " [x] [4](u) ["]);
is("** a ** * b *", ["** a ** * b *"]);

const kinds = (text, want) => assert.deepEqual(blocks(text).map(b => b.kind), want, text);
kinds("one\ntwo\n\nthree", ["p", "p"]);
kinds("# T\ntext\n- a\n- b\n\n1. c\n2. d\n> q\n---\n", ["heading", "p", "ul", "ol", "quote", "rule"]);
kinds("|a|b|\n|-|:-:|\n|1|2|\nafter", ["table", "p"]);
kinds("|a|b|\nno table", ["p"]);
kinds("#nothing\n1.2 is a number", ["p"]);
assert.deepEqual(blocks("~~~go\nx := \"<b>\"\n\n~~~\n")[0], { kind: "code", language: "go", text: "x := \"<b>\"\n" });
assert.deepEqual(blocks("`+"```"+`\nnot closed\n# x")[0].text, "not closed\n# x");
const list = blocks("- a\n  more\n  - b\n    1. c\n- d\n3) e")[0];
assert.equal(list.items.length, 2);
assert.deepEqual(list.items[0].spans, [{ kind: "text", text: "a\nmore" }]);
assert.equal(list.items[0].lists[0].items[0].lists[0].kind, "ol");
assert.equal(blocks("3) e\n4) f")[0].start, 3);

for (const evil of ["`+"`"+`", "**a", "*a ", "_a ", "[1,", ">", "> ", "- ", "  - x\n", "|a|\n", "#", "<script>", "\n\n", "* * "]) {
  const began = performance.now();
  blocks(evil.repeat(20000));
  assert.ok(performance.now() - began < 3000, evil);
}
blocks(Array.from({ length: 2000 }, (_, i) => " ".repeat(i) + "- x").join("\n"));
`)
}

// Events arrive in any chunks; an answer's parts come in order.
func TestStream(t *testing.T) {
	runScript(t, `
const text = "data: one\r\n\r\n: comment\n\ndata: two\ndata: lines\n\nevent: x\ndata:three\n\ndata: cut";
for (let size = 1; size < 20; size++) {
  const got = [], read = sseReader(d => got.push(d));
  for (let i = 0; i < text.length; i += size) read(text.slice(i, i + size));
  assert.deepEqual(got, ["one", "two\nlines", "three"]);
}
const parts = [];
const call = (id, args, index = 0) => ({ tool_calls: [{ index, id, type: "function", function: { name: "search", arguments: args } }] });
for (const d of [{ role: "assistant", content: "" }, { reasoning_content: "hm" }, { reasoning_content: "!" }, call("a", '{"query":'),
  call(undefined, '"who?"}'), { zerosearch: { tool_call_id: "a", documents: [{ id: 1, title: "T", source: "f.pdf", passage: "p", cited: true }, { id: 2 }] } },
  call("b", '{"query":"again"}'), { zerosearch: { tool_call_id: "b", documents: [{ id: 3, passage: "q" }] } },
  { content: "Ada [1]" }, { content: " [2.1]" }]) applyDelta(parts, d);
assert.deepEqual(parts.map(p => p.kind), ["thought", "search", "search", "answer"]);
assert.equal(parts[0].text, "hm!");
assert.equal(parts[1].query, "who?");
assert.deepEqual(parts[1].documents[1], { id: "2", title: "", source: "", passage: "", cited: false });
assert.equal(answerOf(parts), "Ada [1] [2.1]");
assert.deepEqual(documentOf(parts, "1"), [1, 0]);
assert.deepEqual(documentOf(parts, "3"), [2, 0]);
assert.deepEqual(documentOf(parts, "2.1"), [2, 0]);
assert.equal(documentOf(parts, "9"), null);
assert.equal(documentOf(parts, "2.9"), null);
assert.deepEqual(splitThought("<think>\nx</think>\n\ny"), { thought: "x", answer: "y" });
assert.deepEqual(splitThought("<think>still"), { thought: "still", answer: "" });

const answer = { parts };
for (const z of [{ method: "direct" }, { method: "rag" }, { method: "rag", turns: [{ documents: [{ id: 3, cited: true }] }, { documents: null }], warning: "w" }]) applyAgent(answer, z);
assert.equal(answer.method, "rag");
assert.equal(answer.warning, "w");
assert.equal(parts.at(-1).text, "No answer by answering from memory: retrieving once instead.");
assert.deepEqual(parts.flatMap(p => p.documents ?? []).map(d => d.cited), [true, false, true]);

const none = { method: "", style: "", topk: "", temperature: "", max: "", system: "" };
const says = text => ({ role: "assistant", parts: [{ kind: "answer", text }] });
const talk = [{ role: "user", text: "a" }, says("<think>t</think>b"), { role: "user", text: "lost" }, { role: "assistant", parts: [] }, { role: "user", text: "c" }];
assert.deepEqual(requestOf("m", talk, { ...none, system: "s", method: "rag", max: "7", temperature: "0" }, false), { model: "m", messages: [
  { role: "system", content: "s" }, { role: "user", content: "a" }, { role: "assistant", content: "b" }, { role: "user", content: "c" }],
  stream: true, stream_options: { include_usage: true }, temperature: 0, max_tokens: 7 });
const agent = requestOf("x-agent", talk.slice(4), { ...none, system: "s", method: "rag", topk: "4" }, false);
assert.deepEqual(agent.zerosearch, { method: "rag", topk: 4 });
assert.equal(agent.messages.length, 1);
const on = requestOf("m", [talk[0], says("<think>t</think>b")], none, true);
assert.equal(on.messages[1].content, "<think>t</think>b");
assert.equal(on.continue_final_message, true);
assert.equal(on.temperature, 0.7);
assert.equal(agent.temperature, undefined);
`)
}
