package plan

import (
	"context"
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
)

// Check refuses, before anything is loaded, what the devices and the machine have no memory for, and what cannot be
// planned, unless ctx ends before. machine says what memory there is, as engine.MachineMemory does. Of several ranks
// the plan is this one's.
func Check(ctx context.Context, c *config.Config, dev kernels.Device, ranks int, machine func() *engine.Machine) error {
	pl := Planner{Verb: "train", Threads: 1, Ranks: ranks, Device: dev.Name(), SimDevice: c.Search.On(dev).Name(),
		Limits: map[string]int64{}}
	for _, d := range []kernels.Device{dev, c.Search.On(dev)} {
		if d, ok := d.(interface{ Threads() int }); ok {
			pl.Threads = max(pl.Threads, d.Threads())
		}
		if own, ok := d.(kernels.OwnMemory); ok {
			_, available, err := own.Memory()
			if err != nil {
				return fmt.Errorf("asking device %s for its memory: %w", d.Name(), err)
			}
			pl.Limits[d.Name()] = available
		}
	}
	limit := int64(math.MaxInt64)
	if m := machine(); m != nil {
		limit = m.Available
	} else if len(pl.Limits) == 0 {
		return nil
	}
	// it may compare models by content
	_, err := await.Call(ctx, func() ([]string, error) { return pl.Refuse(*c, limit) })
	return err
}
