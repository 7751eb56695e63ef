package report

import (
	"regexp"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// span is a part of an episode on the page: a token of the policy, or a text of the environment.
type span struct {
	Text  string
	Class string // CSS class
	// Token says that the policy sampled it. Then ID is its id, Logprob its log-probability (natural logarithm) when it
	// was sampled, and Advantage its advantage if the episode was trained on.
	Token        bool
	ID           int32
	Logprob      float32
	HasLogprob   bool
	Advantage    float32
	HasAdvantage bool
	Parts        []part
}

// part is a part of a token's text that lies within one tag or within the content of one element.
type part struct{ Text, Class string }

// spans splits an episode into spans. With a tokenizer every sampled token is one span; without one the text of a turn
// is one span.
func spans(e *episode.Episode, tok *tokenizer.Tokenizer) []span {
	if tok == nil {
		return texts(e)
	}
	var out []span
	d := tok.NewDecoder(false)
	sampled := 0
	for i := range e.Turns {
		t := &e.Turns[i]
		begin := len(out)
		for k, id := range t.IDs {
			text := d.Add(id)
			if k == len(t.IDs)-1 && i == len(e.Turns)-1 {
				text += d.Flush()
			}
			if !t.Mask[k] {
				if n := len(out); n > begin && !out[n-1].Token {
					out[n-1].Text += text
				} else {
					out = append(out, span{Text: text, Class: "obs"})
				}
				continue
			}
			s := span{Text: text, Token: true, ID: id}
			if t.Logprobs != nil {
				s.Logprob, s.HasLogprob = t.Logprobs[k], true
				s.Class = surprise(t.Logprobs[k])
			}
			if sampled < len(e.Advantages) {
				s.Advantage, s.HasAdvantage = e.Advantages[sampled], true
			}
			sampled++
			out = append(out, s)
		}
		colour(out[begin:], t.Prefill)
	}
	return out
}

// texts are the spans of an episode without a tokenizer.
func texts(e *episode.Episode) (out []span) {
	for i := range e.Turns {
		t := &e.Turns[i]
		said := []span{{Text: t.Text, Token: true, ID: -1}}
		colour(said, t.Prefill)
		out = append(out, said...)
		if t.Observation != "" {
			out = append(out, span{Text: t.Observation, Class: "obs"})
		}
	}
	return out
}

// surprise is the CSS class of a log-prob: "" for a likely token, s1 to s4 for less and less likely ones.
func surprise(logprob float32) string {
	for _, s := range []struct {
		above float32
		class string
	}{{-0.1, ""}, {-0.7, "s1"}, {-1.6, "s2"}, {-3, "s3"}} {
		if logprob > s.above {
			return s.class
		}
	}
	return "s4"
}

// tag matches a tag of a thought, an action or an observation.
var tag = regexp.MustCompile(`</?(think|search|answer|information)>`)

// colour splits the tokens of a turn where tags begin and end, and sets the CSS classes of the parts. It only looks at
// the policy's own text: a tag in a document is text. If the prompt opens a thought, the turn begins inside it.
func colour(turn []span, prefill string) {
	var text string
	for _, s := range turn {
		if s.Token {
			text += s.Text
		}
	}
	type region struct {
		end   int
		class string
	}
	var regions []region
	inside := ""
	if prefill != "" {
		inside = "in-think"
	}
	for _, m := range tag.FindAllStringSubmatchIndex(text, -1) {
		regions = append(regions, region{m[0], inside})
		name := text[m[2]:m[3]]
		regions = append(regions, region{m[1], "tag " + name})
		inside = ""
		if text[m[0]+1] != '/' {
			inside = "in-" + name
		}
	}
	regions = append(regions, region{len(text), inside})
	at, k := 0, 0
	for i := range turn {
		s := &turn[i]
		if !s.Token {
			continue
		}
		for rest := s.Text; rest != ""; {
			for regions[k].end <= at {
				k++
			}
			n := min(len(rest), regions[k].end-at)
			s.Parts = append(s.Parts, part{rest[:n], regions[k].class})
			rest, at = rest[n:], at+n
		}
	}
}
