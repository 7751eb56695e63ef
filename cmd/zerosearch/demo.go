package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/demo"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl/report"
)

type demoCmd struct {
	common
	Out         string   `name:"out" help:"The run directory. It is kept: ask, eval and train work on it." default:"zerosearch-demo" placeholder:"DIR"`
	Steps       int      `name:"steps" help:"Number of training steps; 0: as many as the size of the demo asks for." default:"0"`
	Small       *bool    `name:"small" negatable:"" help:"Train fewer and smaller steps and measure on fewer questions. The default on a device without vector instructions."`
	Seed        uint64   `name:"seed" help:"Seed of the world and of all sampling." default:"1"`
	Algo        string   `name:"algo" help:"The algorithm, one of those of train --algo." default:"grpo"`
	Reward      string   `name:"reward" help:"f1, em or sub_em. shuffled and constant are negative controls: with them the policy must not learn." default:"f1"`
	NoiseRate   *float64 `name:"noise-rate" help:"Use a fixed share of noisy results in training; 1 is a negative control." placeholder:"P"`
	SearchOff   bool     `name:"search-off" help:"Train without a search engine: a negative control."`
	FromScratch bool     `name:"from-scratch" help:"Train the two models first instead of using the embedded ones."`
}

func (c *demoCmd) Run(w *world) error {
	w.keepsGoing()
	out, err := freshDir(c.Out)
	if err != nil {
		return err
	}
	defer os.Remove(out) // fails, as it should, if something was written
	dev, err := c.open(w)
	if err != nil {
		return err
	}
	defer dev.Close()
	o := demo.Options{Dir: out, Seed: c.Seed, Steps: c.Steps, Small: c.small(dev), Algo: c.Algo, Reward: c.Reward,
		NoiseRate: c.NoiseRate,
		SearchOff: c.SearchOff, FromScratch: c.FromScratch}
	v := demoView{w: w, quiet: c.JSON, size: o.Size(), algo: c.Algo,
		steps: cmp.Or(c.Steps, o.Size().Steps)}
	v.say("%s", w.log.paint(1, "zerosearch demo"))
	v.say("An invented world of people, places and things: nothing that a model could know without searching. A " +
		"policy of 1 M")
	v.say("parameters is trained to search it; a second model of 1 M parameters plays the search engine and grows " +
		"noisier.")
	if o.Small && c.Small == nil {
		v.say("This device computes in plain Go: a small demo, %d questions measured (--no-small runs all of it: "+
			"some ten minutes).", o.Size().Held)
	}
	o.OnMake, o.OnPhase, o.OnStep, o.OnScore, o.OnExample = v.making, v.phase, v.step, v.score, v.example
	r, err := demo.Run(w.ctx, dev, o)
	w.log.done()
	if err != nil {
		return err
	}
	w.writeReport(report.Watch(out))
	if c.JSON {
		return writeJSON(w, r)
	}
	v.result(r)
	return nil
}

// small returns the value of the flag; without the flag, whether dev has no vector instructions.
func (c *demoCmd) small(dev kernels.Device) bool {
	if c.Small != nil {
		return *c.Small
	}
	d, ok := dev.(*cpu.Device)
	return !ok || d.Path() == "generic"
}

// freshDir makes dir. If it exists, it makes dir-2, dir-3 and so on.
func freshDir(dir string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o755); err != nil {
		return "", fmt.Errorf("choosing a run directory: %w", err)
	}
	for n := 1; n < 1000; n++ {
		d := dir
		if n > 1 {
			d = fmt.Sprintf("%s-%d", dir, n)
		}
		if err := os.Mkdir(d, 0o755); err == nil {
			return d, nil
		} else if !os.IsExist(err) {
			return "", fmt.Errorf("choosing a run directory: %w", err)
		}
	}
	return "", fmt.Errorf("choosing a run directory: %s to %s-999 exist: give another directory with --out DIR", dir, dir)
}
