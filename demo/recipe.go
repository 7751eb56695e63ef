package demo

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// The data that the embedded models are made from. Nothing is stored: every example is drawn from a fresh little world, so that no
// fact can be remembered and the only way to answer is to look.

// Part of an example: text, and whether it is learned.
type Part struct {
	Text  string
	Learn bool
}

// Example is one training text.
type Example []Part

// docsPerResult is the number of documents in a result of the demo (--topk).
const docsPerResult = 3

// Prompt is the policy's whole prompt: the demo's models read no instruction.
func Prompt(question string) string { return "Question: " + question + "\n" }

// Writer draws examples.
type Writer struct {
	rng   *rand.Rand
	names namer
}

// NewWriter draws from seed.
func NewWriter(seed uint64) *Writer {
	rng := rand.New(rand.NewPCG(seed, 0x726563697065))
	return &Writer{rng: rng, names: namer{rng, anyNames}}
}

func (w *Writer) chance(p float64) bool { return w.rng.Float64() < p }

// fact invents a fact about x; x "" invents x too.
func (w *Writer) fact(r int, x string) Fact {
	if x == "" {
		x = w.names.entity(Relations[r].Of)
	}
	return Fact{R: r, X: x, Y: w.names.entity(Relations[r].To)}
}

// Repeat is a list of names and words, said twice: the second time is predictable from the first. It is what makes copying form.
func (w *Writer) Repeat() Example {
	var words []string
	for range 6 + w.rng.IntN(24) {
		if w.chance(0.7) {
			words = append(words, w.names.name())
		} else {
			words = append(words, []string{"was", "in", "by", "the", "of", "maker", "born", "taught", "bell", "lamp"}[w.rng.IntN(10)])
		}
	}
	text := " " + strings.Join(words, " ")
	return Example{{text, false}, {text + "\n", true}}
}

// LookUp is a few facts and a question about each; learned is what the policy says when it has found them: the fact, then the answer.
// Saying the fact first makes the look-up an induction (what followed these words before?), which small models learn; from the question
// straight to the answer they hardly do.
func (w *Writer) LookUp(facts int) Example {
	var known []Fact
	var lines []string
	pool := w.pool(facts)
	seen := map[string]bool{}
	only := -1 // often all facts are of one relation, and names alone tell them apart; a small pool may not have as many
	if w.chance(0.4) {
		only = w.rng.IntN(len(Relations))
	}
	for tries := 0; len(known) < facts; tries++ {
		r := w.rng.IntN(len(Relations))
		if only >= 0 && tries < 20 {
			r = only
		}
		f := Fact{R: r, X: w.oneOf(pool[Relations[r].Of]), Y: w.oneOf(pool[Relations[r].To])}
		if f.X == f.Y || seen[f.Query()] {
			continue
		}
		seen[f.Query()] = true
		known = append(known, f)
		lines = append(lines, f.Sentence())
	}
	e := Example{{documents(lines) + "\n", false}}
	for _, i := range w.rng.Perm(facts) {
		f := known[i]
		e = append(e, Part{Prompt(ask1(f).Text), false}, Part{conclusion(f) + "<answer> " + f.Y + " </answer>", true}, Part{"\n", false})
	}
	return e
}

// pool is who a look-up's facts are about: as few that nearly every name stands in several facts, on either side, as around an
// entity of a real index, or so many that hardly any name comes twice. A name that is drawn twice does no harm.
func (w *Writer) pool(facts int) map[Kind][]string {
	n := 1 + (facts+1)/2
	if w.chance(0.4) {
		n = 4 * facts
	}
	out := map[Kind][]string{}
	for _, k := range []Kind{Person, Place, Thing} {
		for range n {
			out[k] = append(out[k], w.names.entity(k))
		}
	}
	return out
}

func (w *Writer) oneOf(names []string) string { return names[w.rng.IntN(len(names))] }

// question invents a question and the facts behind it.
func (w *Writer) question() Question {
	for {
		f := w.fact(w.rng.IntN(len(Relations)), "")
		if w.chance(0.5) {
			return ask1(f)
		}
		if Relations[f.R].Desc == "" {
			continue
		}
		for {
			o := w.rng.IntN(len(Relations))
			if Relations[o].Outer != "" {
				return ask2(f, w.fact(o, f.Y))
			}
		}
	}
}

// Result writes the documents of a search: about others, about x, and among them f itself if useful. Every other result is one that
// a real index gives: nearly all of it names x, often as the answer to something else.
func (w *Writer) Result(f Fact, useful bool) []string {
	others := []float64{0.25, 0.25, 0.1}
	if w.chance(0.5) {
		others = []float64{0.1, 0.35, 0.5}
	}
	lines := make([]string, docsPerResult)
	for i := range lines {
		lines[i] = w.besides(f, others).Sentence()
	}
	if useful {
		lines[w.rng.IntN(len(lines))] = f.Sentence()
	}
	return lines
}

// noise is what the noisy simulator finds: others, so that who reads can tell.
func (w *Writer) noise(f Fact) []string {
	lines := make([]string, docsPerResult)
	for i := range lines {
		r := f.R
		if w.chance(0.4) {
			r = w.rng.IntN(len(Relations))
		}
		lines[i] = w.fact(r, "").Sentence()
	}
	return lines
}

// besides draws a fact that a search for f may find instead: with probabilities p the same of somebody else, something else about x, or
// something that x is the answer to; otherwise anything.
func (w *Writer) besides(f Fact, p []float64) Fact {
	u := w.rng.Float64()
	switch {
	case u < p[0]:
		return w.fact(f.R, "")
	case u < p[0]+p[1]:
		return w.fact(w.otherRelation(f.R), f.X)
	case u < p[0]+p[1]+p[2]:
		if r := w.rng.IntN(len(Relations)); Relations[r].To == Relations[f.R].Of {
			return Fact{R: r, X: w.names.entity(Relations[r].Of), Y: f.X}
		}
	}
	return w.fact(w.rng.IntN(len(Relations)), "")
}

// Simulation is an example for the simulator: ZeroSearch's own prompt (simulate_sft), and documents. The simulator knows the question's
// answer; the facts on the way there it invents.
func (w *Writer) Simulation() (prompt, output string) {
	q := w.question()
	k := w.rng.IntN(len(q.Chain))
	f := q.Chain[k]
	switch w.rng.IntN(10) { // what a policy may ask instead
	case 0: // another relation of the same entity
		f = w.fact(w.otherRelation(f.R), f.X)
	case 1: // somebody else
		f = w.fact(f.R, "")
	}
	useful := w.chance(0.5)
	quality := search.Noisy
	if useful {
		quality = search.Useful
	}
	prompt = search.Render(search.SFT, quality, search.Query{Question: q.Text, GoldenAnswers: []string{q.Answer()}, Query: f.Query()}, docsPerResult)
	lines := w.noise(f)
	if useful {
		lines = w.Result(f, true)
	}
	return prompt, documents(lines) + "\n"
}

// Behaviour is how a drawn trajectory goes about a question.
type Behaviour int

// Behaviours of the weak policy.
const (
	Good         Behaviour = iota // searches for what is needed, again after noise, and copies what it finds
	AnswerAtOnce                  // says a name
	SearchElse                    // searches something else and copies from that
	CopyWrong                     // searches well and copies another name
	GiveUp                        // stops after the first hop, or takes what noise offers
)

// shares is how often each behaviour is seen by the weak policy.
var shares = []float64{Good: 0.30, AnswerAtOnce: 0.25, SearchElse: 0.18, CopyWrong: 0.15, GiveUp: 0.12}

func (w *Writer) behaviour() Behaviour {
	u := w.rng.Float64()
	for b, p := range shares {
		if u -= p; u < 0 {
			return Behaviour(b)
		}
	}
	return Good
}

// conclusion is what the policy thinks when it has found a fact.
func conclusion(f Fact) string { return "<think> " + capital(f.Sentence()) + " </think>\n" }

// Observation is how a result stands in the policy's context.
func Observation(docs string) string { return "\n\n<information>" + docs + "</information>\n\n" }

// Trajectory is an episode of the weak policy: only its own words are learned.
func (w *Writer) Trajectory(b Behaviour) Example {
	q := w.question()
	e := Example{{Prompt(q.Text), false}}
	say := func(format string, args ...any) { e = append(e, Part{fmt.Sprintf(format, args...), true}) }
	answer := func(name string) { say("<answer> %s </answer>", name) }
	if b == AnswerAtOnce {
		say("<think> I know. </think>\n")
		answer(w.names.name())
		return e
	}
	for hop, f := range q.Chain {
		for range 3 {
			found := w.chance(0.7)
			asked := f
			if b == SearchElse {
				asked = w.fact(w.otherRelation(f.R), f.X)
			}
			lines := w.Result(asked, found)
			say("<think> I need the %s of %s. </think>\n<search> %s </search>", Relations[asked.R].Word, asked.X, asked.Query())
			e = append(e, Part{Observation(documents(lines)), false})
			if b == SearchElse || b == GiveUp && !found {
				answer(w.anyName(lines, ""))
				return e
			}
			if found {
				break
			}
			say("<think> Not found. </think>\n")
			if hop+1 == len(q.Chain) && w.chance(0.1) { // the last word of a long search
				answer(w.anyName(lines, ""))
				return e
			}
		}
		if !w.found(e, f) {
			answer(w.names.name())
			return e
		}
		if b == CopyWrong && w.chance(0.6) || b == GiveUp {
			name := f.Y
			if b == CopyWrong {
				name = w.anyName([]string{e[len(e)-1].Text}, f.Y)
			}
			answer(name)
			return e
		}
		say("%s", conclusion(f))
	}
	answer(q.Answer())
	return e
}

// found says whether the last result of e states f.
func (w *Writer) found(e Example, f Fact) bool {
	return strings.Contains(e[len(e)-1].Text, capital(f.Sentence()))
}

// otherRelation draws another relation of the same kind of entity.
func (w *Writer) otherRelation(r int) int {
	var others []int
	for o := range Relations {
		if o != r && Relations[o].Of == Relations[r].Of {
			others = append(others, o)
		}
	}
	return others[w.rng.IntN(len(others))]
}

// anyName takes a name out of documents, other than not; where there is none it invents one.
func (w *Writer) anyName(lines []string, not string) string {
	var names []string
	for _, l := range lines {
		for _, word := range strings.FieldsFunc(l, func(r rune) bool { return r == ' ' || r == '.' || r == '\n' || r == '<' || r == '>' }) {
			if isName(word) && word != not {
				names = append(names, word)
			}
		}
	}
	if len(names) == 0 {
		return w.names.name()
	}
	return names[w.rng.IntN(len(names))]
}

func isName(word string) bool {
	for _, a := range firsts {
		if rest, ok := strings.CutPrefix(word, a); ok && slices.Contains(seconds, rest) {
			return true
		}
	}
	return false
}
