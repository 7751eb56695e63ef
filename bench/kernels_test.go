package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Measured operations have rates, on the CPU device and on the reference device.
func TestKernelsSmoke(t *testing.T) {
	for _, device := range []string{"cpu", "ref"} {
		o := Options{Device: device, Shapes: []string{"tiny", "3x33x65"}, Reps: 1, Least: time.Microsecond,
			Threads: []int{2}, Op: "^(matmul|rmsnorm|sample)$"}
		rep, err := Kernels(context.Background(), o)
		require.NoError(t, err)
		for _, r := range rep.Rows {
			require.Positive(t, r.Mean, "%+v", r)
			require.Contains(t, []string{"GFLOP/s", "GB/s"}, r.Unit)
			require.Equal(t, 1, r.Reps)
		}
		for _, f := range Formats {
			var b bytes.Buffer
			require.NoError(t, Write(&b, f, rep))
			require.NotEmpty(t, b.String())
		}
		var b bytes.Buffer
		require.NoError(t, Write(&b, "json", rep))
		var rows []map[string]any
		require.NoError(t, json.Unmarshal(b.Bytes(), &rows))
		for _, key := range []string{"op", "shape", "dtype", "path", "threads", "mean", "stddev", "median", "unit",
			"limit", "share", "reps"} {
			require.Contains(t, rows[0], key)
		}
	}
}
