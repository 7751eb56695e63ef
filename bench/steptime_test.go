package bench

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
)

// The time of a step is that of its phases, each at a measured share of the limits, which is at most 1.
func TestStepTime(t *testing.T) {
	d, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	l, err := d.Measure()
	d.Close()
	require.NoError(t, err)
	if l.F32 == 0 || l.BF16 == 0 || l.Q8 == 0 || l.Read == 0 {
		t.Skip("this kernel path has no measured limits")
	}
	step := rooflineStep
	step.Questions, step.N, step.Turns, step.Response, step.Prompt, step.Observation, step.LoRAR = 4, 4, 2, 100, 300,
		250, 8
	s, err := StepTime(t.Context(), RooflineOptions{Options: Options{Shape: "smollm2-135m", DType: kernels.BF16},
		Context: 1000, Sequences: []int{1}, Step: step})
	require.NoError(t, err)
	sum := 0.0
	for _, p := range s.Phases {
		require.GreaterOrEqual(t, p.Seconds, p.Least, p.Name)
		sum += p.Seconds
	}
	require.InEpsilon(t, s.Seconds, sum, 1e-9)
	require.Greater(t, s.Seconds, s.Least)
	_, err = StepTime(t.Context(), RooflineOptions{Options: Options{Shape: "nothing"}, Context: 1, Sequences: []int{1},
		Step: rooflineStep})
	require.Error(t, err)
}
