// Package demo is the whole idea in miniature: an invented world that no model can know, a policy of about a million
// parameters that must learn to search it, and a simulator of the same size that plays the search engine.
package demo

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// The names of the world: every pair of a first and a second half. Each is one token, so that copying
// one is a single step: a model of this size learns it in 1,500 steps; with names of two tokens it had not after 2,500.
var (
	firsts  = strings.Fields("Bal Dor Fen Gar Hal Kel Lor Mar Nor Per Ros Sel Tar Vel Wen Zar Bron Thal")
	seconds = strings.Fields("bane dith gosh hund kela lory mane nith posh rund sela tory vane with zosh mora drin wick")
	nouns   = []string{"bell", "lamp", "ship", "clock", "sword", "harp"}
)

// Kind is what an entity is.
type Kind uint8

// Kinds of entities.
const (
	Person Kind = iota
	Place
	Thing
)

// Relation is one thing to know about an entity: its answer is always the name of a person or a place.
type Relation struct {
	Word     string // as a thought names it: "the birthplace of Velmora"
	Verb     string // as a query names it, with a word that documents have: "Velmora born"
	Of, To   Kind
	Question string // one-hop question about {x}
	Outer    string // the same about a description {d} of a person, for two-hop questions; "" where {x} is no person
	Desc     string // describes the answer, "the maker of {x}"; "" where the answer is no person
	Says     string // how documents state it
}

// Relations of the world.
var Relations = []Relation{
	{Word: "birthplace", Verb: "born", Of: Person, To: Place, Question: "Where was {x} born?", Outer: "Where was {d} born?", Says: "{x} was born in {y}."},
	{Word: "teacher", Verb: "taught", Of: Person, To: Person, Question: "Who taught {x}?", Outer: "Who taught {d}?", Desc: "the teacher of {x}",
		Says: "{x} was taught by {y}."},
	{Word: "maker", Verb: "made", Of: Thing, To: Person, Question: "Who made {x}?", Desc: "the maker of {x}", Says: "{x} was made by {y}."},
	{Word: "owner", Verb: "owned", Of: Thing, To: Person, Question: "Who owns {x}?", Desc: "the owner of {x}", Says: "{x} is owned by {y}."},
}

// Fact says that Relations[R] of X is Y.
type Fact struct {
	R    int
	X, Y string
}

// Sentence is how a document states the fact.
func (f Fact) Sentence() string {
	return strings.NewReplacer("{x}", f.X, "{y}", f.Y).Replace(Relations[f.R].Says)
}

// Query asks an engine for the fact.
func (f Fact) Query() string { return f.X + " " + Relations[f.R].Verb }

// names is a set of names.
type names func(first, second int) bool

// anyNames are those that the embedded models are made with, in facts that are invented anew for every text. Reinforcement happens in a
// world of trainNames; the measurements in one of heldNames, which reinforcement never meets.
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

// World is a closed set of entities with all their facts.
type World struct {
	Facts []Fact
	of    map[string][]int // facts about an entity
}

// NewWorld invents people, places and things, n of each, from seed. A held world shares no name with one that is not.
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

// Questions lists every one-hop question of the world, then every two-hop one about two relations: from "Who taught the teacher of X?" the
// simulator cannot tell which of the two a query is after, and gives the answer away too early.
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

// Corpus is the world as a document collection: a passage a fact.
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

// documents are the lines of a search result.
func documents(lines []string) string {
	var b strings.Builder
	for i, l := range lines {
		fmt.Fprintf(&b, "Doc %d: %s\n", i+1, capital(l))
	}
	return strings.TrimSuffix(b.String(), "\n")
}
