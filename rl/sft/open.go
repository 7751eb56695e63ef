package sft

import (
	"context"
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// New opens what c names on dev, unless ctx ends before: model, rows and, where Resume says so, a checkpoint. Nothing
// is written: the caller gives the run its run directory (Out). Close the run when done; dev stays the caller's.
// Errors and notes name fields of Config.
func New(ctx context.Context, dev kernels.Device, c Config) (r *Run, err error) {
	r = &Run{LR: c.LR, SaveEvery: c.SaveEvery, Seed: c.Seed}
	defer func() {
		if err != nil {
			r.Close()
			r, err = nil, names.Error(err)
		}
	}()
	t, err := c.check()
	if err != nil {
		return r, err
	}
	r.SaveDType = t.saved
	if err := r.openModel(ctx, dev, &c, t.weights); err != nil {
		return r, err
	}
	coder := Coder{Tokenizer: r.Model.Tokenizer, Template: r.Model.Template, EOS: r.Model.EOS(),
		MaxTokens: r.Model.Model.Config.MaxPos, Vocab: r.Model.Model.Config.Vocab}
	rows, err := await.Call(ctx, func() ([]Example, error) { return coder.Load(c.Data) })
	if err != nil {
		return r, err
	}
	r.Notes = append(r.Notes, coder.Notes()...)
	if err := r.openTrainer(dev, &c, rows, t.kv); err != nil {
		return r, err
	}
	r.Parts = config.SettingsOf(&c)
	r.Parts["verb"], r.Parts["data"] = "sft", fingerprint.Mark+coder.Digest
	if _, err := await.Call(ctx, func() (struct{}, error) { return struct{}{}, r.contents(&c) }); err != nil {
		return r, err
	}
	err = r.resume(ctx, &c)
	r.Notes = names.Notes(r.Notes)
	return r, err
}

// Close gives back the memory of model and trainer.
func (r *Run) Close() {
	if r.Trainer != nil {
		r.Trainer.Close()
	}
	if r.Model != nil {
		r.Model.Close()
	}
}

// openModel loads what is trained: all weights, an adapter, or a new adapter.
func (r *Run) openModel(ctx context.Context, dev kernels.Device, c *Config, dtype kernels.DType) error {
	m, err := roles.OpenTrained(ctx, dev, &config.Policy{Model: c.Model, Adapter: c.Adapter,
		ChatTemplate: c.ChatTemplate, Thinking: c.Thinking, LoRAR: c.LoRAR, LoRAAlpha: c.LoRAAlpha,
		LoRATargets: c.LoRATargets}, dtype, c.Seed)
	if err != nil {
		return err
	}
	r.Model, r.Notes = m, m.Notes
	if c.LoRAR > 0 && m.AdapterDir != "" {
		return fmt.Errorf("opening %s: it is an adapter already, and --lora-r would begin another: leave --lora-r out",
			c.Model)
	}
	return nil
}

// openTrainer makes the trainer, the order of the rows and the schedule.
func (r *Run) openTrainer(dev kernels.Device, c *Config, rows []Example, kv kernels.DType) (err error) {
	o := train.Options{Beta1: c.Betas[0], Beta2: c.Betas[1], Eps: c.Eps, WeightDecay: c.WeightDecay,
		MaxGradNorm: c.MaxGradNorm, MicroBatchTokens: c.MicroBatchTokens, KVType: kv, Recompute: c.Recompute,
		Sequences: c.BatchSize}
	for _, row := range rows {
		o.Longest = max(o.Longest, len(row.IDs))
	}
	if r.Trainer, err = train.New(dev, r.Model.Model, r.Model.Adapter, o); err != nil {
		return err
	}
	r.Source, r.Steps = FromSlice(rows, c.BatchSize, c.Seed, c.NoShuffle), c.steps(len(rows))
	r.Schedule, err = train.NewSchedule(c.LRSchedule, c.WarmupRatio, r.Steps)
	return err
}

// contents adds to the fingerprint what the folders and the file of --model, --adapter and --chat-template hold.
func (r *Run) contents(c *Config) error {
	err := roles.ModelParts(r.Parts, "model", c.Model)
	if err == nil && c.Adapter != "" {
		err = roles.AdapterParts(r.Parts, c.Adapter)
	}
	if err == nil && c.ChatTemplate != "" {
		err = r.Parts.File("chat-template", c.ChatTemplate)
	}
	return err
}

// resume restores weights, moments and step from the checkpoint that --resume names.
func (r *Run) resume(ctx context.Context, c *Config) error {
	dir := c.Resume
	if dir == "auto" {
		dir, _, _ = rundir.Last(c.Out) // "": nothing was saved yet, begin
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
		if text := config.ScheduleChange("the learning rate", was, r.Schedule, r.LR, st.Step); text != "" {
			r.Notes = append(r.Notes, fmt.Sprintf("the run was to have %d steps, now %d: %s", st.Total, r.Steps, text))
		}
	}
	notes, err := st.Compare(dir, r.Parts, c.Force)
	if err != nil {
		return err
	}
	r.Notes = append(r.Notes, notes...)
	r.From, r.Skipped = st.Step, st.Skipped
	return r.Trainer.LoadState(ctx, dir)
}
