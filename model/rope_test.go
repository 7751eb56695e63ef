package model

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// Frequencies and tables of real models' settings, as transformers makes them. A frequency's last bit is pow's, so it
// is followed to the angle: position times one unit in the last place.
func TestRopeTable(t *testing.T) {
	text, err := os.ReadFile("testdata/rope.json")
	require.NoError(t, err)
	var file struct {
		Cases []struct {
			Name      string
			HeadDim   int             `json:"head_dim"`
			Theta     float64         `json:"rope_theta"`
			Rope      json.RawMessage `json:"rope"`
			InvFreq   []float32       `json:"inv_freq"`
			Positions []int
			Cos, Sin  [][]float32
		}
	}
	require.NoError(t, json.Unmarshal(text, &file))
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			cfg, err := ParseConfig(edited(t, map[string]any{"head_dim": c.HeadDim, "rope_theta": c.Theta,
				"rope_scaling": c.Rope}))
			require.NoError(t, err)
			inv := invFreq(cfg)
			require.Len(t, inv, len(c.InvFreq))
			for i := range inv {
				require.InEpsilon(t, c.InvFreq[i], inv[i], 1.3e-7, "frequency %d", i)
			}
			eachDevice(t, func(t *testing.T, dev kernels.Device) {
				r := ropeTable{inv: inv}
				defer r.free()
				for i, pos := range c.Positions {
					require.NoError(t, r.grow(dev, pos+1))
					row := make([]float32, 2*len(inv))
					require.NoError(t, kernels.Download(dev, row, r.t.RowRange(pos, 1)))
					for j := range c.Cos[i] {
						tol := 1e-7 + float64(pos)*float64(inv[8*j])*1.3e-7
						require.InDelta(t, c.Cos[i][j], row[8*j], tol, "cosine %d of position %d", 8*j, pos)
						require.InDelta(t, c.Sin[i][j], row[len(inv)+8*j], tol, "sine %d of position %d", 8*j, pos)
						require.Equal(t, float32(math.Cos(float64(float32(pos)*inv[8*j]))), row[8*j])
					}
				}
				rows := r.rows
				require.NoError(t, r.grow(dev, 5))
				require.Equal(t, rows, r.rows, "a table never shrinks")
			})
		})
	}
}
