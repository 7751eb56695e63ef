package report

import (
	"fmt"
	"maps"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/zerosearch-go/zerosearch/rl/config"
)

// settings are the options of the run that differ from the defaults of training, in order; of fine-tuning, all that are
// no options of training too.
func (r *Run) settings() (out []fact) {
	defaults := map[string]any{}
	c := config.Defaults()
	if yaml.Unmarshal(c.YAML(), &defaults) != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(r.config)) {
		value := r.option(name)
		if was, known := defaults[name]; known && same(was, r.config[name]) || !known && empty(r.config[name]) {
			continue
		}
		out = append(out, fact{name, value})
	}
	return out
}

// same compares values that YAML may write as whole numbers or as decimal fractions.
func same(a, b any) bool {
	number := func(v any) (f float64, ok bool) {
		_, err := fmt.Sscan(fmt.Sprint(v), &f)
		return f, err == nil
	}
	x, isX := number(a)
	y, isY := number(b)
	return isX && isY && x == y || fmt.Sprint(a) == fmt.Sprint(b)
}

// empty says whether a value is the absence of one.
func empty(v any) bool {
	switch fmt.Sprint(v) {
	case "", "0", "false", "auto", "[]", "<nil>":
		return true
	}
	return false
}
