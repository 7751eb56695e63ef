package rl

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/plan"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// New opens everything that c names and assembles a run on dev, unless ctx ends before. It takes the run directory that
// Schedule.Out names for itself, and goes on with the run there where Schedule.Resume says so. Close the trainer when
// done; dev stays the caller's.
func New(ctx context.Context, dev kernels.Device, c Config, options ...Option) (_ *Trainer, err error) {
	t := &Trainer{Config: c}
	for _, o := range options {
		o(t)
	}
	defer func() {
		if err != nil {
			t.Close()
			err = config.Error(err)
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	checked, err := t.check()
	if err != nil {
		return nil, err
	}
	if err := t.lockFolder(); err != nil {
		return nil, err
	}
	if err := t.open(ctx, dev, checked); err != nil {
		return nil, err
	}
	if err := t.resume(ctx); err != nil {
		return nil, err
	}
	if err := t.beginRun(); err != nil {
		return nil, err
	}
	if err = t.loadRollout(ctx); err == nil {
		err = t.shareRollout()
	}
	t.Notes = config.Notes(t.Notes)
	return t, err
}

// open opens everything that c, as check gave it, names, at its start.
func (t *Trainer) open(ctx context.Context, dev kernels.Device, c Config) (err error) {
	if err := plan.Check(ctx, &c, dev, t.group().Size(), machineMemory); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	if err := t.resolve(ctx, dev, &c); err != nil {
		return err
	}
	if t.Data, err = await.Call(ctx, func() (*rollout.Questions, error) {
		return rollout.LoadQuestions(c.Data)
	}); err != nil {
		return err
	}
	var end func()
	if t.Reward, end, err = rollout.OpenReward(c.Reward, c.Algo.Reward); err != nil {
		return err
	}
	t.closers = append(t.closers, end)
	if t.scorer != nil {
		t.Reward = reward.Reward{Name: "of the program", Scorer: t.scorer}
	}
	if t.Schedule, err = train.NewSchedule(c.Optim.LRSchedule, c.Optim.WarmupRatio, c.Schedule.TotalSteps); err != nil {
		return err
	}
	return t.openModels(ctx, dev)
}

// machineMemory is what is there; tests have less.
var machineMemory = engine.MachineMemory

// openModels loads the policy and gives out the roles: one base serves as many of them as it can.
//
// All is opened before the engines start: from then on their loops alone use the devices.
func (t *Trainer) openModels(ctx context.Context, dev kernels.Device) error {
	t.openedModels(0)
	kv, err := t.openPolicy(ctx, dev)
	if err != nil {
		return err
	}
	t.openedModels(1)
	if t.Policy.Tokenizer == nil {
		return fmt.Errorf("opening the policy %s: it has no tokenizer.json, and questions are text", t.Policy.Dir)
	}
	note, err := train.Link(dev, t.group())
	if err != nil {
		return err
	}
	if note != "" {
		t.Notes = append(t.Notes, note)
	}
	o := t.Config.TrainOptions(kv)
	o.Ranks, t.Updater.Ranks = t.group(), t.group()
	if err := t.openUpdater(ctx, dev, o); err != nil {
		return err
	}
	var simulator *roles.LoadedModel
	if t.cast.Simulator != nil {
		if simulator, err = t.models.Open(ctx, t.cast.Simulator); err != nil {
			return err
		}
		t.openedModels(1)
	}
	t.Notes = append(t.Notes, t.models.Notes...)
	if err := t.startEngines(dev, kv, simulator); err != nil {
		return err
	}
	return t.openWorker(ctx, simulator)
}

// openPolicy loads what is trained: all weights, an adapter, or a new adapter. It returns the type of keys and values.
func (t *Trainer) openPolicy(ctx context.Context, dev kernels.Device) (kv kernels.DType, err error) {
	c := &t.Config
	dtype, err := config.WeightType("--dtype", c.Policy.DType)
	if err != nil {
		return 0, err
	}
	if kv, err = config.KVType(c.Policy.KVDType, dtype); err != nil {
		return 0, err
	}
	if t.SaveDType, err = config.SaveType(c.Schedule.SaveDType, dtype); err != nil {
		return 0, err
	}
	if t.Policy, err = roles.OpenTrained(ctx, dev, &c.Policy, dtype, c.Schedule.Seed); err != nil {
		return 0, err
	}
	t.closers = append(t.closers, t.Policy.Close)
	t.Notes = append(t.Notes, t.Policy.Notes...)
	t.openRoles(dev)
	return kv, nil
}

// apart names the simulator's device, which may be another one of the same name.
func apart(c *config.Config, dev kernels.Device) string {
	on := c.Search.On(dev)
	if on != dev && on.Name() == dev.Name() {
		return on.Name() + " of the simulator"
	}
	return on.Name()
}

// resolve finds out who plays which role; it may compare models by content.
func (t *Trainer) resolve(ctx context.Context, dev kernels.Device, c *config.Config) (err error) {
	r := roles.Resolver{Trains: true, Device: dev.Name(), SimDevice: apart(c, dev)}
	t.cast, err = await.Call(ctx, func() (*roles.Cast, error) { return r.Resolve(c) })
	return err
}

// openRoles makes the opener of the other roles, once the policy is open.
func (t *Trainer) openRoles(dev kernels.Device) {
	c := &t.Config
	t.models = roles.Opener{Policy: t.Policy, Devices: map[string]kernels.Device{apart(c, dev): c.Search.On(dev)},
		Stream: engine.Stream(c.Schedule.Seed, config.PurposeCritic)}
	t.closers = append(t.closers, t.models.Close)
}

// addModel puts m into an engine with pages for the episodes in flight.
func (t *Trainer) addModel(e *engine.Engine, name string, m *model.Model, kv kernels.DType, usual int) error {
	c := &t.Config
	context, sequences, pages := roles.KVPages(c, m.Config, kv, usual)
	return e.AddModel(name, m, engine.ModelOptions{KVType: kv, KVPages: pages, MaxContext: context,
		MaxSequences: sequences})
}

// openUpdater makes optimizer, reference and loss.
func (t *Trainer) openUpdater(ctx context.Context, dev kernels.Device, o train.Options) (err error) {
	c := &t.Config
	u := &t.Updater
	if u.Estimator, u.Policy, err = c.Algo.Rule(); err != nil {
		return err
	}
	if u.Trainer, err = train.New(dev, t.Policy.Model, t.Policy.Adapter, o); err != nil {
		return err
	}
	t.closers = append(t.closers, u.Trainer.Close)
	u.ImportanceCap = c.Algo.ImportanceCap()
	u.Epochs, u.KLInReward = max(1, c.Algo.Epochs), c.Algo.KLInReward()
	u.KLTarget, u.KLHorizon, u.Norm = c.Algo.KLTarget, c.Algo.KLHorizon, float64(c.SampledLimit())
	if c.Algo.KLCoef > 0 {
		if err := t.openReference(ctx, dev, o); err != nil {
			return err
		}
	}
	if c.Algo.UsesCritic() {
		return t.openCritic(ctx, dev, o)
	}
	return nil
}

// startEngines makes the engine of dev, and the simulator's where that is on another device, with their models.
func (t *Trainer) startEngines(dev kernels.Device, kv kernels.DType, simulator *roles.LoadedModel) error {
	t.Engine = engine.New(dev, engine.Options{Note: t.note})
	t.simulating = t.Engine
	if err := t.addModel(t.Engine, policyName, t.Policy.Model, kv, 0); err != nil {
		return err
	}
	if simulator == nil || simulator.Model == t.Policy.Model {
		return nil
	}
	if on := simulator.Model.Device; on != dev {
		t.simulating = engine.New(on, engine.Options{Note: t.note})
	}
	return t.addModel(t.simulating, simulatorName, simulator.Model, kv, roles.SimulatedLength(&t.Config.Search))
}

// note passes on what is worth knowing while the run is under way.
func (t *Trainer) note(text string) {
	if t.OnNote != nil {
		t.OnNote(text)
	}
}

// openWorker makes what episodes need: policy, searcher, prompts and limits.
func (t *Trainer) openWorker(ctx context.Context, simulator *roles.LoadedModel) error {
	c := &t.Config
	if err := t.Policy.Template.Err(); err != nil {
		return fmt.Errorf("opening the policy %s: %w", t.Policy.Dir, err)
	}
	searcher, err := t.openSearcher(ctx, simulator)
	if err != nil {
		return err
	}
	t.Meter = c.Search.Meter()
	r := &c.Rollout
	t.Worker = rollout.Worker{Prompter: rollout.Prompter{Tokenizer: t.Policy.Tokenizer, Template: t.Policy.Template,
		MaxTokens: min(r.MaxStart, min(r.MaxContext, t.Policy.Model.Config.MaxPos)-1)}, Concurrency: r.Concurrency,
		Runner: episode.Runner{Policy: roles.EnginePolicy(t.Engine, policyName, t.Policy), Searcher: searcher,
			Tokenizer: episode.Text(t.Policy.Tokenizer),
			Config: episode.Config{MaxTurns: r.MaxTurns, MaxResponse: r.MaxResponse, MaxObservation: r.MaxObs,
				MaxContext: min(r.MaxContext, t.Policy.Model.Config.MaxPos),
				Sampling:   episode.Sampling{Temperature: r.Temperature, TopP: topP(r.TopP)}}}}
	if t.environment != nil {
		t.Worker.Runner.Environment, t.Worker.Prompter.Message = t.environment, t.environment.Prompt
	}
	if err := t.Worker.Runner.Config.Validate(); err != nil {
		return err
	}
	_, err = await.Call(ctx, func() (struct{}, error) {
		return struct{}{},
			t.Data.Fit(&t.Worker, c.Data.FilterOverlong)
	})
	return err
}

// openSearcher makes the engine behind <search>.
func (t *Trainer) openSearcher(ctx context.Context, simulator *roles.LoadedModel) (search.Searcher, error) {
	if t.environment != nil {
		return search.None{}, nil
	}
	if t.searches != nil {
		return t.searches, nil
	}
	c := t.Config.Search // what the run is told apart by stays as the user gave it
	if c.Cache == "" && t.Config.Schedule.Out != "" {
		c.Cache = filepath.Join(t.Config.Schedule.Out, "search-cache")
	}
	e, err := roles.OpenSearch(ctx, &c, func() (search.Generator, error) {
		if c.Generator != nil {
			return c.Generator, nil
		}
		name := simulatorName
		if simulator.Model == t.Policy.Model {
			name = policyName
		}
		return roles.EngineSimulator(t.simulating, name, simulator, simulator.Adapter, c.SimThinking)
	})
	if err != nil {
		return nil, err
	}
	t.closers = append(t.closers, e.Close)
	t.Notes = append(t.Notes, e.Notes...)
	t.from, err = roles.SearchParts(&c, e)
	return e.Searcher, err
}

// Close gives everything back: the engines first, then what they ran, last opened first.
func (t *Trainer) Close() {
	if t.Engine != nil {
		t.Engine.Close()
	}
	if t.simulating != nil && t.simulating != t.Engine {
		t.simulating.Close()
	}
	for i := len(t.closers) - 1; i >= 0; i-- {
		t.closers[i]()
	}
	t.closers = nil
}

func topP(p float64) float64 {
	if p >= 1 {
		return 0
	}
	return p
}
