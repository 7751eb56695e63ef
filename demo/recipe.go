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

// Text is one training text.
type Text []Part

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
func (w *Writer) Repeat() Text {
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
	return Text{{text, false}, {text + "\n", true}}
}

// LookUp is a list of facts and a question about each. The trained text is the fact, then the answer. Repeating the
// fact first makes the look-up an induction (which token followed these words before?), which small models learn. They
// hardly learn to answer directly. alike is the probability that all facts are of one relation: then names alone tell
// them apart. gap is the number of words that stay between subject and object, of three in whole sentences. absent is
// the probability that a question is about a fact that is not in the list.
func (w *Writer) LookUp(facts int, alike float64, gap int, absent float64) Text {
	var known []Fact
	var lines []string
	pool := w.pool(facts)
	seen := map[string]bool{}
	only := -1 // a small pool may not have as many facts of one relation
	if w.chance(alike) {
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
		lines = append(lines, shorten(f.Sentence(), gap))
	}
	e := Text{{documents(lines) + "\n", false}}
	for _, i := range w.rng.Perm(facts) {
		f := known[i]
		if w.chance(absent) {
			if f = w.fact(f.R, ""); w.chance(0.5) {
				f.X = w.oneOf(pool[Relations[f.R].Of])
			}
			if !seen[f.Query()] {
				e = append(e, Part{Prompt(ask1(f).Text), false}, Part{notFound(f), true})
				continue
			}
			f = known[i]
		}
		e = append(e, Part{Prompt(ask1(f).Text), false},
			Part{thought(shorten(f.Sentence(), gap)) + "<answer> " + f.Y + " </answer>", true}, Part{"\n", false})
	}
	return e
}

// shorten leaves the last gap of the three words between a sentence's subject and object: with gap 1, "X was born in
// Y." becomes "X in Y."
func shorten(sentence string, gap int) string {
	words := strings.Split(sentence, " ")
	n := len(words) - 1 // the object
	return strings.Join(slices.Concat(words[:n-3], words[n-gap:]), " ")
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

// Simulation is an example for the simulator: ZeroSearch's prompt (simulate_sft) and the documents. The answer in the
// prompt is that of the query's own fact, as the demo's engine gives it (see World.FactsAbout); at the first hop it is
// not the answer of the question. A query for no known fact names no answer and gets noise.
func (w *Writer) Simulation() (prompt, output string) {
	q := w.question()
	f := q.Chain[w.rng.IntN(len(q.Chain))]
	quality := search.Noisy
	if w.chance(0.5) {
		quality = search.Useful
	}
	golds := []string{f.Y}
	switch w.rng.IntN(10) {
	case 0: // another relation of the same entity
		f = w.fact(w.otherRelation(f.R), f.X)
		golds = []string{f.Y}
	case 1: // somebody unknown
		f = w.fact(f.R, "")
		golds, quality = nil, search.Noisy
	}
	prompt = search.Render(search.SFT, quality, search.Query{Question: q.Text, GoldenAnswers: golds, Query: f.Query()},
		docsPerResult)
	lines := w.noise(f)
	if quality == search.Useful {
		lines = w.Result(f, true)
	}
	return prompt, documents(lines) + "\n"
}

// Habits are the decisions of an episode. The weak policy has all skills (it asks for the right fact, in the form of a
// query, and copies names), but it seldom decides well.
type Habits struct {
	Searches    bool // otherwise it answers at once, with any name
	Reads       bool // answers from a useful result; otherwise with another name
	SearchAgain bool // after a result without the fact; otherwise it answers with a name from that result
	SecondHop   bool // searches for the second hop, too; otherwise it answers with what the first one found
}

// weak are the probabilities of the four decisions in the weak policy's training data. They are drawn independently.
var weak = struct{ searches, reads, searchAgain, secondHop float64 }{0.35, 0.5, 0.5, 0.5}

// habits draws the decisions of an episode of the weak policy.
func (w *Writer) habits() Habits {
	return Habits{w.chance(weak.searches), w.chance(weak.reads), w.chance(weak.searchAgain), w.chance(weak.secondHop)}
}

// search draws the result of a search for f. found says whether it states f, with the given probability.
func (w *Writer) search(f Fact, probability float64) (lines []string, found bool) {
	found = w.chance(probability)
	if !found && w.chance(0.5) {
		return w.noise(f), false
	}
	return w.Result(f, found), found
}

// query is the policy's search for f.
func query(f Fact) string {
	return fmt.Sprintf("<think> I need the %s of %s. </think>\n<search> %s </search>", Relations[f.R].Word, f.X,
		f.Query())
}

// conclusion is the policy's thought after it has found a fact.
func conclusion(f Fact) string { return thought(f.Sentence()) }

// notFound is the policy's thought after a result that does not state f. It repeats the subject and the verb, so the
// policy decides whether the fact is there at the token where it would copy the object. When this thought was other
// words, which a policy had to choose before it looked for the object, it invented objects after a third of such
// results, and after more in the course of training.
func notFound(f Fact) string {
	return thought(strings.TrimSuffix(f.Sentence(), " "+f.Y+".") + ": not found.")
}

func thought(sentence string) string { return "<think> " + capital(sentence) + " </think>\n" }

// Observation is a search result as the policy's context contains it.
func Observation(docs string) string { return "\n\n<information>" + docs + "</information>\n\n" }

// maxSearches is how often an episode searches at most, in the training texts as in the demo.
const maxSearches = 4

// Trajectory is an episode of an invented question.
func (w *Writer) Trajectory(h Habits) Text { return w.episode(w.question(), h) }

// episode writes an episode. Only the policy's text is trained, not the observations.
func (w *Writer) episode(q Question, h Habits) Text {
	e := Text{{Prompt(q.Text), false}}
	say := func(format string, args ...any) { e = append(e, Part{fmt.Sprintf(format, args...), true}) }
	answer := func(name string) Text {
		say("<answer> %s </answer>", name)
		return e
	}
	if !h.Searches {
		say("<think> I know. </think>\n")
		return answer(w.names.name())
	}
	searches := 0
	for hop, f := range q.Chain {
		for found := false; !found; {
			say("%s", query(f))
			var lines []string
			lines, found = w.search(f, 0.7)
			e = append(e, Part{Observation(documents(lines)), false})
			searches++
			switch {
			case found && !h.Reads:
				return answer(w.anyName(lines, f.Y))
			case !found && (!h.SearchAgain || searches == maxSearches):
				return answer(w.anyName(lines, ""))
			case !found:
				say("%s", notFound(f))
			}
		}
		say("%s", conclusion(f))
		if hop+1 < len(q.Chain) && (!h.SecondHop || searches == maxSearches) {
			return answer(f.Y)
		}
	}
	return answer(q.Answer())
}

// Reaction is an episode that searches. Its first search is not trained: the policy learns how to go on after a result,
// not to search.
func (w *Writer) Reaction(h Habits) Text {
	h.Searches = true
	e := w.Trajectory(h)
	e[1].Learn = false
	return e
}

// Reading is a search and the policy's thought about its result. Only the end of the thought is trained: the name that
// the result gives, or that it gives none.
func (w *Writer) Reading() Text {
	q := w.question()
	f := q.Chain[w.rng.IntN(len(q.Chain))]
	lines, said := w.search(f, 0.6)
	after := notFound(f)
	if said {
		after = conclusion(f)
	}
	at := len(notFound(f)) - len(": not found. </think>\n")
	return Text{{Prompt(q.Text) + query(f) + Observation(documents(lines)) + after[:at], false}, {after[at:], true}}
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
	names := slices.DeleteFunc(namesIn(strings.Join(lines, "\n")), func(name string) bool { return name == not })
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
