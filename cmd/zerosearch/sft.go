package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/report"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/sft"
)

type sftCmd struct {
	common
	Model        string  `name:"model" help:"Hugging Face folder to start from, or a run directory (its last checkpoint)." placeholder:"DIR"`
	Adapter      string  `name:"adapter" help:"peft folder to continue from." placeholder:"DIR"`
	LoRAR        int     `name:"lora-r" help:"Rank of the LoRA adapter to train; 0 trains all weights." default:"0"`
	LoRAAlpha    float64 `name:"lora-alpha" help:"LoRA scale is alpha/r; 0 means 2r." default:"0"`
	LoRATargets  string  `name:"lora-targets" help:"Comma-separated projections, or all-linear." default:"all-linear"`
	DType        string  `name:"dtype" help:"Weights and matmul operands: f32 or bf16; with LoRA the frozen base may be q8." default:"bf16" enum:"f32,bf16,q8"`
	KVDType      string  `name:"kv-dtype" help:"Keys and values: f32 or bf16 (default: as --dtype)." default:""`
	ChatTemplate string  `name:"chat-template" help:"Jinja file that overrides the model's chat template." placeholder:"FILE"`
	Thinking     *bool   `name:"enable-thinking" negatable:"" help:"The chat template's enable_thinking: =false switches the thinking of Qwen3 and others off (default: the template's)."`

	Data      string     `name:"data" help:"Rows {messages}, {prompt, completion} or {ids, mask}: .jsonl, .jsonl.gz or .parquet." placeholder:"FILE"`
	NoShuffle bool       `name:"no-shuffle" help:"Take the rows in file order."`
	Rows      sft.Config `embed:""`

	LR               float64   `name:"lr" help:"Learning rate." default:"1e-5"`
	Betas            []float64 `name:"betas" help:"AdamW's decay rates." default:"0.9,0.999"`
	Eps              float64   `name:"eps" help:"AdamW's epsilon." default:"1e-8"`
	WeightDecay      float64   `name:"weight-decay" help:"Decoupled weight decay, on every parameter." default:"0.01"`
	MaxGradNorm      float64   `name:"max-grad-norm" help:"Global gradient norm; 0: no clipping." default:"1"`
	LRSchedule       string    `name:"lr-schedule" help:"constant, linear or cosine, after the warm-up." default:"constant" enum:"constant,linear,cosine"`
	WarmupRatio      float64   `name:"warmup-ratio" help:"Share of the steps with a rising learning rate." default:"0"`
	MicroBatchTokens int       `name:"micro-batch-tokens" help:"Ids forwarded together in training." default:"4096"`
	Recompute        bool      `name:"recompute" help:"Keep one activation per layer and recompute the rest: less memory, more time."`

	Out       string `name:"out" resume:"free" help:"Run directory." placeholder:"DIR"`
	SaveDType string `name:"save-dtype" resume:"free" help:"Type of saved weights: f32 or bf16 (default: as --dtype)." default:""`
	Resume    string `name:"resume" resume:"free" help:"Go on from the last checkpoint of --out (auto), or from a checkpoint folder." placeholder:"auto|DIR"`
	Force     bool   `name:"force" resume:"free" help:"Resume although data or settings differ from the checkpoint's."`
	Seed      uint64 `name:"seed" help:"Seed of the order of the rows and of a new adapter." default:"1"`
}

// check refuses flags that contradict each other, before anything is loaded.
func (c *sftCmd) check(w *world) error {
	lora := c.LoRAR > 0 || c.Adapter != ""
	for _, p := range []struct {
		bad bool
		say string
	}{
		{c.Model == "", "--model is missing: give the folder of the model to fine-tune"},
		{c.Data == "", "--data is missing: give a file of rows"},
		{c.Out == "", "--out is missing: give a folder for the run"},
		{c.LoRAR < 0, "--lora-r must not be negative"},
		{c.LoRAR > 0 &&
			c.Adapter != "", "--adapter and --lora-r contradict each other: --adapter goes on with an adapter, " +
			"--lora-r begins a new one"},
		{c.LoRAR == 0 && (w.given("lora-alpha") || w.given("lora-targets")),
			"--lora-alpha and --lora-targets need --lora-r"},
		{!lora &&
			c.DType == "q8",
			"--dtype q8: q8 weights cannot be trained: use bf16 or f32, or train an adapter with --lora-r"},
		{w.given("steps") && w.given("epochs"), "--steps and --epochs contradict each other: give one or the other"},
		{c.Rows.Steps < 0 || c.Rows.Epochs < 0, "--steps and --epochs must not be negative"},
		{c.Rows.BatchSize < 1, "--batch-size must be at least 1"},
		{c.Rows.SaveEvery < 0, "--save-every must not be negative"},
		{!(c.LR >= 0), "--lr must not be negative"},
		{len(c.Betas) != 2 || !unit(c.Betas[0]) || !unit(c.Betas[1]),
			"--betas takes two values from 0 up to, but not, 1, as in 0.9,0.95"},
		{!(c.Eps > 0), "--eps must be above 0"},
		{!(c.WeightDecay >= 0), "--weight-decay must not be negative"},
		{!(c.MaxGradNorm >= 0), "--max-grad-norm must not be negative"},
		{c.MicroBatchTokens < 1, "--micro-batch-tokens must be at least 1"},
	} {
		if p.bad {
			return usagef("%s", p.say)
		}
	}
	return nil
}

func unit(x float64) bool { return x >= 0 && x < 1 }

func (c *sftCmd) Run(w *world) (err error) {
	w.keepsGoing()
	if err := c.check(w); err != nil {
		return err
	}
	dtype, _ := kernels.ParseDType(c.DType)
	kv, err := config.KVType(c.KVDType, dtype)
	if err != nil {
		return usageError{err}
	}
	save, err := config.SaveType(c.SaveDType, dtype)
	if err != nil {
		return usageError{err}
	}
	folder, err := w.openRun(c.Out, c.Resume)
	if err != nil {
		return err
	}
	defer folder.Close()
	dev, err := c.open(w)
	if err != nil {
		return err
	}
	defer dev.Close()
	p, err := c.openModel(w.ctx, dev, dtype)
	if err != nil {
		return err
	}
	defer p.Close()
	w.notes(p.Notes)
	coder := sft.Coder{Tokenizer: p.Tokenizer, Template: p.Template, EOS: p.EOS(), MaxTokens: p.Model.Config.MaxPos,
		Vocab: p.Model.Config.Vocab}
	rows, err := await.Call(w.ctx, func() ([]sft.Example, error) { return coder.Load(c.Data) })
	if err != nil {
		return err
	}
	for _, note := range coder.Notes() {
		w.log.line("note: %s", note)
	}
	o := train.Options{Beta1: c.Betas[0], Beta2: c.Betas[1], Eps: c.Eps, WeightDecay: c.WeightDecay,
		MaxGradNorm:      c.MaxGradNorm,
		MicroBatchTokens: c.MicroBatchTokens, KVType: kv, Recompute: c.Recompute, Sequences: c.Rows.BatchSize}
	for _, r := range rows {
		o.Longest = max(o.Longest, len(r.IDs))
	}
	t, err := train.New(dev, p.Model, p.Adapter, o)
	if err != nil {
		return err
	}
	defer t.Close()
	r := &sft.Run{Model: p, Trainer: t, Source: sft.FromSlice(rows, c.Rows.BatchSize, c.Seed, c.NoShuffle), LR: c.LR,
		SaveEvery: c.Rows.SaveEvery,
		SaveDType: save, Seed: c.Seed}
	if r.Steps, err = c.Rows.StepsFor(len(rows)); err != nil {
		return usageError{err}
	}
	if r.Schedule, err = train.NewSchedule(c.LRSchedule, c.WarmupRatio, r.Steps); err != nil {
		return usagef("--warmup-ratio: %w", err)
	}
	r.Parts = w.settings("threads", "device")
	r.Parts["verb"] = "sft"
	r.Parts["data"] = fingerprint.Mark + coder.Digest
	_, err = await.Call(w.ctx, func() (struct{}, error) {
		return struct{}{}, modelContents(r.Parts, c.Model, c.Adapter, c.ChatTemplate)
	})
	if err != nil {
		return err
	}
	if err := c.resume(w, r); err != nil {
		return err
	}
	return c.learn(w, r, folder)
}

// openModel loads what is trained: all weights, an adapter, or a new adapter.
func (c *sftCmd) openModel(ctx context.Context, dev kernels.Device, dtype kernels.DType) (*roles.LoadedModel, error) {
	p, err := roles.OpenTrained(ctx, dev, &config.Policy{Model: c.Model, Adapter: c.Adapter,
		ChatTemplate: c.ChatTemplate,
		Thinking:     c.Thinking, LoRAR: c.LoRAR, LoRAAlpha: c.LoRAAlpha, LoRATargets: c.LoRATargets}, dtype, c.Seed)
	if err == nil && c.LoRAR > 0 && p.AdapterDir != "" {
		p.Close()
		return nil,
			fmt.Errorf("opening %s: it is an adapter already, and --lora-r would begin another: leave --lora-r out",
				c.Model)
	}
	return p, err
}

// resume restores weights, moments and step.
func (c *sftCmd) resume(w *world, r *sft.Run) error {
	dir := c.Resume
	if dir == "auto" {
		if dir, _, _ = rundir.Last(c.Out); dir == "" {
			return nil // nothing was saved yet: begin
		}
	}
	if dir == "" {
		return nil
	}
	st, err := rundir.ReadState(dir)
	if err != nil {
		return err
	}
	if err := rundir.OnlyLast(c.Out, dir, st.Step); err != nil {
		return err
	}
	if st.Total != 0 && st.Total != r.Steps && st.Step < r.Steps {
		was, _ := train.NewSchedule(c.LRSchedule, c.WarmupRatio, st.Total) // checked
		if text := rl.ScheduleChange("the learning rate", was, r.Schedule, r.LR, st.Step); text != "" {
			w.log.line("note: the run was to have %d steps, now %d: %s", st.Total, r.Steps, text)
		}
	}
	notes, err := st.Compare(dir, r.Parts, c.Force)
	if err != nil {
		return err
	}
	for _, note := range notes {
		w.log.line("note: %s", note)
	}
	r.From, r.Skipped = st.Step, st.Skipped
	return r.Trainer.LoadState(w.ctx, dir)
}

// learn runs to the end or to the interrupt.
func (c *sftCmd) learn(w *world, r *sft.Run, folder *rundir.Folder) (err error) {
	if r.Out, err = folder.Begin(r.From); err != nil {
		return err
	}
	defer r.Out.Close()
	if err := w.saveConfig(r.Out); err != nil {
		return err
	}
	if r.From >= r.Steps {
		w.log.line("note: all %d steps are done: raise --steps or --epochs to go on", r.From)
	}
	began := time.Now()
	var losses []float64
	clock := newStepClock(r.From, r.Steps)
	w.finish(clock.finishing)
	r.OnStep = func(step int, m rundir.Metrics) {
		clock.step(step)
		losses = append(losses, m["train/loss"])
		w.log.status("step %d/%d  loss %.4f  grad norm %.3f  lr %.2g  %.0f tokens/s  ETA %s", step, r.Steps,
			m["train/loss"], m["train/grad_norm"],
			m["train/lr"], m["perf/throughput"], eta(began, step-r.From, r.Steps-r.From))
	}
	last, err := r.Do(w.ctx)
	w.log.done()
	w.writeReport(report.Watch(c.Out))
	if errors.Is(err, context.Canceled) && w.ctx.Err() != nil {
		return w.interrupted("sft", c.Out, last)
	}
	if err != nil {
		return err
	}
	if n := len(losses); n > 0 {
		w.log.line("loss %s  %.4f -> %.4f in %d steps, %s", w.log.paint(32, sparkline(losses, 60)), losses[0],
			losses[n-1], last,
			time.Since(began).Round(time.Second))
	}
	w.skipped(r.Skipped)
	if c.JSON {
		return writeJSON(w, map[string]any{"steps": last, "out": c.Out, "checkpoint": r.Out.Checkpoint(last),
			"loss": orEmpty(losses), "seconds": time.Since(began).Seconds()})
	}
	w.log.line("saved %s", r.Out.Checkpoint(last))
	return nil
}
