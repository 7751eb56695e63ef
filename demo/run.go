package demo

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// embedded has the models that Make writes with Recipe and seed 1.
//
//go:embed models
var embedded embed.FS

// Options of a run of the demo.
type Options struct {
	Dir         string // run directory, must be new
	Seed        uint64
	Steps       int      // training steps; 0: as in Size
	Small       bool     // the small demo, for slow devices: see Size
	Algo        string   // "": grpo
	Reward      string   // "": f1; shuffled and constant are negative controls
	NoiseRate   *float64 // nil: the curriculum 0 to 0.4; 1 is a negative control
	SearchOff   bool     // train without a search engine: a negative control
	FromScratch bool     // train the two models first instead of unpacking them

	OnMake    func(stage string, step, steps int, m rundir.Metrics)
	OnPhase   func(name string)                                        // before each measurement and before training
	OnStep    func(step, steps int, m rundir.Metrics, curve []float64) // after each training step
	OnScore   func(name string, greedy, sampled rollout.SourceReport)  // after each measurement
	OnExample func(x Example)                                          // at the end: an episode before and after
	configure func(c *config.Config)
	held      int // number of held-out questions; 0: as in Size
}

// Size is the size of a demo.
type Size struct {
	Steps, Questions, Rollouts int // training steps, questions a step, rollouts a question
	Held                       int // held-out questions of a measurement
	LR                         float64
	LRSchedule                 string
}

// Size returns the full size, which takes less than a minute with vector instructions, or the small one, which takes
// minutes in plain Go. Five steps are few: they need a higher learning rate, and a decay, without which it forgets.
func (o *Options) Size() Size {
	if o.Small {
		return Size{Steps: 5, Questions: 8, Rollouts: 8, Held: 20, LR: 4e-4, LRSchedule: "linear"}
	}
	return Size{Steps: 16, Questions: 16, Rollouts: 8, Held: 100, LR: 2e-4, LRSchedule: "constant"}
}

// simTemperature is the sampling temperature of the simulator. At ZeroSearch's 0.8, and still at 0.5, a simulator of a
// million parameters states a second, wrong name beside the right one in many useful results (docs/demo.md).
const simTemperature = 0.1

// Result has the measurements of a demo: F1 on questions about a held-out world. Its facts are in no text that a model
// was trained on, and its names do not occur in reinforcement learning. Fields named greedy are measured with the
// likeliest tokens, all others with tokens sampled at temperature 1.
type Result struct {
	Before            float64   `json:"f1_before"` // simulated engine, a quarter of the results noisy
	After             float64   `json:"f1_after"`  // the same after training
	GreedyBefore      float64   `json:"f1_greedy_before"`
	Greedy            float64   `json:"f1_greedy_after"`
	IndexBefore       float64   `json:"f1_bm25_before"` // a BM25 index of the held-out world
	Index             float64   `json:"f1_bm25"`        // the same after training
	IndexGreedyBefore float64   `json:"f1_bm25_greedy_before"`
	IndexGreedy       float64   `json:"f1_bm25_greedy"`
	NoSearch          float64   `json:"f1_no_search"` // after training, with search switched off
	NoSearchGreedy    float64   `json:"f1_no_search_greedy"`
	Seconds           float64   `json:"seconds"`
	Steps             int       `json:"steps"`
	Curve             []float64 `json:"curve"` // mean reward of each step
	LogprobDiff       float64   `json:"logprob_diff_max"`
	RunDirectory      string    `json:"run"`
}

// Run runs the demo.
func Run(ctx context.Context, dev kernels.Device, o Options) (*Result, error) {
	began := time.Now()
	o.Steps = cmp.Or(o.Steps, o.Size().Steps)
	folder, err := rundir.Open(o.Dir, false)
	if err != nil {
		return nil, fmt.Errorf("starting the demo: %w", err)
	}
	defer folder.Close()
	if err := o.prepare(ctx, dev); err != nil {
		return nil, fmt.Errorf("preparing the demo in %s: %w", o.Dir, err)
	}
	t, err := rl.New(ctx, dev, o.config(), rl.WithFolder(folder))
	if err != nil {
		return nil, err
	}
	defer t.Close()
	r := &Result{Steps: o.Steps, RunDirectory: o.Dir}
	x, err := o.measurement(t)
	if err != nil {
		return nil, err
	}
	if o.SearchOff {
		t.Worker.Runner.Searcher = search.None{}
	}
	if err := x.measure(ctx, "before", r); err != nil {
		return nil, err
	}
	if err := o.train(ctx, t, r); err != nil {
		return r, err
	}
	if err := x.measure(ctx, "after", r); err != nil {
		return r, err
	}
	if err := x.write(); err != nil {
		return r, err
	}
	if o.OnExample != nil {
		o.OnExample(x.example())
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// train runs all steps and records the mean rewards in r.Curve.
func (o *Options) train(ctx context.Context, t *rl.Trainer, r *Result) error {
	o.phase("training")
	t.OnStep = func(step int, m rundir.Metrics, _ [][]*episode.Episode) {
		r.Curve = append(r.Curve, m["critic/score/mean"])
		r.LogprobDiff = max(r.LogprobDiff, m["rollout/logprob_diff_max"])
		if o.OnStep != nil {
			o.OnStep(step, o.Steps, m, r.Curve)
		}
	}
	_, err := t.Run(ctx)
	return err
}

func (o *Options) phase(name string) {
	if o.OnPhase != nil {
		o.OnPhase(name)
	}
}

// config is the configuration of the run. Fields that are not set have rl's defaults.
func (o *Options) config() config.Config {
	path := func(name string) string { return filepath.Join(o.Dir, name) }
	size := o.Size()
	c := config.Config{
		Policy: config.Policy{Model: path("models/policy"), DType: "bf16"},
		Data:   config.Data{Data: path("questions.jsonl")},
		Search: config.Search{Mode: "simulate_sft", SimulationLLM: path("models/simulator"), EndThreshold: 0.4,
			NoiseRate: o.NoiseRate, TopK: docsPerResult, SimTemperature: simTemperature, SimMaxTokens: 96},
		Rollout: config.Rollout{BatchSize: size.Questions, N: size.Rollouts, MaxTurns: maxSearches,
			MaxResponse: 64, MaxStart: 64, MaxObs: 96, MaxContext: 512, Temperature: 1, TopP: 1, Concurrency: 128,
			MaxAttempts: 1},
		Algo: config.Algo{Algo: cmp.Or(o.Algo, "grpo"), Reward: cmp.Or(o.Reward, "f1")},
		Optim: config.Optim{LR: size.LR, LRSchedule: size.LRSchedule, WarmupRatio: 0.05,
			Betas: []float64{0.9, 0.99}, Eps: 1e-8, MaxGradNorm: 1, MicroBatchTokens: 8192},
		Schedule: config.Schedule{TotalSteps: o.Steps, Out: o.Dir, Seed: o.Seed},
	}
	if c.Algo.Algo == "ppo" {
		c.Critic.LR, c.Critic.ValueClip = 1e-3, 0.5
	}
	if o.configure != nil {
		o.configure(&c)
	}
	return c
}

// prepare fills the run directory: models, questions, and the documents of the held-out world.
func (o *Options) prepare(ctx context.Context, dev kernels.Device) error {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return err
	}
	models := filepath.Join(o.Dir, "models")
	if o.FromScratch {
		o.phase("making the models")
		if err := Make(ctx, dev, models, Recipe, 1, o.OnMake); err != nil {
			return err
		}
	} else if err := unpack(o.Dir); err != nil {
		return err
	}
	train, held := NewWorld(60, false, o.Seed), NewWorld(20, true, o.Seed)
	if err := writeQuestions(filepath.Join(o.Dir, "questions.jsonl"), train, 0, o.Seed); err != nil {
		return err
	}
	if err := writeQuestions(filepath.Join(o.Dir, "heldout.jsonl"), held, cmp.Or(o.held, o.Size().Held),
		o.Seed); err != nil {
		return err
	}
	var lines []string
	for i, text := range held.Corpus() {
		lines = append(lines, jsonLine(map[string]string{"id": fmt.Sprint(i), "contents": text}))
	}
	return os.WriteFile(filepath.Join(o.Dir, "corpus.jsonl"), []byte(strings.Join(lines, "")), 0o644)
}

func unpack(dir string) error {
	return fs.WalkDir(embedded, "models", func(path string, d fs.DirEntry, err error) error {
		to := filepath.Join(dir, filepath.FromSlash(path))
		if err != nil || d.IsDir() {
			return cmp.Or(err, os.MkdirAll(to, 0o755))
		}
		b, err := embedded.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o644)
	})
}

// writeQuestions writes the world's questions in a seeded order, at most limit of them (0: all), with what a simulated
// engine knows of their entities.
func writeQuestions(path string, w *World, limit int, seed uint64) error {
	questions := w.Questions()
	order := rand.New(rand.NewPCG(seed, 0x6f72646572)).Perm(len(questions))
	if limit > 0 {
		order = order[:min(limit, len(order))]
	}
	var b strings.Builder
	for _, i := range order {
		q := questions[i]
		b.WriteString(jsonLine(map[string]any{"id": fmt.Sprintf("q%d", i), "question": q.Text,
			"golden_answers": []string{q.Answer()},
			"data_source":    []string{"one-hop", "two-hop"}[len(q.Chain)-1], "search_facts": w.FactsAbout(q)}))
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func jsonLine(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings only
	}
	return string(b) + "\n"
}
