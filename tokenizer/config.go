package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// component is a step of tokenizer.json (normalizer, pre_tokenizer, post_processor or decoder): the union of the fields
// of those known here.
type component struct {
	Type          string      `json:"type"`
	Normalizers   []component `json:"normalizers"`
	Pretokenizers []component `json:"pretokenizers"`
	Processors    []component `json:"processors"`
	Decoders      []component `json:"decoders"`

	Prepend string `json:"prepend"` // normalizer Prepend
	Content string `json:"content"` // Replace's new text; decoder Strip's character
	Start   int    `json:"start"`   // decoder Strip
	Stop    int    `json:"stop"`
	Pattern struct {
		Regex  *string
		String *string
	} `json:"pattern"` // Replace, Split
	Behavior         string `json:"behavior"` // Split
	Invert           bool   `json:"invert"`
	UseRegex         *bool  `json:"use_regex"`        // ByteLevel; absent is true
	AddPrefixSpace   *bool  `json:"add_prefix_space"` // ByteLevel, Metaspace (old spelling); absent is true
	IndividualDigits bool   `json:"individual_digits"`
	Replacement      string `json:"replacement"`    // Metaspace
	PrependScheme    string `json:"prepend_scheme"` // Metaspace: always (default), first, never
	Split            *bool  `json:"split"`          // Metaspace; absent is true

	Single        []templatePiece `json:"single"` // TemplateProcessing
	SpecialTokens map[string]struct {
		IDs []int32 `json:"ids"`
	} `json:"special_tokens"`
}

// templatePiece is {"SpecialToken": {"id": TOKEN}} or {"Sequence": {"id": "A"}}.
type templatePiece struct {
	SpecialToken *struct{ ID string }
	Sequence     *struct{ ID string }
}

// parseComponent reads a section of tokenizer.json; null and an absent section give the zero value.
func parseComponent(raw json.RawMessage) (c component, err error) {
	if len(raw) > 0 {
		err = pyjson.Unmarshal(raw, &c)
	}
	return c, err
}

// unsupported is the error for a step that this package does not know.
func unsupported(section string, c component) error {
	return fmt.Errorf("%s %q is not supported (byte-level BPE and sentencepiece-style BPE are)", section, c.Type)
}

// metaspace is the character that stands for a space in sentencepiece vocabularies.
const metaspace = "\u2581"

// maxSteps bounds the normalizers and pre-tokenizers of a file. maxGrowing bounds those of them that add text: with the
// bounds on what a normalizer may add it keeps a damaged or hostile file from turning a short text into a very long
// one. Published files have up to seven steps, and two that add text.
const (
	maxSteps   = 16
	maxGrowing = 4
)

func buildNormalizers(c component) ([]normalizer, error) {
	switch c.Type {
	case "":
		return nil, nil
	case "Sequence":
		var all []normalizer
		for _, part := range c.Normalizers {
			n, err := buildNormalizers(part)
			if err != nil {
				return nil, err
			}
			if all = append(all, n...); len(all) > maxGrowing {
				return nil, fmt.Errorf("more than %d normalizers", maxGrowing)
			}
		}
		return all, nil
	case "NFC":
		return []normalizer{nfc}, nil
	case "Prepend":
		if len(c.Prepend) <= 64 {
			return []normalizer{prepend(c.Prepend)}, nil
		}
	case "Replace":
		if old := c.Pattern.String; old != nil && *old != "" && len(c.Content) <= 3*len(*old) {
			return []normalizer{replace(*old, c.Content)}, nil
		}
	}
	return nil, unsupported("normalizer", c)
}

// step is one pre-tokenizer: it may put a space in front of its input, and may cut it.
type step struct {
	prefixSpace bool // unless the text begins with a space
	metaspace   bool // spaces become U+2581
	scheme      string
	cut         split
	find        finder // in place of cut: of Split
	behavior    string
	invert      bool
}

func buildSteps(c component) (steps []step, byteLevel bool, err error) {
	switch c.Type {
	case "":
		return nil, false, nil
	case "Sequence":
		for _, part := range c.Pretokenizers {
			if byteLevel { // what comes after would see the alphabet, not the text
				return nil, false, unsupported("a pre_tokenizer behind ByteLevel:", part)
			}
			s, b, err := buildSteps(part)
			if err != nil {
				return nil, false, err
			}
			if steps, byteLevel = append(steps, s...), b; len(steps) > maxSteps {
				return nil, false, fmt.Errorf("more than %d pre_tokenizers", maxSteps)
			}
			growing := 0
			for _, s := range steps {
				if s.prefixSpace || s.metaspace {
					growing++
				}
			}
			if growing > maxGrowing {
				return nil, false, fmt.Errorf("more than %d pre_tokenizers that add text", maxGrowing)
			}
		}
		return steps, byteLevel, nil
	case "ByteLevel":
		s := step{prefixSpace: isTrue(c.AddPrefixSpace)}
		if isTrue(c.UseRegex) {
			s.cut = splitGPT2
		}
		return []step{s}, true, nil
	case "Digits":
		return []step{{cut: splitDigits(c.IndividualDigits)}}, false, nil
	case "Split":
		s, err := splitStep(c)
		return []step{s}, false, err
	case "Metaspace":
		s := step{metaspace: true, scheme: c.PrependScheme}
		if s.scheme == "" && !isTrue(c.AddPrefixSpace) {
			s.scheme = "never"
		}
		if isTrue(c.Split) {
			s.cut = splitMetaspace
		}
		if c.Replacement == "" || c.Replacement == metaspace {
			return []step{s}, false, nil
		}
	}
	return nil, false, unsupported("pre_tokenizer", c)
}

// splitStep is a Split: its pattern is a regular expression or a text.
func splitStep(c component) (s step, err error) {
	s = step{behavior: c.Behavior, invert: c.Invert}
	switch {
	case !slices.Contains(behaviors, c.Behavior):
		return s, fmt.Errorf("the pre_tokenizer Split has the behavior %q: it should be one of %q",
			c.Behavior, behaviors)
	case c.Pattern.Regex == nil && (c.Pattern.String == nil || *c.Pattern.String == ""):
		return s, fmt.Errorf("the pre_tokenizer Split has no pattern")
	case c.Pattern.Regex == nil:
		s.find = findText(*c.Pattern.String)
	case s.behavior == "Isolated" && !s.invert && patterns[*c.Pattern.Regex] != nil:
		return step{cut: patterns[*c.Pattern.Regex]}, nil
	default:
		s.find, err = newFinder(*c.Pattern.Regex)
	}
	return s, err
}

func isTrue(b *bool) bool { return b == nil || *b }

// template is what AddSpecial puts around a text.
type template struct{ before, after []int32 }

func buildTemplate(c component, id func(string) (int32, bool)) (t template, err error) {
	switch c.Type {
	case "", "ByteLevel": // ByteLevel only moves offsets
		return t, nil
	case "Sequence":
		for _, part := range c.Processors {
			inner, err := buildTemplate(part, id)
			if err != nil {
				return t, err
			}
			t.before = append(inner.before, t.before...)
			t.after = append(t.after, inner.after...)
		}
		return t, nil
	case "TemplateProcessing":
		list := &t.before
		for _, piece := range c.Single {
			if piece.Sequence != nil {
				list = &t.after
			} else if piece.SpecialToken != nil {
				name := piece.SpecialToken.ID
				ids := c.SpecialTokens[name].IDs
				if len(ids) == 0 {
					one, ok := id(name)
					if !ok {
						return t, fmt.Errorf("post_processor names the unknown token %q", name)
					}
					ids = []int32{one}
				}
				*list = append(*list, ids...)
			}
		}
		return t, nil
	}
	return t, unsupported("post_processor", c)
}

// decoding says how tokens become text.
type decoding struct {
	metaspace    bool // U+2581 is a space
	byteFallback bool // <0xXX> is a byte
	wholeRuns    bool // a run of such bytes that is not valid as a whole is all U+FFFD
	stripSpace   bool // one space at the start of the text goes
}

func buildDecoding(c component) (d decoding, byteLevel bool, err error) {
	switch c.Type {
	case "ByteLevel":
		return d, true, nil
	case "Metaspace":
		d.metaspace = true
		d.stripSpace = c.PrependScheme != "never" && isTrue(c.AddPrefixSpace)
		return d, false, nil
	case "ByteFallback":
		d.byteFallback, d.wholeRuns = true, true
		return d, false, nil
	case "Fuse", "":
		return d, false, nil
	case "Replace":
		if p := c.Pattern.String; p != nil && *p == metaspace && c.Content == " " {
			d.metaspace = true
			return d, false, nil
		}
	case "Strip":
		if c.Content == " " && c.Start <= 1 && c.Stop == 0 {
			d.stripSpace = c.Start == 1
			return d, false, nil
		}
	case "Sequence":
		for _, part := range c.Decoders {
			inner, b, err := buildDecoding(part)
			if err != nil {
				return d, false, err
			}
			byteLevel = byteLevel || b
			d.metaspace = d.metaspace || inner.metaspace
			d.byteFallback = d.byteFallback || inner.byteFallback
			d.wholeRuns = d.wholeRuns || inner.wholeRuns
			d.stripSpace = d.stripSpace || inner.stripSpace
		}
		return d, byteLevel, nil
	}
	return d, false, unsupported("decoder", c)
}

// splitMetaspace cuts before every U+2581.
func splitMetaspace(b []byte, i int) int {
	for j := i + 1; j+2 < len(b); j++ {
		if b[j] == metaspace[0] && b[j+1] == metaspace[1] && b[j+2] == metaspace[2] {
			return j
		}
	}
	return len(b)
}

// splitWords cuts between something else and U+2581, where no merge of a vocabulary without such tokens can happen.
func splitWords(b []byte, i int) int {
	for strings.HasPrefix(string(b[i:min(i+3, len(b))]), metaspace) {
		i += 3
	}
	if i == len(b) {
		return i
	}
	return splitMetaspace(b, i)
}
