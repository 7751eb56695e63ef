package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/csp"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// put writes a file of a run.
func put(t testing.TB, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

// letters is a tokenizer.json whose tokens are the 256 bytes.
var letters = sync.OnceValue(func() string {
	text, err := tokenizer.Train(func(func(string) bool) {}, 256, nil)
	if err != nil {
		panic(err)
	}
	return string(text)
})

var openLetters = sync.OnceValue(func() *tokenizer.Tokenizer {
	dir, err := os.MkdirTemp("", "report-test-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte(letters()), 0o644); err != nil {
		panic(err)
	}
	t, err := tokenizer.Open(dir)
	if err != nil {
		panic(err)
	}
	return t
})

func encode(text string) []int32 { return openLetters().Encode(text, tokenizer.EncodeOptions{}) }

// turn is a turn whose tokens are bytes: the policy's text, and the observation.
func turn(said, observed string, action episode.Action) episode.Turn {
	u := episode.Turn{Text: said, Observation: observed, Action: action, IDs: encode(said + observed)}
	for i := range u.IDs {
		u.Mask, u.Logprobs = append(u.Mask, i < len(said)), append(u.Logprobs, -float32(i)/4)
	}
	return u
}

// play is an episode with one search and one answer.
func play(step int, question string, reward float64, document, answer string) *episode.Episode {
	search := turn("<think>é?</think><search>q</search>", "\n\n<information>"+document+"</information>\n\n",
		episode.Search)
	search.Content, search.Documents, search.Quality, search.Tau = "q", []string{document}, "noisy", 0.5
	last := turn("<answer>"+answer+"</answer>", "", episode.Answer)
	last.Content = answer
	e := &episode.Episode{Step: step, QuestionID: question, Question: question, GoldenAnswers: []string{"gold"},
		PromptIDs: encode("hi"), Temperature: 1,
		Status: episode.Answered, Reward: reward, Turns: []episode.Turn{search, last}}
	for range e.PolicyTokens() {
		e.Advantages = append(e.Advantages, float32(reward-0.5))
	}
	return e
}

func lines(t testing.TB, all ...*episode.Episode) string {
	var text strings.Builder
	for _, e := range all {
		line, err := e.Line()
		require.NoError(t, err)
		text.Write(line)
	}
	return text.String()
}

func metrics(steps int) string {
	var text strings.Builder
	for i := 1; i <= steps; i++ {
		fmt.Fprintf(&text,
			`{"step":%d,"actor/entropy":%g,"critic/score/mean":%g,"reward/f1":%g,"search/tau":null,"timing_s/step":2,"perf/total_num_tokens":500,"val/all/f1":%g,"val/nq/f1":0.25,"odd/<b>":1}`+"\n",
			i, 1/float64(i), float64(i)/100, float64(i)/100, float64(i)/200)
	}
	return text.String()
}

// page renders the page of the run directory dir.
func render(t testing.TB, dir string) string {
	t.Helper()
	r, err := Open(dir)
	require.NoError(t, err)
	path, err := r.Write()
	require.NoError(t, err)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

func TestReport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "my run")
	put(t, dir, "config.yaml", "# zerosearch train, v1\nmodel: nowhere\nseed: 7\ntotal-steps: 40\nserper-key: sesame\n")
	put(t, dir, "metrics.jsonl", metrics(40))
	put(t, dir, "episodes.jsonl", lines(t, play(1, "first?", 0, "d", "wrong"), play(40, "won?", 1, "d", "gold"),
		play(40, "lost?", 0, "d", "no")))
	put(t, dir, "checkpoints/step-40/tokenizer.json", letters())
	put(t, dir, "eval.json",
		`{"model":"m","engine":"simulated","search_mode":"simulate_sft","sources":[{"source":"nq","n":100,"em":0.25,"f1":0.333333,"f1_ci":[0.2,0.5],"failed":null},{"source":"all","n":100,"em":0.25,"f1":0.5}]}`)
	put(t, dir, "evaluate.json", `[1]`)
	page := render(t, dir)
	// summary
	for _, want := range []string{"<h1>my run</h1>", "zerosearch train, v1", "<b>seed</b> 7", "of 40", "0.025 → 0.385",
		"1m20s", "20k",
		// curves
		"<b>Reward and held-out F1</b>", "<b>Entropy</b>", "<b>Held-out questions</b>", "<b>odd/&lt;b&gt;</b>",
		// tables
		"0.25 → 0.25 (0.25)", "0.333 (0.2–0.5)", "the engine was told the answers: compare its rows", "eval.json",
		// episodes
		"won?", "lost?", "first?", "Latest: step 40, 2 episodes", "At the start: step 1, 1 episodes", "−0.5",
		"&#43;0.5", "1 search, 1 noisy"} {
		require.True(t, strings.Contains(page, want), want)
	}
	// a secret; a metric that is null throughout; one that is not there
	for _, no := range []string{"sesame", "<b>Noise of the search engine</b>", "Exact match"} {
		require.False(t, strings.Contains(page, no), no)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// The page shows the cost of searching as far as the run recorded it.
func TestCost(t *testing.T) {
	for _, c := range []struct{ row, want string }{
		{`{"step":1,"x":1}`, ""},
		{`{"step":1,"cost/queries":1200,"cost/google_usd":11,"perf/search_usd":0}`,
			"[Queries 1200 ] [Cost of searching not priced google: $11]"},
		{
			`{"step":1,"cost/queries":10,"cost/google_usd":2,"perf/search_usd":0.5,"perf/search_cached":4,"cost/prompt_tokens":70,"cost/completion_tokens":30}`,
			"[Queries 10 4 from the cache] [Tokens of the simulator 100 30 of them written] [Cost of searching $0.5 " +
				"75.0% less than google's $2]"},
		{`{"step":1,"cost/queries":10,"cost/google_usd":2,"perf/search_usd":2}`,
			"[Queries 10 ] [Cost of searching $2 ]"},
		{`{"step":1,"cost/queries":1,"cost/google_usd":2,"perf/search_usd":1e-5}`,
			"[Queries 1 ] [Cost of searching under $0.001 100.0% less than google's $2]"},
	} {
		r := Watch(t.TempDir())
		r.readRow([]byte(c.row))
		var got []string
		for _, x := range r.costTiles() {
			got = append(got, fmt.Sprintf("[%s %s %s]", x.Label, x.Value, x.Note))
		}
		require.Equal(t, c.want, strings.Join(got, " "))
	}
}

// Several runs have a line each in one chart for each metric, equal ones too; what they do not share is in tables.
func TestCompare(t *testing.T) {
	root := t.TempDir()
	var runs []*Run
	for i, lr := range []string{"0.001", "1e-3", "5e-4"} {
		dir := filepath.Join(root, fmt.Sprint("run-", i))
		put(t, dir, "config.yaml", fmt.Sprintf("lr: %s\nseed: 1\nserper-key: sesame%d\n", lr, i))
		text := metrics(10 + i)
		if i == 0 {
			text = strings.ReplaceAll(text, "val/all/f1", "val/x/f1")
		}
		put(t, dir, "metrics.jsonl", text)
		r, err := Open(dir)
		require.NoError(t, err)
		runs = append(runs, r)
	}
	path := filepath.Join(root, "all.html")
	require.NoError(t, Compare(path, runs))
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	page := string(raw)
	for _, want := range []string{"<title>run-0, run-1, run-2 – zerosearch", `aria-label="Reward"`, `aria-label="Held-out F1"`,
		`data-labels="[&#34;run-0&#34;,&#34;run-1&#34;,&#34;run-2&#34;]"`, "<td>lr</td><td>0.001</td><td>1e-3</td><td>5e-4</td>",
		"<td>run-2</td><td>too early to say</td><td>12</td><td>0.01 → 0.12</td>"} {
		require.True(t, strings.Contains(page, want), want)
	}
	require.True(t, strings.Contains(page, `<span class="key c2">run-1 <b>0.055</b>`), "a run has its colour in all charts")
	require.False(t, strings.Contains(page, "seed") || strings.Contains(page, "sesame"))
	require.Regexp(t, `data-points="\[\[1,0\.01,0\.01,0\.01\],.*\[11,null,0\.11,0\.11\],\[12,null,null,0\.12\]\]"`, page)
	require.ErrorContains(t, Compare(path, runs[:1]), "comparing 1 runs: give 2 to 8")
	other, err := Open(runs[0].dir)
	require.NoError(t, err)
	require.Equal(t, []string{runs[0].dir, runs[0].dir}, runNames([]*Run{runs[0], other}))
}

// A page is one file and loads nothing from any address.
func TestNothingIsLoaded(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "metrics.jsonl", metrics(3))
	page := render(t, dir)
	require.Empty(t, regexp.MustCompile(`(?i)\b(?:src|href|srcset|action)=|url\(|@import|https?://`).FindString(page))
	require.True(t, strings.Contains(page, "default-src &#39;none&#39;"))
	for kind, text := range map[string]string{"script": pageJS, "style": pageCSS} {
		require.Equal(t, 1, strings.Count(page, "<"+kind+">"+text+"</"+kind+">"),
			"the hash in the policy is that of the text as it stands on the page")
		require.True(t, strings.Contains(strings.ReplaceAll(page, "&#43;", "+"), strings.Trim(csp.Hash(text), "'")))
	}
}

// Text from a model, a document, a question, a file name or a metric is escaped everywhere on the page.
func TestHostileEpisodes(t *testing.T) {
	for _, evil := range []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`,
		`'><svg onload=alert(1)>`, `</div></details></section><script>alert(1)</script>`,
		`{{.Config}}`, `--><script>alert(1)</script><!--`, "\x00<script\x00>", `</style><script>alert(1)</script>`,
		`javascript:alert(1)`, "</search><script>x</script>"} {
		dir := t.TempDir()
		harmless := t.TempDir()
		e := play(1, evil, 1, evil+"<answer>not an answer</answer>", evil)
		e.GoldenAnswers = []string{evil}
		e.Status = episode.Status(evil)
		fine := play(1, "q", 1, "d<answer>not an answer</answer>", "a")
		for _, cut := range []bool{true, false} { // with and without a tokenizer
			write := func(dir, s string, e *episode.Episode) string {
				key, err := json.Marshal(s)
				require.NoError(t, err)
				put(t, dir, "config.yaml", "# "+strings.ReplaceAll(s, "\x00", "")+"\nmodel: "+string(key)+"\n")
				put(t, dir, "metrics.jsonl", `{"step":1,"critic/score/mean":1,`+string(key)+`:2,"val/`+string(
					key)[1:len(key)-1]+`/f1":1}`+"\n")
				put(t, dir, "episodes.jsonl", lines(t, e))
				put(t, dir, "eval_x.json", `{"model":`+string(key)+`,"sources":[{"source":`+string(key)+`,"f1":1}]}`)
				if cut {
					put(t, dir, "checkpoints/step-1/tokenizer.json", letters())
				}
				return render(t, dir)
			}
			page, same := write(dir, evil, e), write(harmless, "x", fine)
			// The page has no element and no attribute that the page of a harmless run does not have.
			require.Equal(t, kinds(same), kinds(page), evil)
		}
	}
}

var element = regexp.MustCompile(`<(/?[a-z0-9]+)((?:\s+[a-z-]+(?:="[^"<>]*")?)*)\s*/?>`)
var attribute = regexp.MustCompile(`\s([a-z-]+)=`)

// kinds lists the kinds of elements of a page and the names of their attributes, except those of the page's own style
// and script.
func kinds(page string) map[string]bool {
	page = strings.NewReplacer(pageJS, "", pageCSS, "").Replace(page)
	out := map[string]bool{}
	for _, m := range element.FindAllStringSubmatch(page, -1) {
		out["<"+m[1]] = true
		for _, a := range attribute.FindAllStringSubmatch(m[2], -1) {
			out[m[1]+" "+a[1]] = true
		}
	}
	for _, rest := range strings.Split(element.ReplaceAllString(page, ""), "<")[1:] {
		out["stray: "+rest[:min(12, len(rest))]] = true
	}
	return out
}

func TestSecretsAreHidden(t *testing.T) {
	text := secret.ReplaceAllString("serper-key: abc\nremote-api-key: \"x y\"\nhub-token: t\npassword: "+
		"p\nmicro-batch-tokens: 4096\nmax-tokens: 3\ntopk: 5\nempty-key:\nreplay:\n  api_key: zzz\n", "${1}(hidden)")
	require.Equal(t, "serper-key: (hidden)\nremote-api-key: (hidden)\nhub-token: (hidden)\npassword: "+
		"(hidden)\nmicro-batch-tokens: 4096\nmax-tokens: 3\ntopk: 5\nempty-key:\nreplay:\n  api_key: (hidden)\n", text)
}

func TestOpenRefuses(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "nowhere"))
	require.ErrorContains(t, err, "it has no metrics.jsonl with a step in it: give the --out of train or sft")
	_, err = Open(t.TempDir())
	require.ErrorContains(t, err, "no metrics.jsonl")
}

// Damaged lines are left out and counted.
func TestDamagedLines(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "metrics.jsonl", metrics(2)+"rubbish\n"+`{"no":1}`+"\n"+metrics(3)+`{"step":4,"unfin`)
	put(t, dir, "episodes.jsonl",
		"[]\n"+lines(t, play(1, "q", 1, "d", "a"))+`{"step":1,"turns":[{"ids":[1],"mask":[]}],"reward":0}`+"\n")
	put(t, dir, "config.yaml", "a: [")
	page := render(t, dir)
	require.True(t, strings.Contains(page, "3 lines of metrics.jsonl or episodes.jsonl could not be read"))
	require.True(t, strings.Contains(page, "a: ["))
	require.Equal(t, 2, strings.Count(page, `class="episode"`),
		"one, among the best and to browse: an episode whose lengths do not agree is not shown")
}
