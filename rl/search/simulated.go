package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/zerosearch-go/zerosearch/rl/thought"
)

// Message is one message of a chat.
type Message struct{ Role, Content string }

// GenerateOptions are the sampling settings of one generation.
type GenerateOptions struct {
	// MaxTokens is the largest number of tokens of the output.
	MaxTokens int
	// Temperature of sampling; 0 is greedy.
	Temperature float64
	// Stream seeds the sampling: equal messages, options and stream give equal text.
	Stream uint64
}

// Generation is a generator's output and its number of tokens.
type Generation struct {
	// Text is the output without special tokens; thoughts are included.
	Text string
	// Prefill is the part of the answer that is already in the prompt: the opening tag of a thought.
	Prefill string
	// Reasoning is the thought of the model, where the server gives it apart from the text.
	Reasoning string
	// PromptTokens and CompletionTokens count the tokens that the model read and wrote.
	PromptTokens, CompletionTokens int
}

// Generator is the language model behind a simulated engine. Generate is called by many goroutines at once. Strings
// that spell a special token inside a message's content must be encoded as plain text.
type Generator interface {
	Generate(ctx context.Context, messages []Message, o GenerateOptions) (Generation, error)
}

// Simulated is a search engine played by a language model (ZeroSearch, arXiv 2505.04588, section 3.3).
type Simulated struct {
	// Engine is the name of the engine; "" stands for the name of Form.
	Engine string
	// Generator writes the documents.
	Generator Generator
	// Form is the form of the prompt.
	Form Form
	// TopK is the number of documents; 0 is 5.
	TopK int
	// Curriculum gives the probability of noise, tau. NoiseRate, if not nil, replaces it by a constant probability.
	Curriculum Curriculum
	NoiseRate  *float64
	// MaxTokens and Temperature of the simulator. MaxTokens 0 is 600. The reference implementation samples at
	// temperature 0.8.
	MaxTokens   int
	Temperature float64
}

// emptyTries is how often the simulator is asked, each time with another stream, when its answer has no text. Then the
// search counts as failed.
const emptyTries = 3

// NewSimulated returns a simulated engine with the settings of the reference implementation: five documents, 600
// tokens, temperature 0.8.
func NewSimulated(g Generator, form Form, c Curriculum) *Simulated {
	return &Simulated{Generator: g, Form: form, TopK: 5, Curriculum: c, MaxTokens: 600, Temperature: 0.8}
}

// Validate says what is wrong with the settings.
func (s *Simulated) Validate() error {
	switch {
	case s.Generator == nil:
		return errors.New("simulated search: no model: give --simulation-llm")
	case s.Form != SFT && s.Form != Prompt:
		return fmt.Errorf("simulated search: prompt form %q: unknown: use %s or %s", string(s.Form), SFT, Prompt)
	case s.TopK < 0 || s.MaxTokens < 0 || s.Temperature < 0:
		return errors.New("simulated search: topk, max tokens and temperature must not be negative")
	case s.NoiseRate != nil && !(*s.NoiseRate >= 0 && *s.NoiseRate <= 1):
		return fmt.Errorf("simulated search: noise rate %v: must lie between 0 and 1", *s.NoiseRate)
	}
	return s.Curriculum.Validate()
}

// Name is the name of the engine, or of the form of its prompt.
func (s *Simulated) Name() string { return cmp.Or(s.Engine, string(s.Form)) }

// Search draws the quality, asks the model, removes its thoughts and splits the rest into documents. An answer without
// text is a failure of the simulator; it does not mean that nothing was found.
func (s *Simulated) Search(ctx context.Context, q Query) (Documents, error) {
	d := s.quality(&q)
	topK := cmp.Or(q.TopK, s.TopK, 5)
	// The empty system message keeps a chat template from adding its default system message.
	messages := []Message{{"system", ""}, {"user", Render(s.Form, d.Quality, q, topK)}}
	o := GenerateOptions{MaxTokens: s.MaxTokens, Temperature: s.Temperature}
	if o.MaxTokens == 0 {
		o.MaxTokens = 600
	}
	thinks := false
	for try := range uint64(emptyTries) {
		o.Stream = mix(q.Stream + try)
		g, err := s.Generator.Generate(ctx, messages, o)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return Documents{}, fmt.Errorf("simulating search results for %.80q: %w", q.Query, err)
		}
		text := thought.Without(g.Prefill + g.Text)
		if d.Raw = g.Text; g.Reasoning != "" {
			d.Raw = "<think>\n" + g.Reasoning + "\n</think>\n\n" + g.Text
		}
		thinks = thinks || g.Reasoning != "" || text != g.Text
		d.PromptTokens, d.CompletionTokens = d.PromptTokens+g.PromptTokens, d.CompletionTokens+g.CompletionTokens
		if d.Text = strip(Cut(text, topK)); d.Text != "" {
			d.Docs = Split(d.Text)
			return d, nil
		}
		if o.Temperature == 0 {
			break // greedy sampling would give the same answer again
		}
	}
	if thinks {
		return d,
			fmt.Errorf(
				"simulating search results for %.80q: the model thought and wrote no document within %d tokens: "+
					"raise --simulation-max-tokens, or switch thinking off with --sim-enable-thinking=false", q.Query,
				o.MaxTokens)
	}
	what := "nothing"
	if raw := strip(d.Raw); raw != "" {
		what = fmt.Sprintf("no document, but %q", short(raw, 60))
	}
	return d,
		fmt.Errorf("simulating search results for %.80q: the model wrote %s: is it a simulator, and has it a chat "+
			"template?", q.Query, what)
}

// quality decides between useful and noisy documents, and replaces the golden answers of a query by what its facts say.
func (s *Simulated) quality(q *Query) Documents {
	if q.Facts != nil {
		answer := q.Facts[strings.TrimSpace(q.Query)]
		if answer == "" { // in parquet, every row has the queries of all rows
			q.GoldenAnswers = nil
			return Documents{Quality: Noisy}
		}
		q.GoldenAnswers = []string{answer}
	}
	if q.Quality != "" {
		return Documents{Quality: q.Quality}
	}
	d := Documents{Tau: s.Curriculum.Tau(*q), Draw: Draw(q.Stream)}
	if s.NoiseRate != nil {
		d.Tau = *s.NoiseRate
	}
	d.Quality = Decide(d.Draw, d.Tau)
	return d
}

// Cut keeps the first topK documents of a simulator's output as the reference implementation does: each "\n\n" becomes
// "\n" once, left to right, and the text ends before the first "Doc {topK+1}", wherever that stands (also in "Doc 60"
// and inside a sentence).
func Cut(raw string, topK int) string {
	s := strings.ReplaceAll(raw, "\n\n", "\n")
	s, _, _ = strings.Cut(s, "Doc "+strconv.Itoa(topK+1))
	return s
}

// Split gives the documents of a text whose lines begin with "Doc i:". Text before the first such line is a document,
// and a text without such a line is one document.
func Split(text string) []string {
	docs := []string{}
	var cur []string
	flush := func() {
		if d := strip(strings.Join(cur, "\n")); d != "" {
			docs = append(docs, d)
		}
		cur = nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		if rest, ok := docLine(line); ok {
			flush()
			line = rest
		}
		cur = append(cur, line)
	}
	flush()
	return docs
}

// docLine removes "Doc i:" from the beginning of a line; false if the line does not begin with it.
func docLine(line string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(strings.TrimLeftFunc(line, unicode.IsSpace), "Doc ")
	if !ok {
		return "", false
	}
	num, rest, ok := strings.Cut(rest, ":")
	if _, err := strconv.ParseUint(num, 10, 16); err != nil || !ok {
		return "", false
	}
	return rest, true
}
