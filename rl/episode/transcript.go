package episode

import (
	"fmt"
	"strings"
	"unicode"
)

// LineKind says whose a line of a transcript is.
type LineKind int

// The kinds of lines.
const (
	Asked  LineKind = iota // the question
	Said                   // by the policy
	Shown                  // to the policy: a document, or what else the environment said
	Judged                 // how it ended, what it earned, the answer wanted
)

// TranscriptLine is a line of an episode for people.
type TranscriptLine struct {
	Kind LineKind
	Text string
}

// Transcript tells the episode in lines. Control characters, which a document may carry to play with a terminal, are gone.
func (e *Episode) Transcript() (out []TranscriptLine) {
	add := func(kind LineKind, text string) {
		for line := range strings.Lines(strings.TrimSpace(text)) {
			if line = strings.TrimRight(printable(line), " "); line != "" {
				out = append(out, TranscriptLine{kind, line})
			}
		}
	}
	add(Asked, e.Question)
	for _, t := range e.Turns {
		add(Said, t.Whole())
		if t.Action == Search && len(t.Documents) > 0 {
			for i, d := range t.Documents {
				add(Shown, fmt.Sprintf("Doc %d: %s", i+1, d))
			}
			if t.Quality != "" {
				add(Shown, fmt.Sprintf("(%s results, tau %.2f)", t.Quality, t.Tau))
			}
			continue
		}
		add(Shown, t.Observation)
	}
	add(Judged, fmt.Sprintf("%s, reward %.3g, wanted: %s", strings.ReplaceAll(string(e.Status), "_", " "), e.Reward, strings.Join(e.GoldenAnswers, " | ")))
	return out
}

// printable keeps what shows.
func printable(s string) string {
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
