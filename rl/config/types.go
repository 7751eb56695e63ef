package config

import (
	"cmp"
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// WeightType reads a flag that says how the weights of a model that is only run are held: f32, bf16, q8 or q4. "" is 0,
// which is up to the model's folder (see OpenOptions).
func WeightType(flag, value string) (kernels.DType, error) {
	if value == "" {
		return 0, nil
	}
	t, err := kernels.ParseDType(value)
	if err != nil || t != kernels.F32 && t != kernels.BF16 && !t.Quantised() {
		return 0, fmt.Errorf("%s must be f32, bf16, q8 or q4, not %q", flag, value)
	}
	return t, nil
}

// KVType is --kv-dtype, or what goes with weights.
func KVType(value string, weights kernels.DType) (kernels.DType, error) {
	return floatType("--kv-dtype", value, weights)
}

// SaveType is --save-dtype, or what goes with weights.
func SaveType(value string, weights kernels.DType) (kernels.DType, error) {
	return floatType("--save-dtype", value, weights)
}

func floatType(flag, value string, weights kernels.DType) (kernels.DType, error) {
	if value == "" && weights.Quantised() {
		return kernels.BF16, nil
	}
	t, err := kernels.ParseDType(cmp.Or(value, weights.String()))
	if err != nil || t != kernels.F32 && t != kernels.BF16 {
		return 0, fmt.Errorf("%s must be f32 or bf16, not %q", flag, value)
	}
	return t, nil
}

// checkTypes refuses types of weights that nothing can be held as.
func (c *Config) checkTypes() error {
	weights, err := WeightType("--dtype", c.Policy.DType)
	lora := c.Policy.LoRAR > 0 || c.Policy.Adapter != ""
	switch {
	case err != nil:
		return err
	case weights == 0 || weights.Quantised() && !lora:
		return fmt.Errorf("--dtype of a policy must be f32 or bf16: q8 and q4 weights cannot be trained, but an " +
			"adapter on them can (--lora-r)")
	}
	if _, err := KVType(c.Policy.KVDType, weights); err != nil {
		return err
	}
	if _, err := SaveType(c.Schedule.SaveDType, weights); err != nil {
		return err
	}
	if _, err := WeightType("--ref-dtype", c.Policy.RefDType); err != nil {
		return err
	}
	if c.Policy.RefDType != "" && c.Algo.KLCoef == 0 {
		return fmt.Errorf("--ref-dtype is of no use with --kl-coef 0: there is no reference")
	}
	if _, err := WeightType("--sim-dtype", c.Search.SimDType); err != nil {
		return err
	}
	if c.Search.SimDType != "" && !c.Search.Simulates() {
		return fmt.Errorf("--sim-dtype is of no use with --search-mode %s: no model writes the results", c.Search.Mode)
	}
	return nil
}
