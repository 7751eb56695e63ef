package bench

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
)

// The time of a step is that of its phases, each at a measured share of the limits, which is at most 1 also where other
// programs ran while the limits were measured.
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
	longer := step
	longer.Response, longer.Turns = 150, 3
	all, err := StepTimes(t.Context(), RooflineOptions{Options: Options{Shape: "smollm2-135m", DType: kernels.BF16},
		Context: 1000, Sequences: []int{1}}, step, longer)
	require.NoError(t, err)
	require.Len(t, all, 2)
	for _, s := range all {
		sum := 0.0
		for _, p := range s.Phases {
			require.GreaterOrEqual(t, p.Seconds, p.Least*(1-1e-9), p.Name)
			sum += p.Seconds
		}
		require.InEpsilon(t, s.Seconds, sum, 1e-9)
		require.Greater(t, s.Seconds, s.Least)
	}
	require.Greater(t, all[1].Seconds, all[0].Seconds, "one measurement serves both: more work takes longer")
	_, err = StepTimes(t.Context(), RooflineOptions{Options: Options{Shape: "nothing"}, Context: 1,
		Sequences: []int{1}}, rooflineStep)
	require.Error(t, err)
}

// The shares of the limits and the time of a pass, from measurements of one and of four layers.
func TestSharesOf(t *testing.T) {
	for _, c := range []struct {
		name                   string
		few, more              measuredPhase
		share, perPass, raised float64
	}{
		{"half of the limits, and 2 s a pass", measuredPhase{4, 1}, measuredPhase{10, 4}, 0.5, 2, 1},
		{"at the limits", measuredPhase{1, 1}, measuredPhase{4, 4}, 1, 0, 1},
		{"twice the limits: these are raised", measuredPhase{1, 1}, measuredPhase{2, 4}, 1, 0.5, 2},
		{"few layers were held up", measuredPhase{9, 1}, measuredPhase{8, 4}, 1, 8, 1},
		{"more layers were held up", measuredPhase{2, 1}, measuredPhase{32, 4}, 0.125, 0, 1},
		{"more work in hardly more time", measuredPhase{4, 1}, measuredPhase{4.5, 4}, 1, 3, 1},
	} {
		one := func(m measuredPhase) map[phaseKind]measuredPhase { return map[phaseKind]measuredPhase{decoding: m} }
		reached, perPass, raised := sharesOf(one(c.few), one(c.more))
		require.Equal(t, reach{c.share, c.share}, reached[decoding], c.name)
		require.Equal(t, c.perPass, perPass[decoding], c.name)
		require.Equal(t, c.raised, raised, c.name)
	}
}
