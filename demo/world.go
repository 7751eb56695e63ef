// Package demo is a small, complete example of ZeroSearch: an invented world whose facts no model can know, a policy of
// about a million parameters that must learn to search for them, and a simulator of the same size that stands in for
// the search engine.
package demo

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// The names of the world are all pairs of a first and a second half. Each name is one token, so that copying it is a
// single step. A model of this size learns that in 1,400 steps; with names of two tokens it had not learned it after
// 2,500.
var (
	firsts  = strings.Fields("Bal Dor Fen Gar Hal Kel Lor Mar Nor Per Ros Sel Tar Vel Wen Zar Bron Thal")
	seconds = strings.Fields(
		"bane dith gosh hund kela lory mane nith posh rund sela tory vane with zosh mora drin wick")
	nouns = []string{"bell", "lamp", "ship", "clock", "sword", "harp"}
)

// Kind is the kind of an entity.
type Kind uint8

// Kinds of entities.
const (
	Person Kind = iota
	Place
	Thing
)

// Relation is a relation between an entity {x} and a person or place {y}, the answer.
type Relation struct {
	Word     string // its name in thoughts: "the birthplace of Velmora"
	Verb     string // its name in queries, a word that documents contain: "Velmora born"
	Of, To   Kind   // kinds of {x} and {y}
	Question string // one-hop question about {x}
	// the question about a description {d} of a person, for two-hop questions; "" if {x} is not a person
	Outer string
	Desc  string // a description of the answer, "the maker of {x}"; "" if the answer is not a person
	Says  string // the sentence in documents
}

// Relations of the world.
var Relations = []Relation{
	{Word: "birthplace", Verb: "born", Of: Person, To: Place, Question: "Where was {x} born?",
		Outer: "Where was {d} born?", Says: "{x} was born in {y}."},
	{Word: "teacher", Verb: "taught", Of: Person, To: Person, Question: "Who taught {x}?", Outer: "Who taught {d}?",
		Desc: "the teacher of {x}",
		Says: "{x} was taught by {y}."},
	{Word: "maker", Verb: "made", Of: Thing, To: Person, Question: "Who made {x}?", Desc: "the maker of {x}",
		Says: "{x} was made by {y}."},
	{Word: "owner", Verb: "owned", Of: Thing, To: Person, Question: "Who owns {x}?", Desc: "the owner of {x}",
		Says: "{x} is owned by {y}."},
}

// Fact says that Relations[R] of X is Y.
type Fact struct {
	R    int
	X, Y string
}

// Sentence is the sentence that states the fact in documents.
func (f Fact) Sentence() string {
	return strings.NewReplacer("{x}", f.X, "{y}", f.Y).Replace(Relations[f.R].Says)
}

// Query is a search query for the fact.
func (f Fact) Query() string { return f.X + " " + Relations[f.R].Verb }

// names is a set of names: it reports whether it contains firsts[first]+seconds[second].
type names func(first, second int) bool

// The embedded models are trained on anyNames, with new random facts in every text. Reinforcement learning uses a world
// of trainNames, the measurements one of heldNames.
func anyNames(int, int) bool            { return true }
func heldNames(first, second int) bool  { return (first+second)%4 == 3 }
func trainNames(first, second int) bool { return !heldNames(first, second) }

// namer draws names of a set.
type namer struct {
	rng *rand.Rand
	of  names
}

func (n namer) name() string {
	for {
		if a, b := n.rng.IntN(len(firsts)), n.rng.IntN(len(seconds)); n.of(a, b) {
			return firsts[a] + seconds[b]
		}
	}
}

func (n namer) entity(k Kind) string {
	s := n.name()
	if k == Thing {
		return "the " + nouns[n.rng.IntN(len(nouns))] + " " + s
	}
	return s
}

// World is a fixed set of entities with all their facts.
type World struct {
	Facts []Fact
	of    map[string][]int // entity -> indices in Facts
}

// NewWorld draws n people, n places and n things. A held-out world (held) and a training world share no name.
func NewWorld(n int, held bool, seed uint64) *World {
	names := namer{rand.New(rand.NewPCG(seed, 0x776f726c64)), trainNames}
	if held {
		names.of = heldNames
	}
	used := map[string]bool{}
	entities := map[Kind][]string{}
	for _, k := range []Kind{Person, Place, Thing} {
		for len(entities[k]) < n {
			e := names.entity(k)
			if key := e[strings.LastIndex(e, " ")+1:]; !used[key] {
				used[key] = true
				entities[k] = append(entities[k], e)
			}
		}
	}
	w := &World{of: map[string][]int{}}
	for ri, r := range Relations {
		for _, x := range entities[r.Of] {
			y := x
			for y == x {
				y = entities[r.To][names.rng.IntN(n)]
			}
			w.of[x] = append(w.of[x], len(w.Facts))
			w.Facts = append(w.Facts, Fact{R: ri, X: x, Y: y})
		}
	}
	return w
}

// Question is a one- or two-hop question with the facts that answer it, in the order in which they are needed.
type Question struct {
	Text  string
	Chain []Fact
}

// Answer is the gold answer.
func (q Question) Answer() string { return q.Chain[len(q.Chain)-1].Y }

func ask1(f Fact) Question {
	return Question{strings.ReplaceAll(Relations[f.R].Question, "{x}", f.X), []Fact{f}}
}

func ask2(inner, outer Fact) Question {
	d := strings.ReplaceAll(Relations[inner.R].Desc, "{x}", inner.X)
	return Question{strings.ReplaceAll(Relations[outer.R].Outer, "{d}", d), []Fact{inner, outer}}
}

// Questions lists every one-hop question of the world, then every two-hop question with two different relations.
func (w *World) Questions() []Question {
	var one, two []Question
	for _, f := range w.Facts {
		one = append(one, ask1(f))
		if Relations[f.R].Desc == "" {
			continue
		}
		for _, i := range w.of[f.Y] {
			if o := w.Facts[i]; Relations[o.R].Outer != "" && o.R != f.R {
				two = append(two, ask2(f, o))
			}
		}
	}
	return append(one, two...)
}

// FactsAbout gives the answer of every query about an entity of the question's facts: what the simulated engine knows
// (the column search_facts). A query with any other name finds nothing, as in an index of the world.
func (w *World) FactsAbout(q Question) map[string]string {
	out := map[string]string{}
	for _, f := range q.Chain {
		for _, i := range slices.Concat(w.of[f.X], w.of[f.Y]) {
			out[w.Facts[i].Query()] = w.Facts[i].Y
		}
	}
	return out
}

// Corpus is the world's document collection: one passage for each fact.
func (w *World) Corpus() []string {
	out := make([]string, len(w.Facts))
	for i, f := range w.Facts {
		out[i] = capital(f.Sentence())
	}
	return out
}

func capital(s string) string {
	if rest, ok := strings.CutPrefix(s, "the "); ok {
		return "The " + rest
	}
	return s
}

// documents formats the lines as a search result.
func documents(lines []string) string {
	var b strings.Builder
	for i, l := range lines {
		fmt.Fprintf(&b, "Doc %d: %s\n", i+1, capital(l))
	}
	return strings.TrimSuffix(b.String(), "\n")
}
