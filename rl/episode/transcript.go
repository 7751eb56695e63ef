package episode

import (
	"fmt"
	"strings"
	"unicode"
)

// LineKind says where a line of a transcript comes from.
type LineKind int

// The kinds of lines.
const (
	QuestionLine    LineKind = iota
	PolicyLine               // text that the policy wrote
	EnvironmentLine          // text of the environment: a document, or another observation
	OutcomeLine              // status, reward and golden answers
)

// TranscriptLine is one line of a readable transcript.
type TranscriptLine struct {
	Kind LineKind
	Text string
}

// Transcript gives the episode as readable lines. Control characters are removed, because a document could use them to
// control the terminal.
func (e *Episode) Transcript() (out []TranscriptLine) {
	add := func(kind LineKind, text string) {
		for line := range strings.Lines(strings.TrimSpace(text)) {
			if line = strings.TrimRight(Printable(line), " "); line != "" {
				out = append(out, TranscriptLine{kind, line})
			}
		}
	}
	add(QuestionLine, e.Question)
	for _, t := range e.Turns {
		add(PolicyLine, t.FullText())
		if t.Action == Search && len(t.Documents) > 0 {
			for i, d := range t.Documents {
				add(EnvironmentLine, fmt.Sprintf("Doc %d: %s", i+1, d))
			}
			if t.Quality != "" {
				add(EnvironmentLine, fmt.Sprintf("(%s results, tau %.2f)", t.Quality, t.Tau))
			}
			continue
		}
		add(EnvironmentLine, t.Observation)
	}
	add(OutcomeLine, fmt.Sprintf("%s, reward %.3g, wanted: %s", strings.ReplaceAll(string(e.Status), "_", " "),
		e.Reward,
		strings.Join(e.GoldenAnswers, " | ")))
	return out
}

// Printable removes control characters, and turns tabs into blanks.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}
