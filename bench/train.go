package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// TrainTests are the training steps that Train measures: forward, backward, gradient norm and AdamW.
type TrainTests struct {
	Shapes           []TrainShape
	LoRAR            int // rank of an adapter on all linear layers over the frozen model; 0: all weights
	Recompute        bool
	MicroBatchTokens int // 0: the whole step is one micro-batch
}

// TrainShape is a batch of a step.
type TrainShape struct{ Sequences, Length int }

// ParseTrainShape reads "4x512".
func ParseTrainShape(s string) (TrainShape, error) {
	a, b, ok := strings.Cut(s, "x")
	n, err1 := strconv.Atoi(a)
	l, err2 := strconv.Atoi(b)
	if !ok || err1 != nil || err2 != nil || n < 1 || l < 2 || n > 1<<16 || l > 1<<20 {
		return TrainShape{}, fmt.Errorf("%q is not SEQUENCESxTOKENS, as in 4x512", s)
	}
	return TrainShape{n, l}, nil
}

// ParseTrainShapes reads several: "4x512", "8x256".
func ParseTrainShapes(list []string) (out []TrainShape, err error) {
	for _, s := range list {
		shape, err := ParseTrainShape(s)
		if err != nil {
			return nil, err
		}
		out = append(out, shape)
	}
	return out, nil
}

// Train measures steps of training.
func Train(ctx context.Context, o Options, t TrainTests) (*Report, error) {
	o = o.withDefaults()
	if len(t.Shapes) == 0 {
		return nil, errors.New("there is nothing to measure: give --shapes, as in 4x512,8x256")
	}
	return o.eachDevice(func(d kernels.Device, _ *Limits) ([]Row, error) {
		m, name, err := o.openModel(d, t.LoRAR == 0)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		a, err := newLoRA(m, t.LoRAR, o.Seed)
		if err != nil {
			return nil, err
		}
		if a != nil {
			defer a.Close()
		}
		var rows []Row
		for _, s := range t.Shapes {
			if s.Length > m.Config.MaxPos {
				return nil, fmt.Errorf("sequences of %d tokens are longer than the model's %d", s.Length,
					m.Config.MaxPos)
			}
			row, err := trainStep(ctx, o, t, d, m, a, s)
			if err != nil {
				return rows, fmt.Errorf("measuring %s: %w", row.Op, err)
			}
			row.Of, row.DType = name, o.DType.String()
			rows = append(rows, row)
		}
		return rows, nil
	})
}

// newLoRA makes an adapter on all linear layers, or none.
func newLoRA(m *model.Model, rank int, seed uint64) (*model.Adapter, error) {
	if rank == 0 {
		return nil, nil
	}
	return model.NewAdapter(m, model.AdapterConfig{R: rank, Alpha: 2 * float64(rank)}, true, seed)
}

// trainStep measures one shape with a new trainer.
func trainStep(ctx context.Context, o Options, t TrainTests, d kernels.Device, m *model.Model, a *model.Adapter,
	s TrainShape) (Row, error) {
	row := Row{Op: fmt.Sprintf("train%dx%d", s.Sequences, s.Length),
		Shape: ops.Shape{"sequences": s.Sequences, "length": s.Length, "prompt": s.Length, "gen": 0,
			"batch": s.Sequences},
		work: float64(s.Sequences * s.Length), cost: trainCost(m.Config, m.DType, s.Sequences, s.Length, t.LoRAR),
		Split: map[string]float64{}}
	if t.LoRAR > 0 {
		row.Op += fmt.Sprintf("@r%d", t.LoRAR)
		row.Shape["rank"] = t.LoRAR
	}
	o.Say("%s", row.Op)
	micro := t.MicroBatchTokens
	if micro == 0 {
		micro = s.Sequences * s.Length
	}
	kv := o.KVType
	if kv == 0 && m.DType == kernels.F32 {
		kv = kernels.F32
	}
	tr, err := train.New(d, m, a, train.Options{MaxGradNorm: 1, WeightDecay: 0.01, MicroBatchTokens: micro, KVType: kv,
		Recompute: t.Recompute})
	if err != nil {
		return row, err
	}
	defer tr.Close()
	batch := randomBatch(m.Config.Vocab, s, o.Seed)
	var passes, optimizer []float64
	w, mem := measure.NewWatch(), measure.WatchMemory()
	row.samples, err = measure.Timed(ctx, 1, o.Reps, func() error {
		began := time.Now()
		if _, err := tr.Accumulate(batch, nll(s.Sequences*(s.Length-1))); err != nil {
			return err
		}
		if err := d.Sync(); err != nil {
			return err
		}
		mid := time.Now()
		_, err := tr.Step(nil, nil, 1e-6) // makes the optimizer step with the accumulated gradient
		passes, optimizer = append(passes, mid.Sub(began).Seconds()), append(optimizer, time.Since(mid).Seconds())
		return err
	})
	row.Foreign = w.Foreign()
	row.PeakRSS, row.PeakAnonymous = mem.Stop()
	if err == nil {
		_, _, row.Split["forward+backward"] = measure.Stats(passes[1:])
		_, _, row.Split["optimizer"] = measure.Stats(optimizer[1:])
	}
	return row, err
}

// randomBatch is a batch of random ids, trained on all of them.
func randomBatch(vocab int, s TrainShape, seed uint64) []train.Sequence {
	rng := rand.New(rand.NewPCG(seed, 2))
	return measure.Many(s.Sequences, func() train.Sequence {
		q := train.Sequence{IDs: make([]int32, s.Length), Mask: make([]bool, s.Length)}
		for i := range q.IDs {
			q.IDs[i], q.Mask[i] = int32(rng.IntN(vocab)), true
		}
		return q
	})
}

// nll is the mean negative log-likelihood over n tokens.
func nll(n int) train.LossFunc {
	return func(_ int, _, _, dlogp, _ []float32) error {
		for i := range dlogp {
			dlogp[i] = -1 / float32(n)
		}
		return nil
	}
}
