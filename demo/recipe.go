package demo

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// This file generates the data that the embedded models are trained on. Every example has new random facts, so the
// model cannot memorize them and must find the answer in its context.

// Part is a part of an example. Learn says whether the loss includes its tokens.
type Part struct {
	Text  string
	Learn bool
}

// Example is one training text.
type Example []Part

// docsPerResult is the number of documents in a search result of the demo (--topk).
const docsPerResult = 3

// Prompt is the policy's prompt. It has no instructions: the demo's models are too small to follow them.
func Prompt(question string) string { return "Question: " + question + "\n" }

// Writer draws examples.
type Writer struct {
	rng   *rand.Rand
	names namer
}

// NewWriter makes a Writer with a seed.
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

// Repeat is a list of names and words, given twice. Only the second copy is trained: it is predictable from the first,
// so the model learns to copy.
func (w *Writer) Repeat() Example {
	var words []string
	for range 6 + w.rng.IntN(24) {
		if w.chance(0.7) {
			words = append(words, w.names.name())
		} else {
			words = append(words, []string{"was", "in", "by", "the", "of", "maker", "born", "taught", "bell",
				"lamp"}[w.rng.IntN(10)])
		}
	}
	text := " " + strings.Join(words, " ")
	return Example{{text, false}, {text + "\n", true}}
}

// LookUp is a list of facts and a question about each. The trained text is the fact, then the answer. Repeating the
// fact first makes the look-up an induction (which token followed these words before?), which small models learn. They
// hardly learn to answer directly.
func (w *Writer) LookUp(facts int) Example {
	var known []Fact
	var lines []string
	pool := w.pool(facts)
	seen := map[string]bool{}
	// often all facts are of one relation, and names alone tell them apart; a small pool may not have as many
	only := -1
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
		e = append(e, Part{Prompt(ask1(f).Text), false}, Part{conclusion(f) + "<answer> " + f.Y + " </answer>", true},
			Part{"\n", false})
	}
	return e
}

// pool draws the entities of a look-up's facts. Either there are so few that nearly every name is in several facts, as
// subject and as object, like the neighbours of an entity in a real index; or there are so many that hardly any name is
// used twice. Duplicates are fine.
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

// Result writes the documents of a search for f: about other entities and about f.X, and one that states f if useful.
// Half of the results resemble those of a real index: nearly all documents name f.X, often as the object of another
// fact.
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

// noise writes the documents of a noisy simulator. They are about other entities, so that a reader can tell that they
// are noise.
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

// besides draws a fact that a search for f may find instead of f. p are the probabilities of three kinds: the same
// relation of another entity, another relation of f.X, and a fact whose object is f.X. Otherwise it is any fact.
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

// Simulation is an example for the simulator: ZeroSearch's prompt (simulate_sft) and the documents. The prompt contains
// the question's final answer. The simulator invents intermediate facts.
func (w *Writer) Simulation() (prompt, output string) {
	q := w.question()
	k := w.rng.IntN(len(q.Chain))
	f := q.Chain[k]
	switch w.rng.IntN(10) { // queries of a weak policy
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
	prompt = search.Render(search.SFT, quality, search.Query{Question: q.Text, GoldenAnswers: []string{q.Answer()},
		Query: f.Query()}, docsPerResult)
	lines := w.noise(f)
	if useful {
		lines = w.Result(f, true)
	}
	return prompt, documents(lines) + "\n"
}

// Behaviour is how a generated trajectory answers a question.
type Behaviour int

// Behaviours of the weak policy.
const (
	Good         Behaviour = iota // searches for the needed fact, again after a noisy result, and copies the answer
	AnswerAtOnce                  // answers with a random name without a search
	SearchElse                    // searches for another relation of the entity and copies a name from the result
	CopyWrong                     // searches for the needed fact but copies another name
	GiveUp                        // answers after the first hop, or with a name from a noisy result
)

// shares are the fractions of the behaviours in the weak policy's training data.
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

// conclusion is the policy's thought after it has found a fact.
func conclusion(f Fact) string { return "<think> " + capital(f.Sentence()) + " </think>\n" }

// Observation is a search result as the policy's context contains it.
func Observation(docs string) string { return "\n\n<information>" + docs + "</information>\n\n" }

// Trajectory is an episode of the weak policy. Only the policy's text is trained, not the observations.
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
			say("<think> I need the %s of %s. </think>\n<search> %s </search>", Relations[asked.R].Word, asked.X,
				asked.Query())
			e = append(e, Part{Observation(documents(lines)), false})
			if b == SearchElse || b == GiveUp && !found {
				answer(w.anyName(lines, ""))
				return e
			}
			if found {
				break
			}
			say("<think> Not found. </think>\n")
			if hop+1 == len(q.Chain) && w.chance(0.1) { // some end an unsuccessful search with a guess
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

// found reports whether the last result in e states f.
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

// anyName draws a name other than not from documents; if they have none, it draws a random name.
func (w *Writer) anyName(lines []string, not string) string {
	var names []string
	for _, l := range lines {
		for _, word := range strings.FieldsFunc(l, func(r rune) bool {
			return r == ' ' || r == '.' || r == '\n' ||
				r == '<' || r == '>'
		}) {
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
