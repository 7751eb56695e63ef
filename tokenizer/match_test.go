package tokenizer

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// piecesOf is what the steps cut text into.
func piecesOf(t testing.TB, steps []step, text string) []string {
	pieces := []string{text}
	for _, s := range steps {
		var next []string
		for _, piece := range pieces {
			if s.find == nil {
				next = append(next, scannerPieces(s.cut, piece)...)
				continue
			}
			parts, err := stretches([]byte(piece), s.find, s.behavior, s.invert)
			require.NoError(t, err)
			for _, p := range parts {
				next = append(next, piece[p.start:p.end])
			}
		}
		pieces = next
	}
	return pieces
}

// Pre-tokenizers of published files and single constructs cut as the tokenizers library does (testdata/patterns.py).
// PATTERNS names another file of such cases.
func TestPatternsAsReference(t *testing.T) {
	loadClasses()
	file := "testdata/patterns.jsonl"
	if other := os.Getenv("PATTERNS"); other != "" {
		file = other
	}
	eachLine(t, file, func(n int, c struct {
		Name         string
		PreTokenizer component `json:"pre_tokenizer"`
		Texts        [][2]any
	}) {
		steps, _, err := buildSteps(c.PreTokenizer)
		require.NoError(t, err, c.Name)
		for _, x := range c.Texts {
			want := []string{}
			for _, piece := range x[1].([]any) {
				want = append(want, piece.(string))
			}
			require.Equal(t, want, append([]string{}, piecesOf(t, steps, x[0].(string))...), "%s: %q", c.Name, x[0])
		}
	})
}

// The scanners and the general engine cut alike.
func TestScannersAreTheirFallback(t *testing.T) {
	loadClasses()
	for pattern, cut := range patterns {
		translated, err := onigToRegexp2(pattern)
		require.NoError(t, err)
		find, err := newFinder("(?:" + pattern + ")") // another pattern to the table
		require.NoError(t, err, translated)
		check := func(t require.TestingT, text string) {
			parts, err := stretches([]byte(text), find, "Isolated", false)
			require.NoError(t, err)
			var got []string
			for _, p := range parts {
				got = append(got, text[p.start:p.end])
			}
			require.Equal(t, scannerPieces(cut, text), got, "%q by %s", text, pattern)
		}
		eachLine(t, "testdata/goldens/smollm2.jsonl", func(_ int, l struct{ Text string }) { check(t, l.Text) })
		rapid.Check(t, func(t *rapid.T) { check(t, interesting().Draw(t, "text")) })
	}
}

// What the two engines may understand differently is refused, with the pattern and what it is about.
func TestUnsupportedPatterns(t *testing.T) {
	defer func(d time.Duration) { probeTime = d }(probeTime)
	probeTime = 300 * time.Millisecond
	for pattern, want := range map[string]string{
		`\X`:                       `\X`,
		`(a)\1`:                    `\1`,
		`\K`:                       `\K`,
		`\R`:                       `\R`,
		`(?<n>a)\k<n>`:             "(?<n",
		`(?x)a`:                    "(?x",
		`(?~a)`:                    "(?~",
		`a(?#c)`:                   "comment",
		`[[:alpha:]]`:              "[: :]",
		`\p{Nope}`:                 `\p{Nope}`,
		`\pL`:                      "without braces",
		`[`:                        "[ without ]",
		`(`:                        "( without )",
		`)`:                        ") without (",
		`*a`:                       "nothing before",
		`a{3,1}`:                   "bounds exchanged",
		`a{5000}`:                  "more than 1000",
		`(?i:ss)`:                  "ss without regard to case",
		`(?i:ß)`:                   "ß",
		`(?i:\p{Lu})`:              `\p{Lu}`,
		`[b-a]`:                    "range",
		`a\`:                       `\ at the end`,
		`\x{zz}`:                   `\xzz`,
		`\xe9`:                     `\xe9`,
		`[\b]`:                     `\b in a class`,
		`[a&&]`:                    "behind &&",
		strings.Repeat("(", 100):   "deep",
		strings.Repeat("[a", 100):  "deep",
		`(?i:[\x{0}-\x{ffff}])`:    "range of more than",
		`(a|aa)+$`:                 "takes too long",
		"\xff":                     "UTF-8",
		strings.Repeat("a", 1<<17): "131072 bytes",
	} {
		text, err := json.Marshal(pattern)
		require.NoError(t, err)
		_, err = Parse(
			[]byte(`{"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":` +
				string(text) + `},"behavior":"Isolated"},{"type":"ByteLevel","use_regex":false}]},` +
				`"decoder":{"type":"ByteLevel"},"model":{"vocab":{"a":0},"merges":[]}}`))
		if pattern == "\xff" {
			_, err = newFinder(pattern)
		}
		require.ErrorContains(t, err, want, pattern)
		require.ErrorContains(t, err, "pattern", pattern)
		if len(pattern) < 50 && pattern != "\xff" {
			require.ErrorContains(t, err, fmt.Sprintf("%q", pattern))
		}
	}
}

// A pattern whose time grows out of proportion ends in an error, not in a hang, also where the probe of short texts
// does not show it.
func TestSlowPattern(t *testing.T) {
	loadClasses()
	defer func(d time.Duration) { patternTime = d }(patternTime)
	patternTime = 300 * time.Millisecond
	find, err := newFinder(`(x|xx)+y`)
	require.NoError(t, err)
	text := []byte(strings.Repeat("x", 4000))
	began := time.Now()
	_, err = stretches(text, find, "Isolated", false)
	var slow *PatternError
	require.ErrorAs(t, err, &slow)
	require.ErrorContains(t, err, "4000 bytes")
	require.Less(t, time.Since(began), time.Minute) // without a limit it would take years
}

// A pattern that is taken is one that regexp2 reads, and it cuts text without losing any.
func FuzzPattern(f *testing.F) {
	loadClasses()
	// Parts of the patterns of real tokenizers: the fuzzer shortens what it keeps byte by byte, so whole ones would
	// take all its time.
	for _, pattern := range []string{`\s+(?!\S)|\s+`, `[^\r\n\p{L}\p{N}]?\p{L}+`, `(?i:'s|'t|'re)|\p{N}{1,3}`,
		` ?[^\s\p{L}]+[\r\n]*`,
		`[一-龥]+|(a)?`, `\d(?=(?:\d{3})+\b)`} {
		f.Add(pattern, "a b2-aé日 \n's")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 40 || len(text) > 40 {
			return
		}
		text = validText(text)
		re, err := compile(pattern)
		if err != nil {
			require.NotContains(t, err.Error(), "cannot be read", "the translation is no pattern")
			return
		}
		re.MatchTimeout = 20 * time.Millisecond
		find := func(text []byte, found func(start, end int)) error { return findAll(re, pattern, text, found) }
		parts, err := stretches([]byte(text), find, "Isolated", false)
		if err != nil {
			return
		}
		all := ""
		for _, p := range parts {
			all += text[p.start:p.end]
		}
		require.Equal(t, text, all)
	})
}
