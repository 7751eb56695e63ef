package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Values of --reference.
const (
	refFrozen      = "frozen"
	RefAdaptersOff = "adapters-off"
	refAverage     = "ema:" // followed by the decay
	refNone        = "none"
)

// EMADecay reads --reference ema:DECAY; false for another reference.
func (c Policy) EMADecay() (decay float64, is bool, err error) {
	text, is := strings.CutPrefix(c.Reference, refAverage)
	if !is {
		return 0, false, nil
	}
	if decay, err = strconv.ParseFloat(text, 64); err != nil || !(decay > 0 && decay < 1) {
		return 0, true, fmt.Errorf("--reference %s: the decay must lie between 0 and 1, as in ema:0.99", c.Reference)
	}
	return decay, true, nil
}

// checkReference refuses references that contradict other flags.
func (c *Config) checkReference() error {
	p := &c.Policy
	_, average, err := p.EMADecay()
	switch {
	case err != nil:
		return err
	case p.Reference == "":
		return nil
	case !average && p.Reference != refFrozen && p.Reference != RefAdaptersOff && p.Reference != refNone:
		return fmt.Errorf("--reference %q is not known: use frozen, adapters-off, ema:DECAY or none", p.Reference)
	case p.Reference == refNone && c.Algo.KLCoef > 0:
		return fmt.Errorf(
			"--reference none leaves nothing to measure --kl-coef %v from: add --kl-coef 0, or choose a reference",
			c.Algo.KLCoef)
	case p.Reference == refNone:
		return nil
	case c.Algo.KLCoef == 0:
		return fmt.Errorf("--reference %s is of no use with --kl-coef 0: raise --kl-coef or leave it out", p.Reference)
	case p.RefModel != "":
		return errors.New("--ref-model and --reference contradict each other: give one or the other")
	case p.Reference == RefAdaptersOff && p.LoRAR == 0 && p.Adapter == "":
		return errors.New("--reference adapters-off needs an adapter to switch off: --lora-r or --adapter")
	}
	return nil
}
