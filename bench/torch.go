package bench

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/bench/peers"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// matmulPeers compares linear layers with oneDNN, its weights packed once, called through torch. Its activations are
// bf16 already, ours are converted within the time.
func matmulPeers(ctx context.Context, o PeerOptions, threads int, run func(peers.Contest) error) error {
	if o.Python == "" {
		return nil
	}
	s, err := peers.StartTorch(ctx, o.Python, threads)
	if err != nil {
		return err
	}
	defer s.Close()
	d, _, _, err := o.open(threads)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, t := range []kernels.DType{kernels.F32, kernels.BF16} {
		for _, w := range ops.Matrices([]string{"smollm2-135m", "qwen2.5-3b", "llama3.2-1b"}) {
			for _, m := range []int{1, 4, 16, 64, 256, 512} {
				if err := matmulPeer(d, s, w, m, t, run); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func matmulPeer(d kernels.Device, s *peers.Torch, w ops.Matrix, m int, t kernels.DType,
	run func(peers.Contest) error) error {
	c := ops.Matmul(w, m, t)
	var call func(int)
	free := func() {}
	defer func() { free() }()
	gflop := c.Cost.FLOPs / 1e9
	const least = 100 * time.Millisecond
	return run(peers.Contest{Name: fmt.Sprintf("matmul %dx%dx%d", m, w.K, w.N), Peer: s.Version + " oneDNN",
		DType: t.String(), Unit: "GFLOP/s", Live: func() []int { return []int{s.PID()} },
		Ours: func(ctx context.Context) (_ float64, err error) {
			if call == nil {
				if call, free, err = c.Prepare(d); err != nil {
					return 0, err
				}
			}
			x, err := measure.Looped(ctx, 5, least/5, call, d.Sync)
			_, _, median := measure.Stats(x)
			return gflop / median, err
		},
		Theirs: func(context.Context) (float64, error) {
			sec, err := s.Ask(peers.Work{Do: "matmul", DType: t.String(), M: m, K: w.K, N: w.N, Least: least.Seconds()})
			return gflop / sec, err
		}})
}

// modelWork is work of transformers' model that is compared with PyTorch: eager attention on its side, which is the
// quicker one here.
type modelWork struct {
	do, dtype, peer string // do and dtype are what server.py calls them
	shape           TrainShape
	// open prepares ours and returns a function that takes the tokens per second once.
	open func(o PeerOptions, threads int, s TrainShape) (rate func(context.Context) (float64, error), done func(),
		err error)
}

// scoreShape is the batch whose log-probabilities are computed.
var scoreShape = TrainShape{Sequences: 8, Length: 512}

// modelWorks are steps of training, on f32 weights with fused AdamW on their side, and log-probabilities. PyTorch
// computes in bf16 and in f32, whatever ours is: on CPUs without bf16 instructions f32 is faster.
func modelWorks(shapes []TrainShape) (works []modelWork) {
	for _, s := range shapes {
		works = append(works, modelWork{"train", "bf16", "PyTorch, bf16 autocast", s, ourTraining},
			modelWork{"train", "f32", "PyTorch, f32", s, ourTraining})
	}
	return append(works, modelWork{"score", "bf16", "PyTorch, bf16", scoreShape, ourScoring},
		modelWork{"score", "f32", "PyTorch, f32", scoreShape, ourScoring})
}

// modelPeers compares with PyTorch on the model.
func modelPeers(ctx context.Context, o PeerOptions, threads int, run func(peers.Contest) error) error {
	if o.Python == "" || o.Model == "" {
		return nil
	}
	var s *peers.Torch // started when first needed: a filter may leave nothing to do
	defer func() {
		if s != nil {
			s.Close()
		}
	}()
	for _, w := range modelWorks(o.Shapes) {
		var ours func(context.Context) (float64, error)
		var done func()
		c := peers.Contest{Name: fmt.Sprintf("%s%dx%d", w.do, w.shape.Sequences, w.shape.Length), Peer: w.peer,
			DType: o.DType.String(), Unit: "t/s",
			Ours: func(ctx context.Context) (_ float64, err error) {
				if ours == nil {
					if ours, done, err = w.open(o, threads, w.shape); err != nil {
						return 0, err
					}
				}
				return ours(ctx)
			},
			Theirs: func(context.Context) (_ float64, err error) {
				if s == nil {
					if s, err = peers.StartTorch(ctx, o.Python, threads); err != nil {
						return 0, err
					}
				}
				sec, err := s.Ask(peers.Work{Do: w.do, DType: w.dtype, Model: o.Model, Sequences: w.shape.Sequences,
					Length: w.shape.Length})
				return float64(w.shape.Sequences*w.shape.Length) / sec, err
			}}
		c.Live = func() []int {
			if s == nil {
				return nil
			}
			return []int{s.PID()}
		}
		err := run(c)
		if done != nil {
			done()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ourTraining takes steps of a trainer.
func ourTraining(o PeerOptions, threads int, s TrainShape) (rate func(context.Context) (float64, error), done func(),
	err error) {
	return o.rateOf(threads, s, true, func(d kernels.Device, m *model.Model) (batchWork, func(), error) {
		tr, err := train.New(d, m, nil, train.Options{MaxGradNorm: 1, WeightDecay: 0.01,
			MicroBatchTokens: s.Sequences * s.Length, KVType: kernels.BF16})
		if err != nil {
			return nil, nil, err
		}
		return func(batch []train.Sequence) error {
			_, err := tr.Step(batch, nll(s.Sequences*(s.Length-1)), 1e-6)
			return err
		}, tr.Close, nil
	})
}

// ourScoring computes log-probabilities and entropies as a reference model's are, half the batch at a time as the peer
// does.
func ourScoring(o PeerOptions, threads int, s TrainShape) (rate func(context.Context) (float64, error), done func(),
	err error) {
	return o.rateOf(threads, s, false, func(d kernels.Device, m *model.Model) (batchWork, func(), error) {
		sc, err := train.NewScorer(d, m, nil, train.Options{MicroBatchTokens: s.Sequences * s.Length / 2,
			KVType: kernels.BF16})
		if err != nil {
			return nil, nil, err
		}
		return func(batch []train.Sequence) error {
			_, _, err := sc.Score(batch)
			return err
		}, sc.Close, nil
	})
}

// batchWork is what is measured of one batch.
type batchWork func([]train.Sequence) error

// rateOf opens the model and what works on it, and returns a function that measures one batch, in tokens per second.
func (o PeerOptions) rateOf(threads int, s TrainShape, trainable bool,
	open func(kernels.Device, *model.Model) (work batchWork, done func(), err error)) (
	rate func(context.Context) (float64, error), done func(), err error) {
	d, m, closeModel, err := o.openAlone(threads, trainable)
	if err != nil {
		return nil, nil, err
	}
	work, closeWork, err := open(d, m)
	if err != nil {
		closeModel()
		return nil, nil, err
	}
	batch := randomBatch(m.Config.Vocab, s, o.Seed)
	return func(ctx context.Context) (float64, error) {
		x, err := measure.Once(ctx, func() error { return work(batch) })
		return float64(s.Sequences*s.Length) / x, err
	}, func() { closeWork(); closeModel() }, nil
}

// openAlone opens the model on a new device.
func (o PeerOptions) openAlone(threads int, trainable bool) (kernels.Device, *model.Model, func(), error) {
	d, _, _, err := o.open(threads)
	if err != nil {
		return nil, nil, nil, err
	}
	m, _, err := o.openModel(d, trainable)
	if err != nil {
		d.Close()
		return nil, nil, nil, err
	}
	return d, m, func() { m.Close(); d.Close() }, nil
}
