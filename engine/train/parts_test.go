package train

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// seenBy lets only some ranks see the files of rank 0.
func seenBy(t *testing.T, ranks string) {
	was := openPart
	openPart = func(s safetensors.Shared, g dist.Group) (*safetensors.Part, error) {
		if !strings.Contains(ranks, fmt.Sprint(g.Rank())) {
			s.Temp += "-elsewhere"
		}
		return was(s, g)
	}
	t.Cleanup(func() { openPart = was })
}

// A checkpoint is the same file, whichever of the ranks see rank 0's folder and write their parts into it.
func TestRanksWriteParts(t *testing.T) {
	want := trainRanks(t, 3, false, t.TempDir(), 0, 1).saved
	for _, ranks := range []string{"0", "02", "01"} {
		seenBy(t, ranks)
		require.Equal(t, want, trainRanks(t, 3, false, t.TempDir(), 0, 1).saved, "seen by %s", ranks)
	}
}

// What goes wrong in one rank is an error of all; the last checkpoint stays, and nothing else does. All ranks then save
// the next one.
func TestRanksSaveFails(t *testing.T) {
	for _, ranks := range []string{"012", "0"} {
		dir := t.TempDir()
		seenBy(t, ranks)
		inRanks(t, 3, func(g dist.Group) error {
			return learn(g, false, func(l *learner) error {
				if err := errors.Join(l.steps(g, 0, 1), l.SaveState(dir), g.Barrier()); err != nil {
					return err
				}
				before, err := os.ReadFile(filepath.Join(dir, stateFile))
				if err != nil {
					return err
				}
				f := l.Trainer.flats[0]
				first := f.own(f.Master).ColRange(0, 1)
				good := make([]float32, 1)
				if err := kernels.Download(l.dev, good, first); err != nil {
					return err
				}
				if g.Rank() == 1 {
					kernels.Upload(l.dev, first, []float32{float32(math.NaN())})
				}
				if err := l.SaveState(dir); !errors.Is(err, ErrDiverged) {
					return fmt.Errorf("a value that is NaN in rank 1 gives %w", err)
				}
				kernels.Upload(l.dev, first, good)
				if err := l.SaveState(filepath.Join(dir, "none")); err == nil {
					return errors.New("a folder that is not there gives no error")
				}
				if err := g.Barrier(); err != nil { // rank 0 has put away what it began
					return err
				}
				after, err := os.ReadFile(filepath.Join(dir, stateFile))
				files, _ := os.ReadDir(dir)
				if err != nil || string(before) != string(after) || len(files) != 1 {
					return fmt.Errorf("after errors there are %v, %w", files, err)
				}
				if err := g.Barrier(); err != nil { // all have looked
					return err
				}
				return l.SaveState(dir)
			})
		})
	}
}

// A rank whose disk fails while it writes its part is an error of all.
func TestRanksWriteFails(t *testing.T) {
	was := openPart
	defer func() { openPart = was }()
	openPart = func(s safetensors.Shared, g dist.Group) (*safetensors.Part, error) {
		if g.Rank() == 2 {
			s.Places = nil
		}
		return was(s, g)
	}
	dir := t.TempDir()
	inRanks(t, 3, func(g dist.Group) error {
		return learn(g, false, func(l *learner) error {
			var of *dist.RankError
			if err := l.SaveState(dir); err == nil || g.Rank() != 2 && (!errors.As(err, &of) || of.Rank != 2) {
				return fmt.Errorf("rank 2 does not write, and the error is %w", err)
			}
			return g.Barrier()
		})
	})
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, files)
}
