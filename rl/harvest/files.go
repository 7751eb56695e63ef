package harvest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
)

// Files of a harvest.
const (
	// TrainFile has the rows to train on, HeldOutFile those of other questions; sft reads both.
	TrainFile   = "train.jsonl"
	HeldOutFile = "heldout.jsonl"
	// CountsFile has the Counts.
	CountsFile = "harvest.json"
)

// Read adds the trajectories of an episodes.jsonl, gzipped or not.
func (h *Harvest) Read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("harvesting: %w", err)
	}
	defer f.Close()
	r, err := data.Text(f)
	if err != nil {
		return fmt.Errorf("harvesting %s: %w", path, err)
	}
	for e, err := range episode.Read(path, r) {
		if err != nil {
			return fmt.Errorf("harvesting: %w", err)
		}
		h.Add(e)
	}
	return nil
}

// Write makes the rows and writes them into the folder dir: as messages or, with text, as prompt and completion.
func (h *Harvest) Write(dir string, text bool) error {
	train, held, err := h.Rows()
	if err != nil {
		return err
	}
	counts, err := json.MarshalIndent(h.Counts, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing the harvest: %w", err)
	}
	for name, rows := range map[string][]Row{TrainFile: train, HeldOutFile: held} {
		var b bytes.Buffer
		for _, r := range rows {
			r.Chat(text)
			line, err := data.Marshal(r)
			if err != nil {
				return fmt.Errorf("writing the harvest: %w", err)
			}
			b.Write(append(line, '\n'))
		}
		if err := disk.WriteFile(filepath.Join(dir, name), b.Bytes()); err != nil {
			return fmt.Errorf("writing the harvest: %w", err)
		}
	}
	if err := disk.WriteFile(filepath.Join(dir, CountsFile), append(counts, '\n')); err != nil {
		return fmt.Errorf("writing the harvest: %w", err)
	}
	return nil
}
