package ops

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// The shapes are those of the published checkpoints: their parameters are known.
func TestShapes(t *testing.T) {
	known := map[string]int64{"smollm2-135m": 134515008, "smollm2-360m": 361821120, "qwen2.5-0.5b": 494032768,
		"qwen2.5-1.5b": 1543714304,
		"qwen2.5-3b":   3085938688, "qwen3-0.6b": 596049920, "llama3.2-1b": 1235814400, "llama3.2-3b": 3212749824}
	for _, s := range Models {
		require.NoError(t, s.Config.Check(), s.Name)
		if n, ok := known[s.Name]; ok {
			require.Equal(t, n, s.Config.Parameters(), s.Name)
			delete(known, s.Name)
		}
	}
	require.Empty(t, known)
	c, err := FindModel("SmolLM2-135M")
	require.NoError(t, err)
	c.Config.Layers = 1
	again, _ := FindModel("smollm2-135m")
	require.Equal(t, 30, again.Config.Layers, "a copy is handed out")
}

// Every case of the table runs on a small model on the CPU, some also on the reference device.
func TestCasesRun(t *testing.T) {
	prefillLengths, decodeLength = []int{40}, 70
	two, err := cpu.New(cpu.Options{Threads: 2})
	require.NoError(t, err)
	for _, d := range []kernels.Device{two, ref.New()} {
		for _, c := range Cases([]string{"tiny"}) {
			if d != kernels.Device(two) && !slices.Contains([]string{"matmul", "rmsnorm", "sample"}, c.Op) {
				continue // scalar code takes long
			}
			call, free, err := c.Prepare(d)
			require.NoError(t, err, "%s %v", c.Op, c.Shape)
			call(0)
			require.NoError(t, d.Sync(), "%s %v", c.Op, c.Shape)
			free()
			require.Positive(t, c.Cost.Bytes, "%s %v", c.Op, c.Shape)
		}
		require.NoError(t, d.Close())
	}
}
