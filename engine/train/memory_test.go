package train

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
)

// counting is a device that counts what is allocated.
type counting struct {
	kernels.Device
	n int
}

func (d *counting) Alloc(n int64) (kernels.Buffer, error) {
	d.n++
	return d.Device.Alloc(n)
}

func (d *counting) NewKV(s kernels.KVSpec) (kernels.KV, error) {
	d.n++
	return d.Device.NewKV(s)
}

func (d *counting) NewWeight(n, k int, t kernels.DType) (kernels.Weight, error) {
	d.n++
	return d.Device.NewWeight(n, k, t)
}

func (d *counting) NewBatch(s kernels.BatchSpec) (kernels.Batch, error) {
	d.n++
	return d.Device.NewBatch(s)
}

// Told the longest sequence and the most of them, trainer, critic and scorer allocate nothing later, whatever comes:
// steps of rising sizes, long and short sequences, shared prompts, sequences longer than a micro-batch, all weights
// and adapters.
func TestAllMemoryIsAllocatedAtTheStart(t *testing.T) {
	const longest, most = 100, 12
	r := rand.New(rand.NewPCG(3, 4))
	sequence := func(n int) Sequence {
		s := Sequence{IDs: make([]int32, n), Mask: make([]bool, n)}
		for i := range s.IDs {
			s.IDs[i], s.Mask[i] = int32(r.IntN(61)), true
		}
		return s
	}
	var steps [][]Sequence
	for _, n := range []int{1, 5, most} {
		for _, length := range []int{1, 33, longest} {
			var same []Sequence
			for range n {
				same = append(same, sequence(length))
			}
			steps = append(steps, same)
		}
	}
	for _, prompt := range []int{32, 70} {
		shared := group(r, 1, most/2, prompt)
		for i := range shared {
			shared[i].IDs = shared[i].IDs[:min(len(shared[i].IDs), longest)]
			shared[i].Mask = shared[i].Mask[:len(shared[i].IDs)]
		}
		steps = append(steps, append(shared, sequence(longest), sequence(1)))
	}
	for _, o := range []Options{{MicroBatchTokens: 100}, {MicroBatchTokens: 400},
		{MicroBatchTokens: 400, Recompute: true},
		{MicroBatchTokens: 1 << 20}} {
		for _, lora := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d,%v,%v", o.MicroBatchTokens, o.Recompute, lora), func(t *testing.T) {
				o.Longest, o.Sequences, o.KVType = longest, most, kernels.F32
				fast, err := cpu.New(cpu.Options{})
				require.NoError(t, err)
				defer fast.Close()
				dev := &counting{Device: fast}
				m, err := model.NewRandom(dev, tiny(), model.Options{DType: kernels.F32, Trainable: !lora}, 7)
				require.NoError(t, err)
				defer m.Close()
				var a *model.Adapter
				if lora {
					a, err = model.NewAdapter(m, model.AdapterConfig{R: 3, Alpha: 8}, true, 1)
					require.NoError(t, err)
					defer a.Close()
				}
				tr, err := New(dev, m, a, o)
				require.NoError(t, err)
				defer tr.Close()
				critic, err := NewCritic(dev, m, a, o)
				require.NoError(t, err)
				defer critic.Close()
				s, err := NewScorer(dev, m, a, o)
				require.NoError(t, err)
				defer s.Close()
				at := dev.n
				for _, seqs := range steps {
					_, _, err := s.Score(seqs)
					require.NoError(t, err)
					_, err = tr.Step(seqs, func(_ int, _, _, dlogp, dentropy []float32) error {
						for i := range dlogp {
							dlogp[i], dentropy[i] = 0.01, 0.01
						}
						return nil
					}, 1e-3)
					require.NoError(t, err)
					_, err = critic.Step(seqs, func(_ int, _, dvalue []float32) error {
						for i := range dvalue {
							dvalue[i] = 0.01
						}
						return nil
					}, 1e-3)
					require.NoError(t, err)
					require.Equal(t, at, dev.n, "%d sequences, the first of %d ids", len(seqs), len(seqs[0].IDs))
				}
			})
		}
	}
}

// A lack of memory for the largest micro-batch is an error at the start that says which flag helps, and nothing is
// lost.
func TestNoMemoryAtTheStart(t *testing.T) {
	dev := ref.New()
	d := &failing{Device: dev, after: 1 << 30}
	m, err := model.NewRandom(d, tiny(), model.Options{DType: kernels.F32, Trainable: true}, 7)
	require.NoError(t, err)
	defer m.Close()
	d.after = 0
	_, err = New(d, m, nil, Options{Longest: 100, Sequences: 4})
	require.ErrorContains(t, err,
		"starting the trainer: allocating activations for 400 tokens (fewer with --micro-batch-tokens): ")
	live := ref.Live(dev)
	for n := 1; ; n++ {
		d.after = n
		tr, err := New(d, m, nil, Options{Longest: 100, Sequences: 4})
		if err == nil {
			tr.Close()
			require.Greater(t, n, 10)
			break
		}
		require.ErrorContains(t, err, "no memory")
		require.LessOrEqual(t, ref.Live(dev), live+1, "memory is lost") // the model's table of rotations stays
	}
}

// failing is a device whose memory ends after so many allocations.
type failing struct {
	kernels.Device
	after int
}

func (d *failing) Alloc(n int64) (kernels.Buffer, error) {
	if d.after--; d.after < 0 {
		return nil, fmt.Errorf("no memory")
	}
	return d.Device.Alloc(n)
}

func (d *failing) NewKV(s kernels.KVSpec) (kernels.KV, error) {
	if d.after--; d.after < 0 {
		return nil, fmt.Errorf("no memory")
	}
	return d.Device.NewKV(s)
}
