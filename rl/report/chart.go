package report

import (
	"encoding/json"
	"fmt"
	"github.com/zerosearch-go/zerosearch/rl/health"
	"math"
	"slices"
	"strconv"
	"strings"
)

// panel describes a chart of one or more metrics.
type panel struct {
	title  string
	hint   string // explanation under the title
	share  bool   // the values lie in [0, 1]: the axis begins at 0 and ends at 1 or below
	series []line
	size   chartSize
	runs   bool // the lines are runs: each is drawn, whatever the others are
}

// chartSize is the size of a chart in units of the SVG's view box.
type chartSize struct {
	class         string // CSS class of its figure
	width, height float64
}

// A large chart has a form for a wide window and one for a phone, of which the page shows one.
var (
	smallChart   = chartSize{"", 420, 190}
	wideLarge    = chartSize{"large on-wide", 960, 280}
	narrowLarge  = chartSize{"large on-narrow", 420, 250}
	largeFormats = []chartSize{wideLarge, narrowLarge}
)

// largePanels are the charts at the top of the page: the first one is drawn of which a run has all metrics.
var largePanels = []panel{
	{title: "Reward and held-out F1", hint: "mean over the episodes of a step; greedy on questions that are never " +
		"trained on", share: true, series: []line{rewardLine, {health.HeldOutF1, "held-out F1"}}},
	{title: "Reward", hint: "mean over the episodes of a step", share: true, series: []line{rewardLine}},
	{title: "Loss", hint: "mean over trained tokens, in nats", series: []line{{"train/loss", "loss"}}},
}

// line is a metric of a panel and its label.
type line struct{ metric, label string }

var rewardLine = line{"critic/score/mean", "reward"}

// panels are the charts of the page, in order. A panel is left out if a run has none of its metrics. Every metric that
// is in no panel gets a small chart further down the page.
var panels = []panel{
	{title: "Scores in training", hint: "mean over the episodes of a step", share: true,
		series: []line{{"reward/f1", "F1"}, {"reward/em", "EM"}}},
	{title: "Held-out questions", hint: "greedy, never trained on", share: true,
		series: []line{{health.HeldOutF1, "F1"}, {"val/all/em", "EM"}, {"val/all/sub_em", "contained"}}},
	{title: "Valid actions", hint: "share of turns with a complete pair of tags, and of episodes with an answer",
		share: true, series: []line{{"env/valid_action_rate", "valid turns"}, {"env/finish_rate", "answered"}}},
	{title: "Noise of the search engine", hint: "the curriculum's tau, and the measured share of useful results",
		share: true, series: []line{{"search/tau", "tau"}, {"search/useful_rate", "useful results"}}},
	{title: "Search results with the answer", hint: "share that contains an accepted answer", share: true,
		series: []line{{"search/useful_has_answer", "useful results"}, {"search/noisy_has_answer", "noisy results"}}},
	{title: "Searches", hint: "per episode",
		series: []line{{"search/per_question", "searches"}, {"env/turns_per_episode", "turns"}}},
	{title: "Response length", hint: "tokens that the policy sampled, per episode",
		series: []line{{"response_length/mean", "tokens"}}},
	{title: "Entropy", hint: "nats per token; near 0 the policy hardly explores",
		series: []line{{"actor/entropy", "entropy"}}},
	{title: "KL", hint: "between the policy and the reference, and between the policy and the sampler within a step",
		series: []line{{"actor/kl_loss", "reference"}, {"actor/ppo_kl", "sampler"}}},
	{title: "Gradient norm", hint: "before clipping", series: []line{{"actor/grad_norm", "norm"}}},
	{title: "Policy loss", series: []line{{"actor/pg_loss", "loss"}}},
	{title: "Clipped tokens", hint: "share of tokens whose importance ratio is outside the clipping range",
		series: []line{{"actor/pg_clipfrac", "share"}}},
	{title: "Gradient norm", hint: "before clipping", series: []line{{"train/grad_norm", "norm"}}},
	{title: "Learning rate", series: []line{{"actor/lr", "policy"}, {"train/lr", "rate"}}},
	{title: "Seconds per step", series: []line{{"timing_s/step", "whole step"}, {"timing_s/gen", "rollouts"},
		{"timing_s/update_actor", "update"}}},
	{title: "Processor cores in use", hint: "mean over a step",
		series: []line{{"perf/cpu_cores", "cores"}}},
	{title: "Memory", hint: "of the process, in GiB, after a step", series: []line{{"perf/cpu_memory_used_gb", "GiB"}}},
	{title: "Tokens per second", series: []line{{"perf/throughput", "tokens/s"}}},
}

// Margins around the plot of a chart, in units of the SVG's view box.
const (
	marginLeft, marginRight, marginTop = 46.0, 10.0, 10.0
	marginBottom                       = 24.0
	maxPoints                          = 400
	smoothFrom                         = 30 // least number of points for which a smoothed curve is added
)

// chart is a chart, in the form that the page's template needs.
type chart struct {
	Title, Hint   string
	Class         string // of the figure
	Lines         []curve
	Y             []tick
	X             []tick
	Width, Height float64
	Left, Right   float64
	Top, Bottom   float64
	// JSON for the values shown at the mouse pointer: [points][step, then a value or null for each line], [lines]
	Points, Labels string
	First, Last    int     // steps at the left and right end
	Low, High      float64 // values at the lower and upper end
	metrics        []string
}

// PlotWidth is the width of the plot.
func (c chart) PlotWidth() float64 { return c.Right - c.Left }

// PlotHeight is the height of the plot.
func (c chart) PlotHeight() float64 { return c.Bottom - c.Top }

// curve is one line of a chart.
type curve struct {
	Label, Now string      // name, and latest value
	N          int         // number of its colour, from 1
	Raw        string      // SVG path
	Smoothed   string      // SVG path of the smoothed curve, "" for none
	Dots       [][2]string // coordinates of dots, if there are few points
}

// tick is a mark on an axis: its coordinate and its label.
type tick struct {
	At    string
	Label string
}

// draw makes the chart of a panel. ok is false if the run has none of its metrics.
func draw(p panel, rows []health.Step) (c chart, ok bool) {
	size := p.size
	if size == (chartSize{}) {
		size = smallChart
	}
	c = chart{Title: p.title, Hint: p.hint, Class: size.class, Width: size.width, Height: size.height, Left: marginLeft,
		Right: size.width - marginRight, Top: marginTop, Bottom: size.height - marginBottom}
	var have []line
	for _, l := range p.series {
		c.metrics = append(c.metrics, l.metric)
		if hasMetric(rows, l.metric) && (p.runs || !repeats(rows, l.metric, have)) {
			have = append(have, l)
		}
	}
	if len(have) == 0 {
		return c, false
	}
	points := sample(rows, have)
	c.First, c.Last = int(points[0][0]), int(points[len(points)-1][0])
	c.Low, c.High = bounds(points, p.share)
	for _, v := range ticks(c.Low, c.High, 4) {
		c.Y = append(c.Y, tick{coordinate(c.y(v)), number(v)})
	}
	for _, v := range ticks(float64(c.First), float64(c.Last), 5) {
		if v == math.Trunc(v) {
			c.X = append(c.X, tick{coordinate(c.x(v)), strconv.Itoa(int(v))})
		}
	}
	var labels []string
	for k, l := range have {
		labels = append(labels, l.label)
		cv := curve{Label: l.label, Now: number(latest(rows, l.metric)), N: k + 1}
		if p.runs { // a run has its colour in all charts
			cv.N = slices.Index(p.series, l) + 1
		}
		cv.Raw, cv.Dots = c.path(points, k+1)
		if len(points) >= smoothFrom && fluctuates(points, k+1) {
			cv.Smoothed, _ = c.path(smooth(points, k+1), k+1)
		}
		c.Lines = append(c.Lines, cv)
	}
	c.Points, c.Labels = asJSON(points), asJSON(labels)
	return c, true
}

// hasMetric says whether any row has the metric.
func hasMetric(rows []health.Step, metric string) bool {
	for _, r := range rows {
		if _, ok := r.Metrics[metric]; ok {
			return true
		}
	}
	return false
}

// repeats says whether a metric equals, in all rows, one of the lines already drawn, as F1 does if it is the reward.
func repeats(rows []health.Step, metric string, drawn []line) bool {
	for _, l := range drawn {
		same := true
		for _, r := range rows {
			a, ok := r.Metrics[metric]
			b, also := r.Metrics[l.metric]
			same = same && ok == also && a == b
		}
		if same {
			return true
		}
	}
	return false
}

// latest is the last value of a metric, NaN if there is none.
func latest(rows []health.Step, metric string) float64 {
	for i := len(rows) - 1; i >= 0; i-- {
		if v, ok := rows[i].Metrics[metric]; ok {
			return v
		}
	}
	return math.NaN()
}

// sample gives the points of a chart, [points][1 + lines]: a step, then a value for each line, NaN if there is none. If
// there are more than maxPoints rows, neighbouring rows are averaged.
func sample(rows []health.Step, series []line) (points [][]float64) {
	var kept []health.Step
	for _, r := range rows {
		for _, l := range series {
			if _, ok := r.Metrics[l.metric]; ok {
				kept = append(kept, r)
				break
			}
		}
	}
	n := min(len(kept), maxPoints)
	for i := range n {
		part := kept[i*len(kept)/n : (i+1)*len(kept)/n]
		p := make([]float64, 1+len(series))
		p[0] = float64(part[len(part)-1].Step)
		for k, l := range series {
			var sum, count float64
			for _, r := range part {
				if v, ok := r.Metrics[l.metric]; ok {
					sum, count = sum+v, count+1
				}
			}
			p[k+1] = sum / count // NaN without any
		}
		points = append(points, p)
	}
	return points
}

// bounds are the ends of the value axis. Values that differ only by rounding errors count as equal. points has the
// shape of sample.
func bounds(points [][]float64, share bool) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, p := range points {
		for _, v := range p[1:] {
			if drawable(v) {
				lo, hi = min(lo, v), max(hi, v)
			}
		}
	}
	if most := max(math.Abs(lo), math.Abs(hi)); lo > hi || most < 1/maxValue {
		return 0, 1
	} else if hi-lo < 1e-9*most {
		lo = hi
	}
	if share && lo >= 0 && hi <= 1 {
		lo = 0
	}
	if lo > 0 && lo < hi/2 {
		lo = 0
	}
	if hi == lo {
		lo, hi = min(lo, 0), max(hi, 0)
	}
	step := tickStep(lo, hi, 4)
	return math.Floor(lo/step+1e-9) * step, math.Ceil(hi/step-1e-9) * step
}

// maxValue is the largest absolute value that is drawn: sums and differences of such values are finite.
const maxValue = 1e300

func drawable(v float64) bool { return math.Abs(v) < maxValue } // false for NaN, too

// tickStep is a round number, of about (hi-lo)/n.
func tickStep(lo, hi float64, n int) float64 {
	raw := (hi - lo) / float64(n)
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, f := range []float64{1, 2, 2.5, 5} {
		if raw <= f*unit*1.0001 {
			return f * unit
		}
	}
	return 10 * unit
}

// ticks are about n round numbers from lo to hi, and never more than 2n.
func ticks(lo, hi float64, n int) (out []float64) {
	if !(hi > lo) {
		return []float64{lo}
	}
	step := tickStep(lo, hi, n)
	first := math.Ceil(lo/step - 1e-9)
	for i := range 2 * n {
		v := (first + float64(i)) * step
		if !(v <= hi+step*1e-9) {
			break
		}
		out = append(out, v)
	}
	return out
}

func (c *chart) x(step float64) float64 {
	if c.Last == c.First {
		return (c.Left + c.Right) / 2
	}
	return c.Left + (c.Right-c.Left)*(step-float64(c.First))/float64(c.Last-c.First)
}

func (c *chart) y(v float64) float64 { return c.Bottom - (c.Bottom-c.Top)*(v-c.Low)/(c.High-c.Low) }

// path gives the SVG path of column k of points. A column with at most 25 points also gets dots.
func (c *chart) path(points [][]float64, k int) (path string, dots [][2]string) {
	var s strings.Builder
	n := 0
	for _, p := range points {
		if !drawable(p[k]) {
			continue
		}
		command := byte('L')
		if n == 0 {
			command = 'M'
		}
		n++
		x, y := coordinate(c.x(p[0])), coordinate(c.y(p[k]))
		s.WriteByte(command)
		s.WriteString(x + " " + y)
		dots = append(dots, [2]string{x, y})
	}
	if n > 25 {
		dots = nil
	}
	return s.String(), dots
}

// fluctuates says whether column k changes direction so often that a smoothed curve is useful. A schedule does not.
func fluctuates(points [][]float64, k int) bool {
	turns, before, last := 0, 0.0, math.NaN()
	for _, p := range points {
		d := p[k] - last
		if d*before < 0 {
			turns++
		}
		if d != 0 && !math.IsNaN(d) {
			before = d
		}
		last = p[k]
	}
	return turns > len(points)/5
}

// smooth is an exponential moving average of column k with bias correction, as points in which the other columns are 0.
func smooth(points [][]float64, k int) [][]float64 {
	keep := 1 - 2/(1+max(5, float64(len(points))/12))
	var sum, weight float64
	out := make([][]float64, 0, len(points))
	for _, p := range points {
		if !drawable(p[k]) {
			continue
		}
		sum, weight = keep*sum+(1-keep)*p[k], keep*weight+(1-keep)
		q := make([]float64, k+1)
		q[0], q[k] = p[0], sum/weight
		out = append(out, q)
	}
	return out
}

func coordinate(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// number writes a value with about three digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case a >= 1e9:
		return trim(fmt.Sprintf("%.2f", v/1e9)) + "G"
	case a >= 1e6:
		return trim(fmt.Sprintf("%.2f", v/1e6)) + "M"
	case a >= 1e4:
		return trim(fmt.Sprintf("%.1f", v/1e3)) + "k"
	case a >= 1e-3 || v == 0: // three digits
		return trim(strconv.FormatFloat(v, 'f', max(0, 2-int(math.Floor(math.Log10(max(a, 1e-3))))), 64))
	}
	digits, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'e', 1, 64), "e")
	return trim(digits) + "e" + exponent
}

// trim removes trailing zeros from a decimal fraction.
func trim(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// asJSON writes v as JSON for the page's script. NaN and infinities become null.
func asJSON(v any) string {
	if points, ok := v.([][]float64); ok {
		nulled := make([][]*float64, len(points))
		for i, p := range points {
			for _, x := range p {
				if math.IsNaN(x) || math.IsInf(x, 0) {
					nulled[i] = append(nulled[i], nil)
					continue
				}
				x, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 6, 64), 64)
				nulled[i] = append(nulled[i], &x)
			}
		}
		v = nulled
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "[]"
	}
	return string(b)
}
