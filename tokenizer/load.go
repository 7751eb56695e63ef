package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/zerosearch-go/zerosearch/internal/jsonscan"
	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// sections are the unparsed parts of a tokenizer.json.
type sections struct {
	added, normalizer, preTokenizer, postProcessor, decoder, padding json.RawMessage
	model                                                            modelSections
}

type modelSections struct {
	Type                    *string  `json:"type"`
	Dropout                 *float64 `json:"dropout"`
	UnkToken                *string  `json:"unk_token"`
	ContinuingSubwordPrefix *string  `json:"continuing_subword_prefix"`
	EndOfWordSuffix         *string  `json:"end_of_word_suffix"`
	FuseUnk                 bool     `json:"fuse_unk"`
	ByteFallback            bool     `json:"byte_fallback"`
	IgnoreMerges            bool     `json:"ignore_merges"`
	vocab, merges           []byte
}

// Parse parses the text of a tokenizer.json. The tokenizer has no BOS and EOS, which are in other files.
func Parse(text []byte) (*Tokenizer, error) {
	t, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading tokenizer.json: %w", err)
	}
	return t, nil
}

func parse(text []byte) (*Tokenizer, error) {
	loadClasses()
	s, err := readSections(text)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{}
	var byteLevel, decodesBytes bool
	preTokenizer, err := parseComponent(s.preTokenizer)
	if err == nil {
		t.steps, byteLevel, err = buildSteps(preTokenizer)
	}
	if err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	decoder, err := parseComponent(s.decoder)
	if err == nil {
		t.decoding, decodesBytes, err = buildDecoding(decoder)
	}
	if err == nil && decoder.Type != "" && decodesBytes != byteLevel {
		err = fmt.Errorf("decoder %q does not fit the pre_tokenizer", decoder.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	rewriting, err := parseComponent(s.normalizer)
	var normalizers []normalizer
	if err == nil {
		normalizers, err = buildNormalizers(rewriting)
	}
	if err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	t.normalize = chain(normalizers)
	if err := t.loadModel(&s.model, byteLevel); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if err := t.loadAdded(s.added, s.padding); err != nil {
		return nil, fmt.Errorf("added_tokens: %w", err)
	}
	t.finish()
	postProcessor, err := parseComponent(s.postProcessor)
	if err == nil {
		t.template, err = buildTemplate(postProcessor, t.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	return t, nil
}

// readSections finds the parts of the file.
func readSections(text []byte) (*sections, error) {
	s := &sections{}
	sc := &jsonscan.Scanner{Text: text}
	err := sc.Object(func(key []byte) error {
		if string(key) == "model" {
			return s.model.read(sc)
		}
		raw, err := sc.Raw()
		switch string(key) {
		case "added_tokens":
			s.added = raw
		case "normalizer":
			s.normalizer = raw
		case "pre_tokenizer":
			s.preTokenizer = raw
		case "post_processor":
			s.postProcessor = raw
		case "decoder":
			s.decoder = raw
		case "padding":
			s.padding = raw
		}
		return err
	})
	if err == nil {
		err = sc.End()
	}
	return s, err
}

// read parses the model's settings and finds the lists vocab and merges.
func (m *modelSections) read(sc *jsonscan.Scanner) error {
	settings := []byte{'{'}
	err := sc.Object(func(key []byte) error {
		name := string(key)
		raw, err := sc.Raw()
		switch {
		case err != nil:
			return err
		case name == "vocab":
			m.vocab = raw
		case name == "merges":
			m.merges = raw
		default:
			quoted, err := json.Marshal(name)
			if err != nil {
				return err
			}
			if len(settings) > 1 {
				settings = append(settings, ',')
			}
			settings = append(append(append(settings, quoted...), ':'), raw...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return pyjson.Unmarshal(append(settings, '}'), m)
}

// check refuses unsupported settings that would change the ids.
func (m *modelSections) check() error {
	switch {
	case m.Type != nil && *m.Type != "BPE":
		return fmt.Errorf("type %q is not supported, only BPE", *m.Type)
	case m.Dropout != nil && *m.Dropout != 0:
		return fmt.Errorf("dropout %v is not supported", *m.Dropout)
	case m.ContinuingSubwordPrefix != nil && *m.ContinuingSubwordPrefix != "":
		return fmt.Errorf("continuing_subword_prefix %q is not supported", *m.ContinuingSubwordPrefix)
	case m.EndOfWordSuffix != nil && *m.EndOfWordSuffix != "":
		return fmt.Errorf("end_of_word_suffix %q is not supported", *m.EndOfWordSuffix)
	case m.vocab == nil || m.merges == nil:
		return fmt.Errorf("vocab or merges is missing")
	}
	return nil
}

func (t *Tokenizer) loadModel(m *modelSections, byteLevel bool) error {
	if err := m.check(); err != nil {
		return err
	}
	v := newVocab(byteLevel, bytes.Count(m.vocab, []byte{':'}), len(m.vocab))
	sc := &jsonscan.Scanner{Text: m.vocab}
	entries, largest := 0, 0
	err := sc.Object(func(token []byte) error {
		id, err := sc.Int()
		if err != nil {
			return err
		}
		entries++
		if largest = max(largest, id); largest > 1<<20+16*len(m.vocab) {
			return fmt.Errorf("token id %d is too large for the size of the vocabulary", id)
		}
		return v.add(id, token)
	})
	if err != nil {
		return fmt.Errorf("vocab: %w", err)
	}
	t.added.base = entries
	t.model = bpe{vocab: v, byteFallback: m.ByteFallback, fuseUnknown: m.FuseUnk, ignoreMerges: m.IgnoreMerges,
		unknown: -1}
	if m.UnkToken != nil {
		if id, ok := t.ID(*m.UnkToken); ok {
			t.model.unknown = id
		}
	}
	if err := t.model.loadMerges(m.merges); err != nil {
		return fmt.Errorf("merges: %w", err)
	}
	return nil
}

// finish builds the tables for encoding and decoding.
func (t *Tokenizer) finish() {
	if t.stated == 0 {
		t.stated = t.VocabSize()
	}
	m, v := &t.model, t.model.vocab
	for c := range m.byteID {
		if v.byteLevel {
			m.byteID[c] = v.find([]byte{byte(c)})
		} else {
			m.byteID[c] = v.find(fmt.Appendf(nil, "<0x%02X>", c))
		}
	}
	for c := range m.asciiID {
		m.asciiID[c] = v.find([]byte{byte(c)})
	}
	if v.byteLevel {
		return
	}
	t.plain = &vocab{arena: make([]byte, 1, len(v.arena)), spans: make([]span, len(v.spans))}
	t.byteToken = make([]bool, len(v.spans))
	whole := true // no token has U+2581 after another character
	for id := range v.spans {
		b := v.bytes(int32(id))
		if b == nil {
			continue
		}
		start := len(t.plain.arena)
		if c, ok := byteOf(b); ok && t.decoding.byteFallback {
			t.byteToken[id] = true
			t.plain.arena = append(t.plain.arena, c)
		} else if t.decoding.metaspace {
			t.plain.arena = append(t.plain.arena, bytes.ReplaceAll(b, []byte(metaspace), []byte{' '})...)
		} else {
			t.plain.arena = append(t.plain.arena, b...)
		}
		t.plain.spans[id] = span{uint32(start), uint32(len(t.plain.arena))}
		whole = whole && (len(b) == 0 || splitWords(b, 0) == len(b))
	}
	if whole && len(t.steps) == 0 {
		t.steps = []step{{cut: splitWords}}
	}
}
