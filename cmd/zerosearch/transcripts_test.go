package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pagesWithTranscripts are README.md and the pages of docs.
func pagesWithTranscripts(t *testing.T) []string {
	pages, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	return append(pages, "../../README.md")
}

// transcriptBlock is a fenced block behind the comment that names its part of a script.
var transcriptBlock = regexp.MustCompile("(?m)(^<!-- transcript: (\\S+) -->\n+```\\w*\n)((?:.*\n)*?)(```\n)")

// TestTranscripts compares the transcripts in the documentation with the scripts. In a script, a line "# transcript:
// NAME" begins a part, which an empty line or another such line ends. A page shows it in a fenced block behind the line
// <!-- transcript: NAME -->, where a line "..." stands for any number of lines. Go test -update writes the blocks.
func TestTranscripts(t *testing.T) {
	parts := transcriptParts(t)
	shown := map[string]bool{}
	for _, page := range pagesWithTranscripts(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		require.Equal(t, strings.Count(string(text), "<!-- transcript:"), len(transcriptBlock.FindAll(text, -1)),
			"%s: a fenced block must follow each line <!-- transcript: NAME -->", page)
		got := transcriptBlock.ReplaceAllStringFunc(string(text), func(block string) string {
			m := transcriptBlock.FindStringSubmatch(block)
			part, ok := parts[m[2]]
			if !ok {
				t.Errorf("%s: no script has the line \"# transcript: %s\"", page, m[2])
				return block
			}
			shown[m[2]] = true
			want := strings.Join(withGaps(strings.Split(strings.TrimSuffix(m[3], "\n"), "\n"), part), "\n") + "\n"
			if !*update {
				assert.Equal(t, want, m[3],
					"%s: the script of %s prints something else: go test ./cmd/zerosearch -run TestTranscripts -update",
					page, m[2])
			}
			return m[1] + want + m[4]
		})
		if *update {
			require.NoError(t, os.WriteFile(page, []byte(got), 0o644))
		}
	}
	for name := range parts {
		require.True(t, shown[name], "no page shows the transcript %s", name)
	}
}

// transcriptParts are the parts of all scripts by name, each as a reader sees it.
func transcriptParts(t *testing.T) map[string][]string {
	files, err := filepath.Glob("testdata/script/*.txt")
	require.NoError(t, err)
	parts := map[string][]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		name := ""
		var part []string
		for _, line := range append(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), "") {
			next, begins := strings.CutPrefix(line, "# transcript: ")
			if (begins || line == "") && name != "" {
				require.NotContains(t, parts, name, "two parts of scripts have this name")
				parts[name] = asShown(part)
				name, part = "", nil
			}
			if begins {
				name = next
			} else if name != "" {
				part = append(part, line)
			}
		}
	}
	return parts
}

// asShown is a part of a script as it looks on a terminal: a file that is written is shown by cat, standard input
// stands behind the command up to END. Comments and exit codes are left out.
func asShown(part []string) (out []string) {
	unmarked := func(line string) string { return strings.TrimPrefix(line[1:], " ") }
	for i := 0; i < len(part); i++ {
		switch kind(part[i]) {
		case '>', '!':
			out = append(out, unmarked(part[i]))
		case '$':
			command := unmarked(part[i])
			var stdin []string
			for ; i+1 < len(part) && kind(part[i+1]) == '<'; i++ {
				stdin = append(stdin, unmarked(part[i+1]))
			}
			switch name, rest, _ := strings.Cut(command, " "); {
			case name == "write":
				command = "cat " + rest
			case name == "same":
				command = "cmp " + rest
			case stdin != nil:
				command, stdin = command+" <<END", append(stdin, "END")
			}
			out = append(append(out, "$ "+command), stdin...)
		}
	}
	return out
}

// withGaps is a transcript with the gaps (...) of the block that shows it. A gap lasts from the line before it to the
// line behind it; where one of these is no longer printed, there is no gap.
func withGaps(block, whole []string) (out []string) {
	if !slices.Contains(block, "...") {
		return whole
	}
	at := 0 // whole[:at] is dealt with
	for i, line := range block {
		if line != "..." {
			continue
		}
		from, to := at, len(whole)
		if i > 0 {
			if from = index(whole, block[i-1], at) + 1; from == 0 {
				continue
			}
		}
		if i+1 < len(block) {
			if to = index(whole, block[i+1], from); to < 0 {
				continue
			}
		}
		out = append(append(out, whole[at:from]...), "...")
		at = to
	}
	return append(out, whole[at:]...)
}

// index is the place of a line in lines from a place on, or -1. It is the same line with other numbers, too.
func index(lines []string, line string, from int) int {
	numbers := regexp.MustCompile("[0-9.]+")
	form := func(line string) string { return numbers.ReplaceAllString(line, "0") }
	i := slices.IndexFunc(lines[from:], func(l string) bool { return form(l) == form(line) })
	if i < 0 {
		return -1
	}
	return from + i
}

// A gap stays where the lines around it are printed, whatever changes elsewhere.
func TestGapsOfTranscripts(t *testing.T) {
	lines := strings.Fields
	for _, c := range []struct{ block, whole, want string }{
		{"a b c", "a x c", "a x c"},
		{"a ... c", "a x c", "a ... c"},
		{"a ... c", "a x c d", "a ... c d"},
		{"a ... c", "a x d", "a x d"},
		{"a1 ... c=2.5", "a2 x c=3", "a2 ... c=3"},
		{"... c", "a x c", "... c"},
		{"a ...", "a x c", "a ..."},
		{"a ... c d ... f", "a b c d e f", "a ... c d ... f"},
		{"a ... c ... e", "a b c d e", "a ... c ... e"},
		{"a ... a ... a", "a b a b a c", "a ... a ... a c"},
	} {
		require.Equal(t, lines(c.want), withGaps(lines(c.block), lines(c.whole)), c.block)
	}
}

// A block that shows what zerosearch printed is compared with a script, or the paragraph before or behind it says on
// which machine it was "recorded on", when, and with which version.
func TestTranscriptsAreComparedOrRecorded(t *testing.T) {
	for _, page := range pagesWithTranscripts(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		paragraphs := paragraphsOf(string(text))
		for i, p := range paragraphs {
			if !printed(p) {
				continue
			}
			around := strings.Join(paragraphs[max(0, i-1):min(len(paragraphs), i+2)], "\n")
			if !strings.Contains(around, "<!-- transcript: ") &&
				!strings.Contains(strings.ToLower(around), "recorded on ") {
				t.Errorf("%s: nothing says what makes this transcript:\n%s", page, p)
			}
		}
	}
}

// paragraphsOf splits Markdown at empty lines, outside of fenced blocks and of blocks behind four blanks.
func paragraphsOf(text string) (out []string) {
	fenced, ended := false, true
	for line := range strings.Lines(text) {
		code := strings.HasPrefix(line, "    ")
		switch {
		case strings.TrimSpace(line) == "" && !fenced:
			ended = true
			continue
		case ended && !(code && len(out) > 0 && strings.HasPrefix(out[len(out)-1], "    ")):
			out = append(out, "")
		}
		if ended = false; strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		out[len(out)-1] += line
	}
	return out
}

// printed says whether a paragraph is code with commands of zerosearch at a prompt and something that they printed.
func printed(paragraph string) bool {
	if !strings.HasPrefix(paragraph, "    ") && !strings.Contains(paragraph, "```") {
		return false
	}
	text := strings.ReplaceAll(paragraph, "\\\n", " ")
	prompts, outputs := 0, 0
	for line := range strings.Lines(text) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "$ ") && strings.Contains(line, "zerosearch"):
			prompts++
		case line != "" && !strings.HasPrefix(line, "$ ") && !strings.HasPrefix(line, "```") &&
			!strings.HasPrefix(line, "<!--"):
			outputs++
		}
	}
	return prompts > 0 && outputs > 0
}
