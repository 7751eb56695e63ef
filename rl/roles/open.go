package roles

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/dense"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// LoadedModel is a model with what is needed to talk to it. Adapter, Tokenizer and Template are nil where there are
// none.
type LoadedModel struct {
	Dir        string // where the base weights are
	AdapterDir string // where the adapter was loaded from, "" if it was not
	Model      *model.Model
	Adapter    *model.Adapter
	Tokenizer  *tokenizer.Tokenizer
	Template   *tokenizer.Template
	Notes      []string // what the user should know about how it was read
	Embeds     bool     // an embedding model: its output matrix may be missing
}

// Trained says that this program trained the model or its adapter, by train or sft: the folder of its weights is a
// checkpoint.
func (m *LoadedModel) Trained() bool {
	return rundir.MadeBy(m.Dir) != "" || m.AdapterDir != "" && rundir.MadeBy(m.AdapterDir) != ""
}

// OpenOptions say what to open and how to hold it.
type OpenOptions struct {
	Model        string        // model folder, adapter folder, or run directory
	Adapter      string        // peft folder over it
	DType        kernels.DType // of weights; 0: as a quantised folder is, else Like
	Like         kernels.DType // 0: BF16
	Trainable    bool          // all weights, or with an adapter the adapter's only
	FrozenBase   bool          // the base stays frozen though Trainable: an adapter will be made for it
	ChatTemplate string        // Jinja file instead of the model's own template
	Thinking     *bool         // the template's variable enable_thinking; nil: up to the template
	Vectors      bool          // an embedding model may be opened, for its hidden states alone: LoadedModel.Embeds
}

// Open loads a model, unless ctx ends before. A folder that holds an adapter names its base in adapter_config.json.
func Open(ctx context.Context, dev kernels.Device, o OpenOptions) (_ *LoadedModel, err error) {
	defer func() { err = config.Error(err) }()
	dir, err := rundir.ModelDir(o.Model)
	if err != nil {
		return nil, err
	}
	p := &LoadedModel{}
	adapter := o.Adapter
	base, note, err := AdapterBase(dir)
	switch is := isAdapter(dir); {
	case err != nil:
		return nil, err
	case is && adapter != "":
		return nil, fmt.Errorf("opening model %s: it is an adapter itself: give only one of --model and --adapter an "+
			"adapter folder", dir)
	case is && base == "":
		return nil, namesNoBase(dir)
	case is:
		adapter, dir = dir, base
		p.note(note)
	case adapter != "":
		if adapter, err = rundir.ModelDir(adapter); err != nil {
			return nil, err
		}
		if p.Notes, err = mountedAsTold(adapter, dir); err != nil {
			return nil, err
		}
	}
	p.Dir = dir
	if o.DType, err = o.dtype(dir); err != nil {
		return nil, err
	}
	if o.Vectors {
		if p.Embeds, err = dense.IsEmbedding(dir); err != nil {
			return nil, err
		}
	}
	trained := o.Trainable && adapter == "" && !o.FrozenBase
	if p.Model, err = model.LoadContext(ctx, dev, dir, model.Options{DType: o.DType, Trainable: trained,
		Headless: p.Embeds}); err != nil {
		return nil, err
	}
	p.Notes = append(p.Notes, p.Model.Config.Notes...)
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if adapter != "" {
		if p.Adapter, err = model.LoadAdapter(p.Model, adapter, o.Trainable); err != nil {
			return nil, err
		}
		p.AdapterDir = adapter
	}
	if err = p.openText(o.ChatTemplate); err == nil && o.Thinking != nil {
		if p.Template, err = p.thinking("--enable-thinking", o.Thinking); err != nil {
			return nil, err
		}
	}
	p.Notes = config.Notes(p.Notes)
	return p, err
}

// OpenTrained loads what p names to be trained, its weights held as dtype: all weights, an adapter, or a new adapter,
// which seed draws.
func OpenTrained(ctx context.Context, dev kernels.Device, p *config.Policy, dtype kernels.DType,
	seed uint64) (*LoadedModel,
	error) {
	m, err := Open(ctx, dev, OpenOptions{Model: p.Model, Adapter: p.Adapter, DType: dtype, Trainable: true,
		ChatTemplate: p.ChatTemplate, Thinking: p.Thinking, FrozenBase: p.LoRAR > 0 || p.Adapter != ""})
	if err != nil || p.LoRAR == 0 || m.Adapter != nil {
		return m, err
	}
	a := model.AdapterConfig{R: p.LoRAR, Alpha: p.LoRAAlpha, Targets: strings.Split(p.LoRATargets, ",")}
	if a.Alpha == 0 {
		a.Alpha = 2 * float64(p.LoRAR)
	}
	if m.Adapter, err = model.NewAdapter(m.Model, a, true, engine.Stream(seed, config.PurposeAdapter)); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// CopyTo is a frozen copy of p without its adapter on dev, held as dtype (0: as p is), which speaks as p does. The
// caller closes it.
func (p *LoadedModel) CopyTo(dev kernels.Device, dtype kernels.DType) (_ *LoadedModel, err error) {
	s := p.WithoutAdapter()
	s.Model, err = p.Model.CloneTo(dev, model.Options{DType: dtype})
	return s, err
}

// WithoutAdapter is p with its adapter left out, over the same weights.
func (p *LoadedModel) WithoutAdapter() *LoadedModel {
	s := *p
	s.Adapter, s.AdapterDir, s.Notes = nil, "", nil
	return &s
}

// mountedAsTold is a note if --adapter was not made for the base that --model names: it is mounted all the same, as
// peft does.
func mountedAsTold(adapter, base string) ([]string, error) {
	made, _, err := MadeFor(adapter, base)
	if err != nil || made {
		return nil, err
	}
	c, err := model.ReadAdapterConfig(adapter)
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("adapter %s names %q as its base; it is mounted over %s, as --model says", adapter,
		c.Base(), base)}, nil
}

// thinking is the template with thinking switched on or off by the flag; as it is for nil.
func (p *LoadedModel) thinking(flag string, on *bool) (*tokenizer.Template, error) {
	if on == nil {
		return p.Template, nil
	}
	if p.Template == nil {
		return nil, fmt.Errorf("opening model %s: %s: it has no chat template: leave the flag out", p.Dir, flag)
	}
	t, err := p.Template.With("enable_thinking", *on)
	if err != nil {
		return nil, fmt.Errorf("opening model %s: %s: %w: leave the flag out, or give a template that does with "+
			"--chat-template", p.Dir, flag, err)
	}
	return t, nil
}

// dtype is the type of the weights in dir.
func (o OpenOptions) dtype(dir string) (kernels.DType, error) {
	if o.DType != 0 || o.Like == 0 {
		return o.DType, nil // 0: the model's choice
	}
	c, err := model.ReadConfig(dir)
	if err != nil || c.Quantised != 0 {
		return 0, err
	}
	return o.Like, nil
}

// openText loads tokenizer and template. A folder without tokenizer.json, or a GGUF file without tokens, gives a model
// that speaks ids only.
func (p *LoadedModel) openText(template string) (err error) {
	if _, err := os.Stat(filepath.Join(p.Dir, "tokenizer.json")); errors.Is(err, os.ErrNotExist) && !gguf.Is(p.Dir) {
		return nil
	}
	if p.Tokenizer, err = tokenizer.Open(p.Dir); errors.Is(err, tokenizer.ErrNoTokens) {
		return nil
	} else if err != nil {
		return err
	}
	if n := p.Tokenizer.Rows(); n > p.Model.Config.Vocab {
		return fmt.Errorf(
			"opening model %s: the tokenizer has %d tokens and the embedding %d rows: they are not of one model", p.Dir,
			n, p.Model.Config.Vocab)
	}
	if err := p.Model.OnlyTokens(func(id int32) bool { return p.Tokenizer.Bytes(id) != nil }); err != nil {
		return fmt.Errorf("opening model %s: %w", p.Dir, err)
	}
	p.Template, err = openTemplate(p.Tokenizer, template)
	return err
}

// openTemplate is the template of file, or else the tokenizer's own; nil if it has none.
func openTemplate(t *tokenizer.Tokenizer, file string) (*tokenizer.Template, error) {
	if file == "" {
		tmpl, err := t.Chat()
		if errors.Is(err, tokenizer.ErrNoTemplate) {
			return nil, nil // a base model: prompts are raw text
		}
		return tmpl, err
	}
	text, err := data.ReadText(file)
	if err != nil {
		return nil, fmt.Errorf("reading --chat-template: %w", err)
	}
	tmpl, err := t.ParseTemplate(string(text))
	if err != nil {
		return nil, fmt.Errorf("reading --chat-template %s: %w", file, err)
	}
	return tmpl, nil
}

// SameTokenizer refuses two models that do not read ids as the same text.
func SameTokenizer(a, b *LoadedModel) error {
	if x, y := a.Model.Config.Vocab, b.Model.Config.Vocab; x != y {
		return fmt.Errorf("%s has a vocabulary of %d ids, the policy of %d: they must share a tokenizer", a.Dir, x, y)
	}
	if a.Tokenizer == nil || b.Tokenizer == nil {
		return nil
	}
	for id := range int32(max(a.Tokenizer.VocabSize(), b.Tokenizer.VocabSize())) {
		x, _ := a.Tokenizer.Token(id)
		if y, _ := b.Tokenizer.Token(id); x != y {
			return fmt.Errorf(
				"%s has another tokenizer than the policy: its token %d is %q, the policy's %q: they must share one",
				a.Dir, id, x, y)
		}
	}
	return nil
}

// Save writes into dir what a checkpoint holds of p, as others load it: the adapter, or the model with its weights held
// as dtype.
func (p *LoadedModel) Save(dir string, dtype kernels.DType) error {
	if p.Adapter != nil {
		return p.Adapter.Save(dir)
	}
	if err := p.Model.Save(dir, model.SaveOptions{DType: dtype, Tokenizer: p.Dir}); err != nil || !gguf.Is(p.Dir) {
		return err
	}
	return tokenizer.SaveGGUF(p.Dir, dir)
}

// EOS are the ids that end a generation.
func (p *LoadedModel) EOS() []int32 {
	if p.Tokenizer != nil {
		if ids := p.Tokenizer.EOSIDs(); len(ids) > 0 {
			return ids
		}
	}
	return p.Model.Config.EOS
}

// Close frees adapter and weights.
func (p *LoadedModel) Close() {
	if p.Adapter != nil {
		p.Adapter.Close()
	}
	p.Model.Close()
}

// ReadShape reads a model's sizes; an adapter's are its base's.
func ReadShape(name string) (*model.Config, string, error) {
	dir, err := rundir.ModelDir(name)
	if err != nil {
		return nil, "", err
	}
	base, _, err := AdapterBase(dir)
	if err != nil {
		return nil, "", err
	}
	if base == "" && isAdapter(dir) {
		return nil, "", namesNoBase(dir)
	}
	dir = cmp.Or(base, dir)
	cfg, err := model.ReadStored(dir)
	return cfg, dir, err
}

// HeldAs is the type of frozen weights: as the flag says, or else as a quantised folder is, or like others.
func HeldAs(flag, value string, cfg *model.Config, like kernels.DType) (kernels.DType, error) {
	t, err := config.WeightType(flag, value)
	switch {
	case err != nil:
		return 0, err
	case t != 0:
		return t, nil
	case cfg.Quantised != 0:
		return cfg.Quantised, nil
	}
	return cmp.Or(like, kernels.BF16), nil
}
