package demo

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// Make goes through its stages in their order and leaves two models of the embedded models' form.
func TestMake(t *testing.T) {
	dev, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	dir := t.TempDir()
	var stages []string
	require.NoError(t, Make(t.Context(), dev, dir, Sizes{1, 1, 1, 1, 1}, 1,
		func(stage string, _, _ int, m rundir.Metrics) {
			require.Positive(t, m["train/loss"])
			stages = append(stages, stage)
		}))
	require.Equal(t, []string{"look-ups", "names", "simulator", "read", "policy"}, stages)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 2)
	for _, name := range []string{"policy/model.safetensors", "policy/config.json", "policy/chat_template.jinja",
		"simulator/model.safetensors", "simulator/tokenizer.json"} {
		made, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		want, err := embedded.ReadFile("models/" + name)
		require.NoError(t, err)
		require.InDelta(t, len(want), made.Size(), 100, name)
	}
}
