package report

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/internal/csp"
	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/health"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// page holds the values of the page's template.
type page struct {
	CSS     template.CSS // part of this program, not text of a run
	JS      template.JS
	Policy  string // the page's Content-Security-Policy
	Live    bool
	Version int

	Name, Command string
	Verdict       *verdict // nil: there is none
	Large         []chart  // the same curves in the formats of largeFormats
	Facts         []fact
	Tiles         []tile
	Notes         []string
	Charts, More  []chart
	Evals         []table
	TablesTitle   string
	StepViews     []stepView
	Browse        []episodeView
	BrowseSteps   []int  // the steps of Browse, the latest first
	Settings      []fact // those that are not the defaults
	Config        string
}

// verdict is what package health says of the run.
type verdict struct {
	State, Class, Summary string // Class is the CSS class of the state
	Findings              []finding
}

type finding struct{ Class, Text string }

type fact struct{ Name, Value string }

type tile struct{ Label, Value, Note string }

// table is a table of scores, one row for each data source.
type table struct {
	Title, Note string
	Plain       bool // its last row is one as the others
	Columns     []string
	Rows        [][]string
}

// stepView is a step whose episodes are shown on the page.
type stepView struct {
	Title string
	Lists []episodeList
}

type episodeList struct {
	Title    string
	Episodes []episodeView
}

// episodeView holds the values of an episode on the page.
type episodeView struct {
	Key          string // identifies the episode when the page is refreshed
	Open         bool
	Step         int
	Kind         string // right, wrong or none (no answer)
	Question     string
	Gold         []string
	Answer       string
	Answered     bool
	Status       string
	Reward       string
	Good         bool
	Advantage    string // "" if it was not trained on; a range if it differs between tokens
	Up           bool
	Prompt       string
	PromptTokens int
	Trained      int // number of trained tokens
	Searches     int
	Noisy        int // searches with noisy documents
	Spans        []span
	Cut          bool // Spans are single tokens
}

// render makes the page from the present files of the run, and gives their version. A live page asks its server
// regularly for a new version.
func (r *Run) render(live bool) (text []byte, version int, err error) {
	if version, err = r.refresh(); err != nil {
		return nil, version, err
	}
	r.mu.Lock()
	p := r.page()
	r.mu.Unlock()
	p.Live, p.Version = live, version
	text, err = p.render()
	return text, version, err
}

// render makes the page's text.
func (p *page) render() ([]byte, error) {
	p.CSS, p.JS = template.CSS(pageCSS), template.JS(pageJS)
	p.Policy = "default-src 'none'; style-src " + csp.Hash(pageCSS) + "; script-src " + csp.Hash(pageJS) +
		"; connect-src 'self'; base-uri 'none'; form-action 'none'"
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("making the report of %s: %w", p.Name, err)
	}
	return b.Bytes(), nil
}

// Name is the name of the file that Write writes.
const Name = "report.html"

// Write writes report.html in the run directory atomically, and returns its path.
func (r *Run) Write() (path string, err error) {
	text, _, err := r.render(false)
	if err != nil {
		return "", err
	}
	path = filepath.Join(r.dir, Name)
	if err := disk.WriteFile(path, text); err != nil {
		return "", fmt.Errorf("writing the report: %w", err)
	}
	return path, nil
}

// page collects the values of the page.
func (r *Run) page() *page {
	p := &page{Config: r.configText, TablesTitle: "Evaluation"}
	abs, err := filepath.Abs(r.dir)
	if err != nil {
		abs = r.dir
	}
	p.Name = filepath.Base(abs)
	first, _, _ := strings.Cut(r.configText, "\n")
	p.Command = strings.TrimPrefix(first, "# ")
	for _, name := range []string{"model", "algo", "search-mode", "simulation-llm", "data", "reward", "lora-r", "lr",
		"dtype", "seed"} {
		if v := r.option(name); v != "" && !(name == "lora-r" && v == "0") {
			p.Facts = append(p.Facts, fact{name, v})
		}
	}
	p.Tiles = r.tiles()
	if r.damaged > 0 {
		p.Notes = append(p.Notes,
			fmt.Sprintf("%d lines of metrics.jsonl or episodes.jsonl could not be read and are left out.", r.damaged))
	}
	p.Verdict = verdictOf(r.rows)
	p.Large, p.Charts, p.More = r.charts()
	p.Evals = r.tables()
	p.StepViews = r.stepViews()
	p.Browse, p.BrowseSteps = r.browse()
	p.Settings = r.settings()
	return p
}

// verdictOf is what the page says of the health of a run.
func verdictOf(rows []health.Step) *verdict {
	h := health.Judge(rows)
	v := &verdict{State: h.State.Words(), Class: stateClass(h.State), Summary: h.Summary}
	for _, f := range h.Findings {
		v.Findings = append(v.Findings, finding{stateClass(f.State), f.Text})
	}
	return v
}

// stateClass is the CSS class of a state of a run or of a finding.
func stateClass(s health.State) string {
	switch s {
	case health.Learning:
		return "good"
	case health.Warned, health.Flat:
		return "warn"
	case health.Worse, health.Collapsed, health.CannotLearn:
		return "bad"
	}
	return "even"
}

// charts gives the large chart in its formats, the charts of the panels, and a small chart for every metric that is in
// no panel.
func (r *Run) charts() (large, charts, more []chart) {
	named := map[string]bool{}
	for _, panel := range largePanels {
		for _, l := range panel.series {
			named[l.metric] = true
		}
		missing := func(l line) bool { return !hasMetric(r.rows, l.metric) }
		if len(large) > 0 || slices.ContainsFunc(panel.series, missing) {
			continue
		}
		for _, panel.size = range largeFormats {
			if c, ok := draw(panel, r.rows); ok {
				large = append(large, c)
			}
		}
	}
	for _, panel := range panels {
		if c, ok := draw(panel, r.rows); ok {
			charts = append(charts, c)
		}
		for _, l := range panel.series {
			named[l.metric] = true
		}
	}
	others := map[string]bool{}
	for _, row := range r.rows {
		for name := range row.Metrics {
			if !named[name] {
				others[name] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(others)) {
		if c, ok := draw(panel{title: name, series: []line{{name, name}}}, r.rows); ok {
			more = append(more, c)
		}
	}
	return large, charts, more
}

// tiles are the figures of the summary at the top of the page.
func (r *Run) tiles() (out []tile) {
	n := len(r.rows)
	if n == 0 {
		return []tile{{"Steps", "0", "no step is finished yet"}}
	}
	add := func(label, value, note string) { out = append(out, tile{label, value, note}) }
	of := ""
	if total := cmp.Or(r.option("total-steps"), r.option("steps")); total != "" && total != "0" {
		of = "of " + total
	}
	add("Steps", fmt.Sprint(r.rows[n-1].Step), of)
	for _, m := range []struct{ label, metric string }{{"Reward", "critic/score/mean"}, {"F1", "reward/f1"},
		{"Exact match", "reward/em"}, {"Held-out F1", "val/all/f1"}, {"Loss", "train/loss"}} {
		from, to, k := health.Ends(r.rows, m.metric)
		note := "first and last"
		if k > 1 {
			note += fmt.Sprintf(" %d steps", k)
		}
		if k > 0 && (m.label == "Reward" || !repeats(r.rows, m.metric, []line{{"critic/score/mean", ""}})) {
			add(m.label, number(from)+" → "+number(to), note)
		}
	}
	if r.count > 0 {
		add("Episodes", number(float64(r.count)), "in episodes.jsonl")
	}
	seconds := sum(r.rows, "timing_s/step")
	add("Time in steps", duration(seconds), "")
	if tokens := sum(r.rows, "perf/total_num_tokens") + sum(r.rows, "train/tokens"); tokens > 0 {
		note := ""
		if seconds > 0 {
			note = number(tokens/seconds) + " a second"
		}
		add("Tokens trained", number(tokens), note)
	}
	if cores := latest(r.rows, "perf/cpu_cores"); !math.IsNaN(cores) {
		add("Processor", number(cores)+" cores", "in use in the last step")
	}
	if v := latest(r.rows, "perf/cpu_memory_used_gb"); !math.IsNaN(v) {
		add("Memory", number(v)+" GiB", "at most "+number(most(r.rows, "perf/cpu_memory_used_gb"))+" after a step")
	}
	if v := latest(r.rows, "rollout/logprob_diff_max"); !math.IsNaN(v) {
		add("Sampler − trainer", number(most(r.rows, "rollout/logprob_diff_max")), "largest difference of a log-prob")
	}
	return append(out, r.costTiles()...)
}

// most is the largest value of a metric that is not negative.
func most(rows []health.Step, metric string) (v float64) {
	for _, r := range rows {
		v = max(v, r.Metrics[metric])
	}
	return v
}

func sum(rows []health.Step, metric string) (total float64) {
	for _, r := range rows {
		total += r.Metrics[metric]
	}
	return total
}

func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < time.Minute {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// stepViews gives the latest and the first step that have episodes.
func (r *Run) stepViews() (out []stepView) {
	add := func(title string, s *stepEpisodes, n int) {
		best, worst := s.pick(n)
		m := stepView{Title: fmt.Sprintf("%s: step %d, %d episodes", title, s.step, s.count)}
		for _, l := range []struct {
			title string
			list  []candidate
		}{{"Best", best}, {"Worst", worst}} {
			view := episodeList{Title: l.title}
			for _, c := range l.list {
				if e := new(episode.Episode); json.Unmarshal(c.line, e) == nil {
					v := r.view(e, fmt.Sprintf("%d-%d-e%d", len(out), len(m.Lists), c.order))
					v.Open = len(out) == 0 && len(view.Episodes) == 0
					view.Episodes = append(view.Episodes, v)
				}
			}
			if len(view.Episodes) > 0 {
				m.Lists = append(m.Lists, view)
			}
		}
		if len(m.Lists) > 0 {
			out = append(out, m)
		}
	}
	if r.last == nil {
		return nil
	}
	add("Latest", r.last, shown)
	if r.first != r.last {
		add("At the start", r.first, shown/2)
	}
	return out
}

// browse gives episodes of steps at equal distances and of the latest step, the latest step first, without their
// tokens.
func (r *Run) browse() (out []episodeView, steps []int) {
	kept := r.kept.steps
	if n := len(kept); n > 0 && kept[n-1] != r.last {
		kept = append(kept[:n:n], r.last)
	}
	for _, s := range slices.Backward(kept) {
		steps = append(steps, s.step)
		for _, c := range s.some {
			if e := new(episode.Episode); json.Unmarshal(c.line, e) == nil {
				v := r.view(e, fmt.Sprintf("b%d", c.order))
				v.Spans, v.Prompt, v.Cut = texts(e), "", false
				out = append(out, v)
			}
		}
	}
	return out, steps
}

func (r *Run) view(e *episode.Episode, key string) episodeView {
	v := episodeView{Key: key, Step: e.Step, Kind: "none", Question: e.Question, Gold: e.GoldenAnswers,
		Status: strings.ReplaceAll(string(e.Status), "_", " "), Reward: number(e.Reward), Good: e.Reward > 0,
		PromptTokens: len(e.PromptIDs), Trained: e.PolicyTokens(), Searches: e.Searches(), Spans: spans(e, r.tok),
		Cut: r.tok != nil}
	if v.Answer, v.Answered = e.Answer(); v.Answered {
		v.Kind = "wrong"
		if e.Reward > 0 {
			v.Kind = "right"
		}
	}
	if r.tok != nil {
		v.Prompt = r.tok.Decode(e.PromptIDs, false)
	}
	for _, t := range e.Turns {
		if t.Quality == "noisy" {
			v.Noisy++
		}
	}
	if a := e.Advantages; len(a) > 0 {
		lo, hi := slices.Min(a), slices.Max(a)
		if v.Advantage = signed(lo); hi != lo {
			v.Advantage += " to " + signed(hi)
		}
		v.Up = hi > 0
	}
	return v
}

func signed(v float32) string {
	if v > 0 {
		return "+" + number(float64(v))
	}
	return strings.Replace(number(float64(v)), "-", "−", 1)
}
