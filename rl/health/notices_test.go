package health

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A finding is told once; again when it becomes worse; and again when it has been gone for a while.
func TestNotices(t *testing.T) {
	tell := func(valid func(step int) float64) (when []int) {
		steps := run(60, func(float64) m { return nil })
		var n Notices
		for i := range steps {
			steps[i].Metrics["env/valid_action_rate"] = valid(steps[i].Step)
			if slices.ContainsFunc(n.After(steps[:i+1]), func(f Finding) bool { return f.Kind == NoValidAction }) {
				when = append(when, steps[i].Step)
			}
		}
		return when
	}
	low := tell(func(int) float64 { return 0.1 })
	require.Len(t, low, 1)
	worse := tell(func(step int) float64 {
		if step < 20 {
			return 0.1
		}
		return 0
	})
	require.Len(t, worse, 2)
	require.Equal(t, low[0], worse[0])
	require.GreaterOrEqual(t, worse[1], 20)
	back := tell(func(step int) float64 {
		if step < 10 || step > 40 {
			return 0.1
		}
		return 0.6
	})
	require.Len(t, back, 2)
	require.Greater(t, back[1], 40)
	require.Empty(t, tell(func(int) float64 { return 0.6 }))
}
