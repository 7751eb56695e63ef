package roles

import (
	"cmp"
	"errors"
	"io/fs"

	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// ModelParts adds to p what the model of a flag holds: the folder dir (a run directory stands for its last
// checkpoint) or, where that is an adapter, the adapter and the base that it names.
func ModelParts(p fingerprint.Parts, flag, dir string) error {
	dir, err := rundir.ModelDir(dir)
	if err != nil {
		return err
	}
	if _, err := model.ReadAdapterConfig(dir); err == nil {
		if err := p.Adapter(flag+"."+fingerprint.Adapter, dir); err != nil {
			return err
		}
		base, _, err := AdapterBase(dir)
		if err != nil || base == "" {
			// what has no base at hand, and was opened all the same, lies over the policy's: a part of its own
			return nil
		}
		dir = base
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return p.Model(flag, dir)
}

// AdapterParts adds to p what the adapter of the flag --adapter holds.
func AdapterParts(p fingerprint.Parts, dir string) error {
	dir, err := rundir.ModelDir(dir)
	if err != nil {
		return err
	}
	return p.Adapter("adapter", dir)
}

// SearchParts is what the searches of an open engine come from, the settings apart: simulator, corpus, recorded
// episodes, the name of a remote model.
func SearchParts(c *config.Search, e *SearchEngines) (fingerprint.Parts, error) {
	p := fingerprint.Parts{}
	p.Merge(e.Parts)
	switch {
	case c.OwnSimulator():
		p["simulation-llm"] = cmp.Or(c.SimulationLLM, config.SimulatorSame)
	case c.Simulates():
		if err := ModelParts(p, "simulation-llm", c.SimulationLLM); err != nil {
			return nil, err
		}
	}
	return p, nil
}
