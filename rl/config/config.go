// Package config is every option of a training run: its name, default and help, and the checks that refuse what cannot
// work. It opens nothing and reads no file.
package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/rl/health"
	"github.com/zerosearch-go/zerosearch/rl/reward"
)

// Config is every option of a training run, by its command-line name. The struct tags carry help and default for the
// command line and for YAML; ZeroSearch's own script names are kept where there is one (arXiv 2505.04588).
type Config struct {
	Policy   Policy   `embed:"" yaml:",inline"`
	Data     Data     `embed:"" yaml:",inline"`
	Search   Search   `embed:"" yaml:",inline"`
	Rollout  Rollout  `embed:"" yaml:",inline"`
	Algo     Algo     `embed:"" yaml:",inline"`
	Critic   Critic   `embed:"" yaml:",inline"`
	Reward   Reward   `embed:"" yaml:",inline"`
	Optim    Optim    `embed:"" yaml:",inline"`
	Schedule Schedule `embed:"" yaml:",inline"`
}

// Policy says which weights are trained and how they are held.
type Policy struct {
	Model        string  `name:"model" help:"Hugging Face folder of the policy, GGUF file, org/name in the Hugging Face cache (see pull), or a run directory (its last checkpoint)." placeholder:"DIR"`
	Adapter      string  `name:"adapter" help:"Folder of a LoRA adapter to continue from, as peft writes it." placeholder:"DIR"`
	RefModel     string  `name:"ref-model" help:"Reference of the KL term (default: the starting weights)." placeholder:"DIR"`
	Reference    string  `name:"reference" help:"Reference of the KL term: frozen (the starting weights), adapters-off (with LoRA: the base), ema:DECAY (an average that follows the policy, as in ema:0.99) or none. Default: frozen." placeholder:"WHAT"`
	LoRAR        int     `name:"lora-r" help:"Rank of the LoRA adapter to train; 0 trains all weights." default:"0"`
	LoRAAlpha    float64 `name:"lora-alpha" help:"LoRA scale is alpha/r; 0 means 2r." default:"0"`
	LoRATargets  string  `name:"lora-targets" help:"Comma-separated projections, or all-linear." default:"all-linear"`
	DType        string  `name:"dtype" help:"Type of weights and matmul operands: f32 or bf16; with LoRA the frozen base may be q8 or q4." default:"bf16"`
	KVDType      string  `name:"kv-dtype" help:"Type of keys and values: f32 or bf16 (default: as --dtype)." default:""`
	RefDType     string  `name:"ref-dtype" help:"Weights of the reference: f32, bf16, q8 or q4 (default: as --dtype, or as a quantised folder is). A reference rounded more coarsely than the policy gives a KL term above 0 from the start." placeholder:"TYPE"`
	ChatTemplate string  `name:"chat-template" help:"Jinja file that overrides the model's chat template." placeholder:"FILE"`
	Thinking     *bool   `name:"enable-thinking" negatable:"" help:"The chat template's enable_thinking: =false switches the thinking of Qwen3 and others off (default: the template's)."`
}

// Data names questions.
type Data struct {
	Data           string   `name:"data" help:"Questions: .jsonl, .json (gzipped or not) or .parquet with question and golden_answers; several files are separated by commas, with weights as in a.parquet:0.7,b.jsonl:0.3." placeholder:"FILE"`
	Sources        []string `name:"sources" help:"Only questions of these data sources." placeholder:"NAME"`
	MaxAnswerWords int      `name:"max-answer-words" help:"Leave out questions without an accepted answer of at most N words; 0: keep all." default:"0"`
	FilterOverlong bool     `name:"filter-overlong-prompts" help:"Leave out questions whose prompt exceeds --max-start-length, instead of refusing them."`
	EvalData       string   `name:"eval-data" resume:"free" help:"Held-out questions, evaluated greedily." placeholder:"FILE"`
	EvalSplit      float64  `name:"eval-split" help:"Number of questions of --data to hold out, or, below 1, their share; 0: none." default:"0"`
	EvalEvery      int      `name:"eval-every" resume:"free" help:"Evaluate every N steps, besides before the first and after the last; 0: only then." default:"0"`
	EvalLimit      int      `name:"eval-limit" resume:"free" help:"At most N held-out questions; 0: all." default:"0"`
	NoShuffle      bool     `name:"no-shuffle" help:"Take the questions in file order."`
}

// HasHeldOut reports whether questions are held out.
func (d *Data) HasHeldOut() bool { return d.EvalData != "" || d.EvalSplit != 0 }

// KeepsBest reports whether the checkpoint with the best held-out F1 is saved and kept.
func (c *Config) KeepsBest() bool {
	return c.Data.HasHeldOut() && (c.Schedule.KeepBest == nil || *c.Schedule.KeepBest)
}

// Rollout bounds an episode.
type Rollout struct {
	BatchSize   int     `name:"train-batch-size" help:"Questions per step." default:"64"`
	N           int     `name:"n" help:"Rollouts per question (the group)." default:"5"`
	MaxTurns    int     `name:"max-turns" help:"Turns that may search; one final turn follows." default:"5"`
	MaxResponse int     `name:"max-response-length" help:"Tokens per turn." default:"500"`
	MaxStart    int     `name:"max-start-length" help:"Tokens of the prompt; longer questions are refused." default:"2048"`
	MaxObs      int     `name:"max-obs-length" help:"Tokens of one search result; longer ones are cut." default:"2048"`
	MaxContext  int     `name:"max-context" help:"Tokens of a whole episode." default:"4096"`
	Temperature float64 `name:"temperature" help:"Sampling temperature of the policy." default:"1"`
	TopP        float64 `name:"top-p" help:"Nucleus sampling of the policy; below 1 the log-probs are still those of the full distribution." default:"1"`
	Concurrency int     `name:"concurrency" resume:"free" help:"Episodes in flight; changes speed and memory, never a result." default:"256"`
	KVMemory    string  `name:"kv-memory" resume:"free" help:"Most memory for the keys and values of a model, as in 4GiB (default: 2GiB); with less, sequences wait and are computed again." placeholder:"SIZE"`
	MaxAttempts int     `name:"max-attempts" help:"Rollouts of a group at most, the first included: again if a search failed in it, and with --drop-zero-variance if all its rewards are equal." default:"2"`
}

// Optim is the optimizer.
type Optim struct {
	LR               float64   `name:"lr" help:"Learning rate. Where it is not given, an adapter (--lora-r, --adapter) has ten times the default." default:"1e-6"`
	Betas            []float64 `name:"betas" help:"AdamW's decay rates." default:"0.9,0.999"`
	Eps              float64   `name:"eps" help:"AdamW's epsilon." default:"1e-8"`
	WeightDecay      float64   `name:"weight-decay" help:"Decoupled weight decay, on every parameter." default:"0.01"`
	MaxGradNorm      float64   `name:"max-grad-norm" help:"Global gradient norm; 0: no clipping." default:"1"`
	LRSchedule       string    `name:"lr-schedule" help:"constant, linear or cosine, after the warm-up." default:"constant"`
	WarmupRatio      float64   `name:"warmup-ratio" help:"Share of the steps with a rising learning rate." default:"0"`
	MicroBatchTokens int       `name:"micro-batch-tokens" help:"Tokens of a micro-batch in training: memory and speed, not the gradient." default:"4096"`
	Recompute        bool      `name:"recompute" help:"Keep one activation per layer and recompute the rest: less memory, more time."`
}

// Schedule is the run itself.
type Schedule struct {
	TotalSteps int    `name:"total-steps" resume:"free" help:"Updates of the run." default:"203"`
	SaveEvery  int    `name:"save-every" resume:"free" help:"Checkpoint every N steps, and at the end; 0: only at the end." default:"50"`
	KeepLast   int    `name:"keep-last" resume:"free" help:"Number of the newest checkpoints to keep, besides the best with --keep-best; 0: all." default:"0"`
	KeepBest   *bool  `name:"keep-best" negatable:"" resume:"free" help:"Save whenever the held-out F1 is the best yet, and keep it: checkpoints/best. On where there are held-out questions."`
	StopWhen   string `name:"stop-when" resume:"free" help:"Save and stop, with exit code 3, when a threshold is crossed: likelihood, entropy, kl, valid-actions or held-out, each with :LIMIT or without, METRIC<VALUE or METRIC>VALUE of metrics.jsonl; several are separated by commas." placeholder:"RULE"`
	SaveDType  string `name:"save-dtype" resume:"free" help:"Type of saved weights (default: as --dtype)." default:""`
	Out        string `name:"out" resume:"free" help:"Run directory." placeholder:"DIR"`
	Resume     string `name:"resume" resume:"free" help:"Go on from the last checkpoint of --out (auto), or from a checkpoint folder." placeholder:"auto|DIR"`
	Force      bool   `name:"force" resume:"free" help:"Resume although data or settings differ from the checkpoint's."`
	Seed       uint64 `name:"seed" help:"Seed of everything that is drawn." default:"1"`
}

// Check refuses values that cannot work, alone or together, and zeros that a program may have forgotten to set. Its
// errors name fields; InFlags names the flags of them.
func (c *Config) Check() error {
	if err := c.zeros(); err != nil {
		return Error(err)
	}
	return c.CheckGiven()
}

// CheckGiven is Check where every value was given on purpose, as on a command line: a learning rate of 0 measures
// without learning, and with 0 turns the policy answers at once.
func (c *Config) CheckGiven() error { return Error(c.check()) }

func (c *Config) zeros() error {
	critic := c.Algo.UsesCritic()
	switch {
	case c.Rollout.MaxTurns == 0 && c.Search.Mode != "none":
		return errors.New(
			"--max-turns must be at least 1: with 0 no turn may search: raise it, or use --search-mode none")
	case c.Optim.LR == 0:
		return errors.New("--lr must be above 0: with 0 nothing is learned")
	case critic && c.Critic.LR == 0:
		return errors.New("--critic-lr must be above 0: with 0 the critic learns nothing")
	}
	return nil
}

func (c *Config) check() error {
	if err := c.finite(); err != nil {
		return err
	}
	r := &c.Rollout
	for _, p := range []struct {
		bad bool
		say string
	}{
		{c.Policy.Model == "", "--model is missing: give the policy's folder"},
		{r.BatchSize < 1, "--train-batch-size must be at least 1"},
		{r.N < 1, "--n must be at least 1"},
		{r.MaxTurns < 0, "--max-turns must not be negative"},
		{r.MaxResponse < 1, "--max-response-length must be at least 1"},
		{r.MaxContext < 2 || r.MaxStart < 1, "--max-context must be at least 2 and --max-start-length at least 1"},
		{r.MaxObs < 0, "--max-obs-length must not be negative"},
		{!(r.Temperature > 0), "--temperature must be above 0 in training: a greedy policy explores nothing"},
		{!(r.TopP > 0 && r.TopP <= 1), "--top-p must be above 0 and at most 1"},
		{c.Data.EvalSplit < 0, "--eval-split must not be negative"},
		{c.Data.EvalSplit > 0 &&
			c.Data.EvalData != "", "--eval-split and --eval-data contradict each other: give one or the other"},
		{c.Data.MaxAnswerWords < 0, "--max-answer-words must not be negative"},
		{!(c.Optim.LR >= 0), "--lr must not be negative"},
		{len(c.Optim.Betas) != 2 ||
			!beta(c.Optim.Betas), "--betas takes two values from 0 up to, but not, 1, as in 0.9,0.999"},
		{!(c.Optim.Eps > 0), "--eps must be above 0"},
		{!(c.Optim.WeightDecay >= 0) || !(c.Optim.MaxGradNorm >= 0),
			"--weight-decay and --max-grad-norm must not be negative"},
		{c.Optim.MicroBatchTokens < 1, "--micro-batch-tokens must be at least 1"},
		{c.Policy.LoRAR < 0, "--lora-r must not be negative"},
		{c.Schedule.TotalSteps < 1, "--total-steps must be at least 1"},
		{c.Schedule.KeepLast < 0, "--keep-last must not be negative"},
		{c.Schedule.KeepBest != nil && *c.Schedule.KeepBest && !c.Data.HasHeldOut(),
			"--keep-best needs held-out questions: --eval-data or --eval-split"},
	} {
		if p.bad {
			return errors.New(p.say)
		}
	}
	if err := c.checkAlgo(); err != nil {
		return err
	}
	return c.checkNames()
}

// finite refuses numbers that are none, in any field.
func (c *Config) finite() error {
	all := reflect.ValueOf(c).Elem()
	for i := range all.NumField() {
		if err := Finite(all.Field(i).Addr().Interface()); err != nil {
			return err
		}
	}
	return nil
}

// Finite refuses numbers that are none in the struct of options that options points to. Its error names a flag.
func Finite(options any) error {
	group := reflect.ValueOf(options).Elem()
	for k := range group.NumField() {
		v := group.Field(k)
		if v.Kind() == reflect.Pointer && !v.IsNil() {
			v = v.Elem()
		}
		var list []float64
		switch x := v.Interface().(type) {
		case float64:
			list = []float64{x}
		case []float64:
			list = x
		}
		for _, x := range list {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return fmt.Errorf("--%s must be a finite number, not %v", group.Type().Field(k).Tag.Get("name"), x)
			}
		}
	}
	return nil
}

func beta(list []float64) bool {
	return !slices.ContainsFunc(list, func(b float64) bool { return !(b >= 0 && b < 1) })
}

// checkNames refuses names that nothing answers to.
func (c *Config) checkNames() error {
	if _, err := reward.Lookup(c.Algo.Reward); err != nil {
		return fmt.Errorf("--reward: %w", err)
	}
	if _, err := engine.ParseSize(c.Rollout.KVMemory); err != nil {
		return fmt.Errorf("--kv-memory: %w", err)
	}
	if _, err := train.NewSchedule(c.Optim.LRSchedule, c.Optim.WarmupRatio, c.Schedule.TotalSteps); err != nil {
		return fmt.Errorf("--lr-schedule, --warmup-ratio: %w", err)
	}
	if _, err := health.ParseRules(c.Schedule.StopWhen); err != nil {
		return fmt.Errorf("--stop-when: %w", err)
	}
	if err := c.checkTypes(); err != nil {
		return err
	}
	if err := c.checkReference(); err != nil {
		return err
	}
	if err := c.Reward.check(); err != nil {
		return err
	}
	return c.Search.Check()
}
