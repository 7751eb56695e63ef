package bench

import (
	"context"
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// StepTimes estimates the time of steps on this CPU by one measurement of a few seconds. The measured models have the
// shape of the policy and random weights; the difference between two numbers of layers gives the share of the machine's
// limits that products and attention reach; the rest of the time is the fixed cost of a pass. The estimate is the
// roofline of a step's phases at these shares, with the cost of its passes. All steps have the same number of episodes
// and the same adapter; o.Step is not used.
func StepTimes(ctx context.Context, o RooflineOptions, steps ...GRPOTest) ([]RooflineStep, error) {
	o.GPU = ""
	var all []*roofline
	for _, s := range steps {
		o.Step = s
		r, err := newRoofline(o)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	first := all[0]
	err := first.findProcessor()
	if err != nil {
		return nil, err
	}
	perPass, err := first.reached(ctx)
	if err != nil {
		return nil, fmt.Errorf("measuring the time of a step: %w", err)
	}
	var out []RooflineStep
	for _, r := range all {
		r.On = first.On
		r.step()
		for _, p := range r.o.Step.phases() {
			passes := 0.0
			for _, s := range p.spans {
				passes += 1
				if p.kind != decoding {
					passes += math.Floor(s.Rows() / float64(r.o.Step.MicroBatch))
				}
			}
			r.add(p.name, RooflineTime{Seconds: passes * perPass[p.kind], Overlapped: passes * perPass[p.kind]})
		}
		out = append(out, r.Step)
	}
	return out, nil
}

// The measured models and their work: small, so that the measurement is short, and large enough for the rates of the
// whole.
const (
	fewLayers, moreLayers, measuredVocab    = 1, 4, 4096
	measuredPrompt, measuredGen             = 256, 8 // tokens
	measuredSequences                       = 64     // decoded at once, at most
	measuredTrainSequences, measuredTrained = 4, 128 // of a step of training, and the tokens of each
)

// measuredPhase is the time of some work of a phase, and the least that it can take.
type measuredPhase struct{ seconds, least float64 }

// reached measures the shares of the limits, which it puts into r.On, and the time of a pass in each kind of phase.
func (r *roofline) reached(ctx context.Context) (perPass map[phaseKind]float64, err error) {
	d, _, _, err := r.o.open(r.o.Threads[0])
	if err != nil {
		return nil, err
	}
	defer d.Close()
	few, err := r.measureLayers(ctx, d, fewLayers)
	if err != nil {
		return nil, err
	}
	more, err := r.measureLayers(ctx, d, moreLayers)
	if err != nil {
		return nil, err
	}
	var raised float64
	r.On.Reached, perPass, raised = sharesOf(few, more)
	r.On.Limits = reach{raised, raised}.in(r.On.Limits)
	r.On.Reached[scoring], perPass[scoring] = r.On.Reached[prefilling], perPass[prefilling]
	return perPass, nil
}

// sharesOf computes, from measurements with few and with more layers, the share of the limits that each kind of phase
// reaches, at most 1, and the fixed cost of a pass. Work that took less time than the limits allow shows that other
// programs ran while the limits were measured: raised is the factor by which the limits are higher, at least 1.
func sharesOf(few, more map[phaseKind]measuredPhase) (reached map[phaseKind]reach, perPass map[phaseKind]float64,
	raised float64) {
	raised = 1
	for k, a := range few {
		raised = max(raised, a.least/a.seconds, more[k].least/more[k].seconds)
	}
	reached, perPass = map[phaseKind]reach{}, map[phaseKind]float64{}
	for k, a := range few {
		b := more[k]
		a.least, b.least = a.least/raised, b.least/raised
		share := 1.0
		if b.seconds > a.seconds {
			share = min(share, (b.least-a.least)/(b.seconds-a.seconds))
		}
		share = min(1, max(share, b.least/b.seconds)) // the whole time counts at most once
		reached[k] = reach{share, share}
		perPass[k] = max(0, a.seconds-a.least/share)
	}
	return reached, perPass, raised
}

// measureLayers measures a model of so many layers. Decode counts one pass.
func (r *roofline) measureLayers(ctx context.Context, d kernels.Device, layers int) (map[phaseKind]measuredPhase,
	error) {
	f, small := r.policy, *r.policy.c
	small.Layers, small.Vocab = layers, min(small.Vocab, measuredVocab)
	f.c = &small
	o := r.o.Options
	o.Reps, o.Seed = 3, 1
	m, err := model.NewRandom(d, &small, model.Options{DType: f.t, Trainable: f.rank == 0}, o.Seed)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	n := min(measuredSequences, r.o.Step.Questions*r.o.Step.N)
	run, err := newModelRun(ctx, o, ModelTests{Prompt: []int{measuredPrompt}, Gen: []int{measuredGen},
		Batch: []int{n}}, d, m)
	if err != nil {
		return nil, err
	}
	err = run.all()
	run.eng.Close()
	if err != nil {
		return nil, err
	}
	a, err := newLoRA(m, f.rank, o.Seed)
	if err != nil {
		return nil, err
	}
	if a != nil {
		defer a.Close()
	}
	trained, err := trainStep(ctx, o, TrainTests{LoRAR: f.rank, Recompute: r.o.Step.Recompute}, d, m, a,
		TrainShape{measuredTrainSequences, measuredTrained})
	if err != nil {
		return nil, err
	}

	phase := func(row Row, k phaseKind, all []work, calls float64) measuredPhase {
		_, _, seconds := measure.Stats(row.samples)
		return measuredPhase{max(seconds, 1e-9) / calls, max(r.time(k, f.t, all).Least, 1e-12) / calls}
	}
	var decode []work
	for i := range measuredGen {
		decode = append(decode, f.forward(ops.Span{Batch: n, Start: 1 + i, N: 1, Logits: 1})...)
	}
	span := ops.Span{Batch: measuredTrainSequences, N: measuredTrained, Logits: measuredTrained}
	return map[phaseKind]measuredPhase{
		prefilling: phase(run.rows[0], prefilling, f.forward(ops.Span{Batch: 1, N: measuredPrompt, Logits: 1}), 1),
		decoding:   phase(run.rows[1], decoding, decode, measuredGen),
		updating:   phase(trained, updating, append(f.train(span, r.o.Step.Recompute), f.optimizer()...), 1),
	}, nil
}
