package roles

import (
	"cmp"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
)

// KVPages sizes the cache of a model: its longest sequence, sequences at once, and pages for so many of the usual
// length (0: the longest) as far as --kv-memory goes, but always for the longest.
func KVPages(c *config.Config, m *model.Config, kv kernels.DType, usual int) (context, sequences, pages int) {
	context = min(c.Rollout.MaxContext, m.MaxPos)
	sequences = max(1, min(c.Rollout.Concurrency, c.Rollout.BatchSize*c.Rollout.N))
	one, each := int64(context/kernels.PageSize+2), int64(min(context, cmp.Or(usual, context))/kernels.PageSize+2)
	memory, _ := engine.ParseSize(c.Rollout.KVMemory) // checked
	most := cmp.Or(memory, 2<<30) / (m.KVBytes(kv) * kernels.PageSize)
	return context, sequences, int(max(one, min(int64(sequences)*each, most)))
}

// simulatedPrompt is about what a simulator's prompt has, in tokens; longer ones work, with fewer at once.
const simulatedPrompt = 512

// simulated is the usual length of what a simulator reads and writes.
func SimulatedLength(c *config.Search) int { return simulatedPrompt + cmp.Or(c.SimMaxTokens, 600) }

// KVBytes is what a run of c keeps for the keys and values of a model whose sequences are usually so long.
func KVBytes(c *config.Config, m *model.Config, kv kernels.DType, usual int) int64 {
	_, _, pages := KVPages(c, m, kv, usual)
	return int64(pages) * kernels.PageSize * m.KVBytes(kv)
}

// pathOf names the implementation that a device runs.
func pathOf(dev kernels.Device) string {
	if d, ok := dev.(interface{ Path() string }); ok {
		return d.Path()
	}
	return dev.Name()
}

// KernelPaths are those of the policy on dev, and of the simulator where that has a device of its own, or else "".
func KernelPaths(c *config.Search, dev kernels.Device) (policy, simulator string) {
	if c.Device != nil && c.Simulates() {
		simulator = pathOf(c.Device)
	}
	return pathOf(dev), simulator
}
