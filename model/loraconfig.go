package model

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/internal/jsonscan"
	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// AdapterConfig is the content of an adapter_config.json, or describes a new adapter.
type AdapterConfig struct {
	R       int      // rank
	Alpha   float64  // scale = Alpha/R
	RSLoRA  bool     // scale = Alpha/sqrt(R)
	Targets []string // projections by name ("q_proj", or a module's whole name); "all-linear" or none: all seven

	// RankPattern and AlphaPattern override R and Alpha for the modules that a key matches, the first key counting. A
	// key is a regular expression for the end of a module's name that begins at a dot.
	RankPattern, AlphaPattern []Pattern

	pattern, exclude string   // target_modules or exclude_modules as a regular expression
	excluded         []string // exclude_modules as names
	layers           []int    // layers_to_transform
	dropout          float64
	base             string // base_model_name_or_path
	raw              []byte // the file
}

// Pattern is one entry of a rank_pattern or alpha_pattern.
type Pattern struct {
	Key   string
	Value float64
}

const maxRank = 1 << 16

// adapterJSON is the part of adapter_config.json that matters here, and what has to be refused.
type adapterJSON struct {
	Type         string          `json:"peft_type"`
	R            *int            `json:"r"`
	Alpha        *float64        `json:"lora_alpha"`
	RSLoRA       bool            `json:"use_rslora"`
	Dropout      float64         `json:"lora_dropout"`
	Targets      json.RawMessage `json:"target_modules"`
	Exclude      json.RawMessage `json:"exclude_modules"`
	Layers       json.RawMessage `json:"layers_to_transform"`
	RankPattern  json.RawMessage `json:"rank_pattern"`
	AlphaPattern json.RawMessage `json:"alpha_pattern"`
	Base         *string         `json:"base_model_name_or_path"`
	Bias         *string         `json:"bias"`
}

// ReadAdapterConfig reads dir/adapter_config.json.
func ReadAdapterConfig(dir string) (AdapterConfig, error) {
	path := filepath.Join(dir, adapterConfigFile)
	if gguf.Is(dir) { // which the system would call no folder
		return AdapterConfig{}, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	data, err := readSmall(path)
	if err != nil {
		return AdapterConfig{}, fmt.Errorf("reading the adapter's configuration: %w", err)
	}
	c, err := ParseAdapterConfig(data)
	if err != nil {
		return AdapterConfig{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// ParseAdapterConfig reads an adapter_config.json. Variants of LoRA are refused; the error names the key.
func ParseAdapterConfig(data []byte) (AdapterConfig, error) {
	c := AdapterConfig{raw: slices.Clone(data)}
	j, err := checkFile(adapterConfigFile, data)
	if err != nil {
		return c, err
	}
	if t := j.values["peft_type"]; t != `"LORA"` && j.set("peft_type") {
		return c, fmt.Errorf("peft_type %s is not supported: only LORA is: merge the adapter with peft's "+
			"merge_and_unload, or train one of LORA", t)
	}
	if len(j.unknown) > 0 {
		return c,
			fmt.Errorf("%s is set, which this program does not know: a newer peft has written it, and it may change "+
				"the numbers: "+
				"merge the adapter with that peft, or save it without the key", j.unknown[0])
	}
	var f adapterJSON
	if err := j.decode(adapterConfigFile, &f); err != nil {
		return c, err
	}
	if err := f.refuse(); err != nil {
		return c, err
	}
	c.R, c.Alpha, c.RSLoRA, c.dropout, c.base = *f.R, *f.Alpha, f.RSLoRA, f.Dropout, or(f.Base, "")
	if c.Targets, c.pattern, err = namesOrPattern(f.Targets); err != nil {
		return c, fmt.Errorf("target_modules: %w", err)
	}
	if c.excluded, c.exclude, err = namesOrPattern(f.Exclude); err != nil {
		return c, fmt.Errorf("exclude_modules: %w", err)
	}
	if c.pattern == "" && len(c.Targets) == 0 {
		return c, fmt.Errorf("target_modules is missing")
	}
	if c.layers, err = intOrInts(f.Layers); err != nil {
		return c, fmt.Errorf("layers_to_transform: %w", err)
	}
	if c.RankPattern, err = patterns(f.RankPattern); err != nil {
		return c, fmt.Errorf("rank_pattern: %w", err)
	}
	if c.AlphaPattern, err = patterns(f.AlphaPattern); err != nil {
		return c, fmt.Errorf("alpha_pattern: %w", err)
	}
	_, err = c.matcher()
	return c, err
}

// refuse returns an error that names the key of a variant of LoRA.
func (f *adapterJSON) refuse() error {
	if f.Type != "LORA" {
		return fmt.Errorf("peft_type is missing: only LORA is supported")
	}
	if b := or(f.Bias, "none"); b != "none" {
		return fmt.Errorf("bias %q is not supported: only none is", b)
	}
	if f.R == nil || f.Alpha == nil {
		return fmt.Errorf("r or lora_alpha is missing")
	}
	return nil
}

// matcher checks the configuration and returns a function that says which modules are adapted.
func (c *AdapterConfig) matcher() (func(module string) bool, error) {
	if c.R < 1 || c.R > maxRank {
		return nil, fmt.Errorf("rank %d is not between 1 and %d", c.R, maxRank)
	}
	if !finite(c.Alpha) {
		return nil, fmt.Errorf("alpha is %v", c.Alpha)
	}
	for _, p := range slices.Concat(c.RankPattern, c.AlphaPattern) {
		if _, err := patternKey(p.Key); err != nil {
			return nil, err
		}
	}
	if err := c.knownTargets(); err != nil {
		return nil, err
	}
	want, err := moduleSet(c.Targets, c.pattern)
	if err != nil {
		return nil, err
	}
	if len(c.Targets) == 0 && c.pattern == "" || slices.Contains(c.Targets, "all-linear") ||
		strings.EqualFold(c.pattern, "all-linear") {
		want = func(string) bool { return true }
	}
	not, err := moduleSet(c.excluded, c.exclude)
	if err != nil {
		return nil, err
	}
	return func(module string) bool {
		var layer int
		_, err := fmt.Sscanf(module, "model.layers.%d.", &layer)
		inLayers := len(c.layers) == 0 || err == nil && slices.Contains(c.layers, layer) ||
			slices.Contains(c.Targets, module)
		return want(module) && !not(module) && inLayers
	}, nil
}

// knownTargets refuses names that are no projection, because peft would ignore them silently.
func (c *AdapterConfig) knownTargets() error {
	for _, t := range c.Targets {
		last := t[strings.LastIndexByte(t, '.')+1:]
		if t != "all-linear" && !slices.Contains(projNames(), last) {
			return fmt.Errorf("target module %q is not supported: adapters go on %s, or all-linear", t,
				strings.Join(projNames(), ", "))
		}
	}
	return nil
}

// moduleSet is peft's rule: a list of ends of names, or a regular expression for the whole name.
func moduleSet(names []string, pattern string) (func(string) bool, error) {
	if pattern != "" {
		re, err := regexp.Compile("^(?:" + pattern + ")$")
		if err != nil {
			return nil, fmt.Errorf("the pattern %q of modules is not supported: %w: list the modules by name", pattern,
				err)
		}
		return re.MatchString, nil
	}
	return func(module string) bool {
		return slices.ContainsFunc(names, func(n string) bool {
			return module == n ||
				strings.HasSuffix(module, "."+n)
		})
	}, nil
}

// rankAlpha is the rank and alpha of a module.
func (c *AdapterConfig) rankAlpha(module string) (r int, alpha float64, err error) {
	r, alpha = c.R, c.Alpha
	if v, ok := lookup(c.RankPattern, module); ok {
		r = int(v)
		if float64(r) != v || r < 1 || r > maxRank {
			return 0, 0, fmt.Errorf("rank_pattern gives %s the rank %v", module, v)
		}
	}
	if v, ok := lookup(c.AlphaPattern, module); ok {
		alpha = v
	}
	return r, alpha, nil
}

func (c *AdapterConfig) scale(r int, alpha float64) float32 {
	if c.RSLoRA {
		return float32(alpha / math.Sqrt(float64(r)))
	}
	return float32(alpha / float64(r))
}

func lookup(patterns []Pattern, module string) (float64, bool) {
	for _, p := range patterns {
		if re, err := patternKey(p.Key); err == nil && re.MatchString(module) {
			return p.Value, true
		}
	}
	return 0, false
}

// patternKey compiles a key of a rank_pattern or alpha_pattern as peft does.
func patternKey(key string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(`^(.*\.)?(` + key + `)$`)
	if err != nil {
		return nil, fmt.Errorf("the pattern %q of a module is not supported: %w", key, err)
	}
	return re, nil
}

// namesOrPattern reads a list of names or a regular expression.
func namesOrPattern(raw json.RawMessage) (names []string, pattern string, err error) {
	switch {
	case !set(raw):
		return nil, "", nil
	case raw[0] == '"':
		err = pyjson.Unmarshal(raw, &pattern)
	default:
		err = pyjson.Unmarshal(raw, &names)
	}
	return names, pattern, err
}

func intOrInts(raw json.RawMessage) (list []int, err error) {
	if !set(raw) {
		return nil, nil
	}
	if raw[0] != '[' {
		raw = slices.Concat([]byte{'['}, raw, []byte{']'})
	}
	return list, pyjson.Unmarshal(raw, &list)
}

// patterns reads an object of numbers, keeping the order of its keys.
func patterns(raw json.RawMessage) (list []Pattern, err error) {
	if !set(raw) {
		return nil, nil
	}
	members, err := jsonscan.Members(raw)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		var v float64
		if err := json.Unmarshal(m.Raw, &v); err != nil {
			return nil, pyjson.Explain(err)
		}
		list = append(list, Pattern{m.Key, v})
	}
	return list, nil
}

func projNames() []string {
	var names []string
	for _, p := range projs {
		names = append(names, p.name[strings.LastIndexByte(p.name, '.')+1:])
	}
	return names
}

// targetText shows the targets in messages.
func (c *AdapterConfig) targetText() string {
	if c.pattern != "" {
		return strconv.Quote(c.pattern)
	}
	return "[" + strings.Join(c.Targets, " ") + "]"
}

// JSON is the adapter_config.json: the file that was read, or one that peft understands.
func (c *AdapterConfig) JSON() []byte {
	if c.raw != nil {
		return c.raw
	}
	object := func(list []Pattern) json.RawMessage {
		b := []byte{'{'}
		for i, p := range list {
			if i > 0 {
				b = append(b, ',')
			}
			key, _ := json.Marshal(p.Key)
			b = strconv.AppendFloat(append(append(b, key...), ':'), p.Value, 'g', -1, 64)
		}
		return append(b, '}')
	}
	targets := c.Targets
	if len(targets) == 0 || slices.Contains(targets, "all-linear") {
		targets = projNames()
	}
	text, err := json.MarshalIndent(map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": c.base, "r": c.R,
		"lora_alpha": c.Alpha,
		"use_rslora": c.RSLoRA, "lora_dropout": 0.0, "bias": "none", "target_modules": targets,
		"rank_pattern":  object(c.RankPattern),
		"alpha_pattern": object(c.AlphaPattern), "inference_mode": true, "fan_in_fan_out": false, "use_dora": false,
		"modules_to_save": nil, "init_lora_weights": true,
	}, "", "  ")
	if err != nil {
		panic(err) // numbers were checked to be finite
	}
	return append(text, '\n')
}

// over sets the base model of the file that Save writes to dir, as an absolute path, which this program and peft find
// from every working directory.
func (c *AdapterConfig) over(dir string) error {
	if dir == "" {
		return nil
	}
	at, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("the folder of the base model: %w", err)
	}
	c.base = at
	if c.raw == nil {
		return nil
	}
	value, err := json.Marshal(at)
	if err != nil {
		return err
	}
	if c.raw, err = setKey(c.raw, string(value), "base_model_name_or_path"); err != nil {
		return fmt.Errorf("%s: %w", adapterConfigFile, err)
	}
	return nil
}

// Base is the folder or name of the model that the adapter was trained on; "" if the file does not say.
func (c *AdapterConfig) Base() string { return c.base }
