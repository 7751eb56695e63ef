package engine

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/model"
)

// metered counts the bytes that a rank sends to other ranks.
type metered struct {
	dist.Group
	sent *atomic.Int64 // of all ranks
}

func (g metered) AllToAll(recv []byte, received []int, send []byte, sent []int) error {
	g.sent.Add(int64(len(send) - sent[g.Rank()]))
	return g.Group.AllToAll(recv, received, send, sent)
}

func (g metered) AllGather(into, own []byte) ([][]byte, error) {
	g.sent.Add(int64(len(own) * (g.Size() - 1)))
	return g.Group.AllGather(into, own)
}

// What is planned for a rank is what it holds, and what it is planned to send is what is sent, within 1% (statistics,
// alignment, and cuts between panels of rows).
func TestPlanOfRanks(t *testing.T) {
	shape := *planShapes()["qwen2"]
	shape.Layers = 6
	for _, v := range []struct {
		dtype kernels.DType
		lora  int
	}{{kernels.BF16, 0}, {kernels.F32, 0}, {kernels.BF16, 32}} {
		for _, size := range []int{2, 3, 4} {
			p := PlanModel{Name: "policy", Config: &shape, DType: v.dtype, Full: v.lora == 0}
			if v.lora > 0 {
				p.LoRA = &PlanLoRA{R: v.lora, Trained: true}
			}
			plan := Plan{Models: []PlanModel{p}, Ranks: size}
			mem, err := plan.Memory()
			require.NoError(t, err)
			traffic, err := plan.Traffic()
			require.NoError(t, err)
			var sent, held atomic.Int64
			var ranks errgroup.Group
			for _, g := range dist.Local(size) {
				ranks.Go(func() (err error) {
					defer func() {
						if err != nil {
							g.Fail(err)
						}
					}()
					dev, err := cpu.New(cpu.Options{Threads: 1})
					if err != nil {
						return err
					}
					defer dev.Close()
					m, err := model.NewRandom(dev, &shape, model.Options{DType: v.dtype, Trainable: v.lora == 0}, 1)
					if err != nil {
						return err
					}
					defer m.Close()
					var a *model.Adapter
					if v.lora > 0 {
						a, err = model.NewAdapter(m, model.AdapterConfig{R: v.lora, Alpha: 1,
							Targets: []string{"all-linear"}}, true, 1)
						if err != nil {
							return err
						}
						defer a.Close()
					}
					tr, err := train.New(dev, m, a, train.Options{Ranks: metered{g, &sent}})
					if err != nil {
						return err
					}
					defer tr.Close()
					if held.Add(m.Bytes()); a != nil {
						held.Add(a.Bytes())
					}
					s := train.Sequence{IDs: make([]int32, 40), Mask: all(40)}
					_, err = tr.Step([]train.Sequence{s}, func(_ int, _, _, dlogp, _ []float32) error {
						dlogp[0] = 1
						return nil
					}, 1e-3)
					return err
				})
			}
			require.NoError(t, ranks.Wait())
			name := fmt.Sprintf("%d ranks, %v, adapter of rank %d", size, v.dtype, v.lora)
			require.InEpsilon(t, sent.Load(), int64(size)*(traffic[0].Gradients+traffic[0].Weights), 0.01, name)
			planned := mem.Of("", "weights") + mem.Of("", "adapter") + mem.Of("", "masters") + mem.Of("", "gradients")
			require.InEpsilon(t, held.Load(), int64(size)*planned, 0.01, name)
		}
	}
}
