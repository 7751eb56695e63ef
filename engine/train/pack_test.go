package train

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// Every trained id of every sequence is predicted exactly once, by the row that holds the id before it, and every
// position of every sequence can be reached through its segment's pages, though different prompts have one key.
func TestPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prompt := rapid.SliceOfN(rapid.Int32Range(0, 9), 1, 100).Draw(t, "prompt")
		var seqs []Sequence
		for g := range rapid.IntRange(1, 3).Draw(t, "groups") {
			for range rapid.IntRange(1, 4).Draw(t, "n") {
				ids := append(append([]int32{int32(g)}, prompt...),
					rapid.SliceOfN(rapid.Int32Range(10, 99), 1, 80).Draw(t, "ids")...)
				mask := make([]bool, len(ids))
				for i := len(prompt) + 1; i < len(ids); i++ {
					mask[i] = rapid.Bool().Draw(t, "mask")
				}
				key := uint64(rapid.IntRange(0, 2).Draw(t, "key"))
				seqs = append(seqs, Sequence{IDs: ids, Mask: mask, Prefix: key, Shared: len(prompt) + 1})
			}
		}
		seen := 0
		for _, p := range packs(seqs, rapid.IntRange(1, 1000).Draw(t, "max")) {
			slotID := map[int32]int32{}
			for r, s := range p.batch.Slots {
				_, dup := slotID[s]
				require.False(t, dup, "slot %d is written twice", s)
				slotID[s] = p.batch.IDs[r]
			}
			rows := map[int32]bool{}
			for _, sp := range p.spans {
				s, k := seqs[sp.seq], sp.from
				seg := segmentOf(p, s, p.batch.Rows[sp.from:sp.to])
				for i := 1; i < len(s.IDs); i++ {
					if !s.Mask[i] {
						continue
					}
					require.Equal(t, s.IDs[i], p.targets[k])
					require.Equal(t, s.IDs[i-1], p.batch.IDs[p.batch.Rows[k]])
					require.EqualValues(t, i-1, p.batch.Pos[p.batch.Rows[k]])
					require.False(t, rows[p.batch.Rows[k]], "a row predicts for two sequences")
					rows[p.batch.Rows[k]] = true
					for pos := range i {
						slot := seg.Pages[pos/kernels.PageSize]*kernels.PageSize + int32(pos%kernels.PageSize)
						require.Equal(t, s.IDs[pos], slotID[slot])
					}
					k++
					seen++
				}
				require.Equal(t, sp.to, k)
			}
		}
		want := 0
		for _, s := range seqs {
			want += s.Trained()
		}
		require.Equal(t, want, seen)
	})
}

func segmentOf(p *packed, s Sequence, rows []int32) kernels.Segment {
	if len(rows) == 0 {
		return kernels.Segment{}
	}
	for _, seg := range p.batch.Segs {
		if int(rows[0]) >= seg.Row && int(rows[0]) < seg.Row+seg.Len {
			return seg
		}
	}
	panic("no segment")
}

// Multipliers of the learning rate by transformers and verl (see testdata/README.md).
func TestSchedules(t *testing.T) {
	t.Run("part", func(t *testing.T) { checkSchedules(t, "testdata/lr_schedules.jsonl") })
	t.Run("whole", func(t *testing.T) { checkSchedules(t, goldens.Path(t, "rl/lr_schedules.jsonl")) })
}

func checkSchedules(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		var c struct {
			Schedule   string
			Total      int     `json:"total_steps"`
			Ratio      float64 `json:"warmup_ratio"`
			Warmup     int     `json:"warmup_steps"`
			Multiplier []float64
		}
		require.NoError(t, json.Unmarshal([]byte(line), &c))
		library, name, _ := strings.Cut(c.Schedule, "/")
		ratio := c.Ratio
		if library == "transformers" && name == "constant" {
			ratio = 0 // transformers' plain constant has no warm-up
		}
		var minRatio float64
		if strings.HasSuffix(name, "_min0.1") {
			minRatio = 0.1
		}
		name = strings.TrimSuffix(strings.TrimSuffix(name, "_with_warmup"), "_min0.1")
		s, err := NewSchedule(name, ratio, c.Total)
		require.NoError(t, err)
		if ratio > 0 {
			require.Equal(t, c.Warmup, s.Warmup)
		}
		s.ZeroFirst, s.MinRatio = true, minRatio
		for k, want := range c.Multiplier {
			if k >= c.Total && strings.Contains(name, "cosine") {
				break // past the end the libraries' cosines come back up; a run never gets there
			}
			require.InDelta(t, want, s.Multiplier(k+1), 1e-12, "%s, total %d, ratio %v, step %d", c.Schedule, c.Total,
				c.Ratio, k)
		}
	}
}

// Ours loses no update to a learning rate of 0 and reaches the full rate at the end of the warm-up.
func TestWarmupStartsAboveZero(t *testing.T) {
	s, err := NewSchedule("linear", 0.5, 8)
	require.NoError(t, err)
	var got []float64
	for k := 1; k <= 8; k++ {
		got = append(got, s.Multiplier(k))
	}
	require.Equal(t, []float64{0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25}, got)
	_, err = NewSchedule("triangle", 0, 8)
	require.ErrorContains(t, err, "constant, linear or cosine")
}
