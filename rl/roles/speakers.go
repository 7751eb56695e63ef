package roles

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/thought"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// speaker is a model in an engine, as episodes and simulated search engines use it.
type speaker struct {
	eng     *engine.Engine
	name    string
	adapter *model.Adapter
	tok     *tokenizer.Tokenizer
	tmpl    *tokenizer.Template
	eos     []int32
}

// Policy makes a model of an engine the policy of episodes.
func EnginePolicy(eng *engine.Engine, name string, p *LoadedModel) episode.Policy {
	return policy{speaker{eng: eng, name: name, adapter: p.Adapter, eos: p.EOS()}}
}

// Simulator makes a model of an engine the writer of simulated documents. adapter may be nil, for the base; thinking
// switches its template's thinking on or off, nil leaves it.
func EngineSimulator(eng *engine.Engine, name string, p *LoadedModel, adapter *model.Adapter,
	thinking *bool) (search.Generator, error) {
	if p.Tokenizer == nil {
		return nil, fmt.Errorf("opening the simulator %s: it has no tokenizer.json, and documents are text", p.Dir)
	}
	if err := p.Template.Err(); err != nil {
		return nil, fmt.Errorf("opening the simulator %s: %w", p.Dir, err)
	}
	tmpl, err := p.thinking("--sim-enable-thinking", thinking)
	if err != nil {
		return nil, err
	}
	return simulator{speaker{eng: eng, name: name, adapter: adapter, tok: p.Tokenizer, tmpl: tmpl, eos: p.EOS()}}, nil
}

type policy struct{ speaker }

// Generate continues an episode. The engine finds the pages of earlier turns by the ids themselves.
func (p policy) Generate(ctx context.Context, r episode.Request) (episode.Result, error) {
	res, err := p.eng.Generate(ctx, engine.Request{Model: p.name, Adapter: p.adapter, Prompt: r.Context,
		MaxTokens: r.MaxTokens, Stop: r.Stop,
		EOS: p.eos, Temperature: r.Temperature, TopK: r.TopK, TopP: r.TopP, MinP: r.MinP, Stream: r.Stream})
	return episode.Result{IDs: res.IDs, Logprobs: res.Logprobs, Finish: res.Finish}, err
}

type simulator struct{ speaker }

// Generate writes documents. A device that fails is an engine that cannot be used any more: without that, a run would
// go on with the episodes that do not search.
func (s simulator) Generate(ctx context.Context, messages []search.Message,
	o search.GenerateOptions) (search.Generation, error) {
	chat := make([]tokenizer.Message, len(messages))
	for i, m := range messages {
		chat[i] = tokenizer.Message{Role: m.Role, Content: m.Content}
	}
	ids, err := s.tok.EncodeChat(s.tmpl, tokenizer.ChatInput{Messages: chat, AddGenerationPrompt: true})
	if err != nil {
		return search.Generation{}, err
	}
	res, err := s.eng.Generate(ctx, engine.Request{Model: s.name, Adapter: s.adapter, Prompt: ids,
		MaxTokens: o.MaxTokens, EOS: s.eos,
		Temperature: o.Temperature, Stream: o.Stream})
	var lost *engine.DeviceError
	if errors.As(err, &lost) {
		err = &search.Unavailable{Engine: "the simulator", Host: lost.Device, Tries: 1, Err: err}
	}
	if err != nil {
		return search.Generation{}, err
	}
	g := search.Generation{Text: said(s.tok, res.IDs), PromptTokens: len(ids), CompletionTokens: len(res.IDs)}
	if s.tmpl != nil {
		g.Prefill = episode.Prefill(episode.Text(s.tok), ids)
	}
	return g, nil
}

// said decodes what a model wrote without special tokens, but with the tags of its thoughts, which are special tokens
// of some models.
func said(tok *tokenizer.Tokenizer, ids []int32) string {
	var text strings.Builder
	from := 0
	for i, id := range ids {
		if token, _ := tok.Token(id); tok.Special(id) && thought.Tag(token) {
			text.WriteString(tok.Decode(ids[from:i], true) + token)
			from = i + 1
		}
	}
	text.WriteString(tok.Decode(ids[from:], true))
	return text.String()
}
