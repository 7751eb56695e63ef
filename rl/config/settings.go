package config

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// TrainOptions are the optimizer's.
func (c *Config) TrainOptions(kv kernels.DType) train.Options {
	o := &c.Optim
	return train.Options{Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, WeightDecay: o.WeightDecay,
		MaxGradNorm:      o.MaxGradNorm,
		MicroBatchTokens: o.MicroBatchTokens, Temperature: c.Rollout.Temperature, KVType: kv, Recompute: o.Recompute,
		Longest: c.Rollout.MaxContext, Sequences: c.Rollout.BatchSize * c.Rollout.N}
}

// Attempts is how often a group is rolled out at most.
func (c *Config) Attempts() int {
	if c.Algo.DynamicSampling {
		return cmp.Or(c.Algo.MaxGenBatches, defaultGenBatches)
	}
	return max(1, c.Rollout.MaxAttempts)
}

// contentFlags are flags whose value is a path. What the path holds is compared by parts of their own, wherever it
// lies.
var contentFlags = map[string]bool{"model": true, "adapter": true, "ref-model": true, "critic-model": true,
	"simulation-llm": true, "corpus": true,
	"search-episodes": true, "embedding-model": true, "remote-model": true, "chat-template": true, "data": true}

// NamesContent reports whether the value of a flag is a path whose content is compared instead.
func NamesContent(flag string) bool { return contentFlags[flag] }

// Free reports whether the value of a flag is no setting to be compared: contents are compared instead, and secrets
// are kept nowhere.
func Free(flag, resume string) bool {
	return resume == "free" || contentFlags[flag] || strings.Contains(flag, "api-key")
}

// Settings are the flags of c that are no contents, by name, those that are given.
func Settings(c *Config) fingerprint.Parts {
	out := fingerprint.Parts{}
	all := reflect.ValueOf(c).Elem()
	for i := range all.NumField() {
		addSettings(out, all.Field(i), func(v reflect.Value) bool { return !v.IsZero() })
	}
	return out
}

// SettingsOf are the flags of one struct of options that are no contents, by name: all but empty texts and lists.
func SettingsOf(options any) fingerprint.Parts {
	out := fingerprint.Parts{}
	addSettings(out, reflect.Indirect(reflect.ValueOf(options)), func(v reflect.Value) bool {
		return v.Kind() != reflect.String && v.Kind() != reflect.Slice || v.Len() > 0
	})
	return out
}

// addSettings adds the flags of a struct whose values given reports as given. What a pointer points to is given, if
// only as 0 or false.
func addSettings(out fingerprint.Parts, group reflect.Value, given func(v reflect.Value) bool) {
	for k := range group.NumField() {
		f := group.Type().Field(k)
		name := f.Tag.Get("name")
		if name == "" || Free(name, f.Tag.Get("resume")) {
			continue
		}
		v := group.Field(k)
		if v.Kind() == reflect.Pointer {
			if !v.IsNil() {
				out[name] = fmt.Sprint(v.Elem().Interface())
			}
		} else if given(v) {
			out[name] = fmt.Sprint(v.Interface())
		}
	}
}
