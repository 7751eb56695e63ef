package main

import (
	"cmp"
	"context"

	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/simulate"
)

type simulateCmd struct {
	common
	simFlags
	modelFlags
	Data    string        `name:"data" help:"Requests, a JSON object a line: query, question, golden_answers, quality; - is stdin. With --out: files of rows, .jsonl or .parquet, separated by commas; a row without a query asks with its question." default:"-" placeholder:"FILE"`
	Measure []string      `name:"measure" help:"Write no documents: score those in these folders and files (what simulate wrote, or a run's episodes)." placeholder:"DIR|FILE"`
	Seed    uint64        `name:"seed" help:"Seed of sampling; what a request gets depends on its content, not on its line." default:"1"`
	Search  config.Search `embed:""`

	Out         string `name:"out" help:"Folder for the rows of all requests, in shards: a run that was stopped or killed goes on there, and several processes share the work." placeholder:"DIR"`
	ShardRows   int    `name:"shard-rows" help:"Requests of a shard, a file of --out." default:"10000"`
	Format      string `name:"shard-format" help:"jsonl or parquet." default:"jsonl" enum:"jsonl,parquet"`
	Raw         bool   `name:"raw" help:"Keep what the simulator wrote as a whole, beside the documents." default:"true" negatable:""`
	Concurrency int    `name:"concurrency" help:"Requests in flight; changes speed and memory, never a result." default:"64"`
	proposeFlags
	readerFlags
	simulate.Filter
}

type simulateAnswer struct {
	Query            string   `json:"query"`
	Quality          string   `json:"quality"`
	Documents        []string `json:"documents"`
	Raw              string   `json:"raw"`
	PromptTokens     int      `json:"prompt_tokens"`
	CompletionTokens int      `json:"completion_tokens"`
}

func (c *simulateCmd) Run(w *world) error {
	if c.Measure != nil {
		return c.measure(w)
	}
	if err := c.check(w); err != nil {
		return err
	}
	var files []string
	if c.Out != "" {
		var err error
		if files, err = c.rows(w); err != nil {
			return err
		}
	}
	var model *served
	defer func() {
		if model != nil {
			model.Close()
		}
	}()
	c.Search.Threads, c.Search.Progress = c.Threads, w.embedding
	engines, err := roles.OpenSearch(w.ctx, &c.Search, func() (g search.Generator, err error) {
		on := c.common // the model is the simulator here
		on.Device = cmp.Or(c.SimDevice, c.Device)
		if model, err = c.serve(w, on); err != nil {
			return nil, err
		}
		return roles.EngineSimulator(model.eng, served0, model.model, model.model.Adapter, c.Search.SimThinking)
	})
	if err != nil {
		return err
	}
	defer engines.Close()
	w.notes(engines.Notes)
	if c.Out != "" {
		return c.scale(w, engines, files)
	}
	s := c.Search.Meter().Wrap(engines.Searcher)
	in, err := w.input(c.Data)
	if err != nil {
		return err
	}
	defer in.Close()
	seen := map[uint64]uint64{}
	return eachLine(w, in, func(_ int, r simulate.Request) func(context.Context) (simulateAnswer, error) {
		r.Query = cmp.Or(r.Query, r.Question)
		h := r.Hash()
		seen[h]++
		n := seen[h]
		return func(ctx context.Context) (simulateAnswer, error) {
			q, err := r.Ask(c.Seed, n, 0)
			if err != nil {
				return simulateAnswer{}, err
			}
			d, err := s.Search(ctx, q)
			return simulateAnswer{r.Query, string(d.Quality), orEmpty(d.Docs), d.Raw, d.PromptTokens,
				d.CompletionTokens}, err
		}
	})
}

// check refuses flags that contradict each other, and fills in what follows from other flags.
func (c *simulateCmd) check(w *world) error {
	curriculum := w.given("start-threshold") || w.given("end-threshold") || w.given("curriculum")
	switch {
	case c.Out == "" && curriculum:
		return usagef("a curriculum goes over the rows of --out DIR: say how noisy lines are with --noise-rate")
	case curriculum && c.Search.NoiseRate != nil:
		return usagef("--noise-rate and a curriculum contradict each other: give one or the other")
	case c.Out == "" && (c.Filter != (simulate.Filter{Tries: 1}) || c.proposeFlags != (proposeFlags{})):
		return usagef("filters and proposals need --out DIR")
	}
	if c.Search.NoiseRate == nil && !curriculum {
		c.Search.NoiseRate = new(float64)
	}
	if err := c.Search.Check(); err != nil {
		return usageError{err}
	}
	if err := c.simFlags.check(&c.Search); err != nil {
		return err
	}
	if c.modelFlags.Model == "" && !c.Search.OwnSimulator() {
		c.modelFlags.Model = c.Search.SimulationLLM
	}
	if c.Search.SimThinking == nil {
		c.Search.SimThinking = c.Thinking // the model is the simulator here
	}
	if c.Out == "" {
		return nil
	}
	switch {
	case c.Data == "-" && c.Questions == 0:
		return usagef("--out needs --data FILE: the rows are read again when the work goes on")
	case c.ShardRows < 1 || c.Concurrency < 1:
		return usagef("--shard-rows and --concurrency must be at least 1")
	}
	if err := c.Filter.Check(); err != nil {
		return usageError{err}
	}
	return c.proposeFlags.check(c.Data, c.Search.Corpus)
}
