package demo

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// evalNoise is the fraction of noisy search results when held-out questions are measured.
const evalNoise = 0.25

// ScoresFile is the file of the run directory that holds the measurements, as report.html shows them.
const ScoresFile = "eval-demo.json"

// measurement measures the policy on the held-out questions, before and after training.
type measurement struct {
	t         *rl.Trainer
	o         *Options
	questions []data.Question
	simulated search.Simulated
	index     *search.BM25
	rows      []map[string]any              // one for each measurement, in the form of eval --json
	greedy    map[string][]*episode.Episode // greedy episodes on the index, by before and after
}

func (o *Options) measurement(t *rl.Trainer) (x *measurement, err error) {
	x = &measurement{t: t, o: o, simulated: *t.Worker.Runner.Searcher.(*search.Simulated),
		greedy: map[string][]*episode.Episode{}}
	noise := evalNoise
	x.simulated.NoiseRate = &noise
	if x.questions, err = data.Load(filepath.Join(o.Dir, "heldout.jsonl")); err != nil {
		return nil, err
	}
	if x.index, err = search.LoadBM25(filepath.Join(o.Dir, "corpus.jsonl")); err != nil {
		return nil, err
	}
	x.index.TopK = docsPerResult
	return x, nil
}

// measure answers all questions with each engine, greedily and sampled, and sets r's scores. when is before or after.
func (x *measurement) measure(ctx context.Context, when string, r *Result) error {
	engines := []struct {
		name, engine                             string
		searcher                                 search.Searcher
		greedyBefore, before, greedyAfter, after *float64
	}{
		{"simulated engine", "simulated", &x.simulated, &r.GreedyBefore, &r.Before, &r.Greedy, &r.After},
		{"real index", "bm25", x.index, &r.IndexGreedyBefore, &r.IndexBefore, &r.IndexGreedy, &r.Index},
		{"search off", "none", search.None{}, nil, nil, &r.NoSearchGreedy, &r.NoSearch},
	}
	for _, e := range engines {
		toGreedy, toSampled := e.greedyBefore, e.before
		if when == "after" {
			toGreedy, toSampled = e.greedyAfter, e.after
		}
		if toGreedy == nil {
			continue
		}
		name := when + ", " + e.name
		x.o.phase(name)
		greedy, all, err := x.score(ctx, when+", greedy", e.engine, e.searcher, 0)
		if err != nil {
			return err
		}
		if e.engine == "bm25" {
			x.greedy[when] = all
		}
		sampled, _, err := x.score(ctx, when+", sampled", e.engine, e.searcher, 1)
		if err != nil {
			return err
		}
		*toGreedy, *toSampled = greedy.F1, sampled.F1
		if x.o.OnScore != nil {
			x.o.OnScore(name, greedy, sampled)
		}
	}
	return nil
}

func (x *measurement) score(ctx context.Context, method, engine string, s search.Searcher, temperature float64) (
	rollout.SourceReport, []*episode.Episode, error) {
	worker := x.t.Worker
	worker.Runner.Searcher = s
	all, err := worker.Evaluate(ctx, x.questions, episode.Sampling{Temperature: temperature}, x.o.Seed, 0)
	if err != nil {
		return rollout.SourceReport{}, nil, err
	}
	reports := rollout.Report(all, make([]string, len(all)))
	r := reports[len(reports)-1]
	x.rows = append(x.rows, map[string]any{"method": method, "source": "all", "engine": engine, "n": len(all),
		"f1": r.F1, "em": r.EM, "searches_per_question": r.Searches, "valid_action_rate": r.ValidAction})
	return r, all, nil
}

// write writes the measurements into the run directory.
func (x *measurement) write() error {
	b, err := json.Marshal(map[string]any{"model": "the demo's policy", "engine": "simulated, bm25, none",
		"sources": x.rows})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(x.o.Dir, ScoresFile), append(b, '\n'), 0o644)
}

// Example is a held-out question with its greedy episodes on the index before and after training.
type Example struct {
	Before, After *episode.Episode
	// Learned says that Before is wrong, After is right, and that every step of After follows from its documents (see
	// Follows). The question is the first two-hop question of this kind; where there is none, the first two-hop
	// question.
	Learned bool
}

func (x *measurement) example() (first Example) {
	for i, q := range x.questions {
		if q.DataSource != "two-hop" {
			continue
		}
		e := Example{Before: x.greedy["before"][i], After: x.greedy["after"][i]}
		if e.Learned = !Right(e.Before) && Right(e.After) && Follows(e.After); e.Learned {
			return e
		}
		if first.Before == nil {
			first = e
		}
	}
	return first
}

// Right reports whether an episode ends with an accepted answer.
func Right(e *episode.Episode) bool {
	answer, ok := e.Answer()
	return ok && slices.Contains(e.GoldenAnswers, answer)
}

// Follows reports whether every step of an episode follows from what the policy has read: each fact that it states is
// a document that was found before, and each name that it writes stands in the question or in such a document.
func Follows(e *episode.Episode) bool {
	known, read := namesIn(e.Question), []string{}
	for _, t := range e.Turns {
		for _, name := range namesIn(t.Text) {
			if !slices.Contains(known, name) {
				return false
			}
		}
		for _, line := range strings.Split(t.Text, "\n") {
			thought, ok := strings.CutPrefix(strings.TrimSpace(line), "<think> ")
			thought = strings.TrimSuffix(thought, " </think>")
			if ok && len(namesIn(thought)) > 1 && !slices.Contains(read, thought) {
				return false
			}
		}
		for _, d := range t.Documents {
			read = append(read, strings.TrimSpace(d))
			known = append(known, namesIn(d)...)
		}
	}
	return len(e.Turns) > 1
}

// namesIn gives the names in a text, in their order.
func namesIn(text string) (names []string) {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" .?\n<>", r) }) {
		if isName(word) {
			names = append(names, word)
		}
	}
	return names
}
