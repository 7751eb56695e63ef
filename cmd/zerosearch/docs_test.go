package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/commandline"
)

// TestCommandsOfDocs parses every command line of zerosearch in the documentation, the recipes and the shell scripts,
// without running it: no page shows a verb or a flag that does not exist.
func TestCommandsOfDocs(t *testing.T) {
	var files []string
	for _, pattern := range []string{"README.md", "CONTRIBUTING.md", "docs/*.md", "recipes/*.yaml", "scripts/*.sh",
		"examples/*/*.sh"} {
		found, err := filepath.Glob(filepath.Join("../..", pattern))
		require.NoError(t, err)
		files = append(files, found...)
	}
	line, commands := newCommandLine(t), 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		code, spans := codeOf(filepath.Ext(file), string(text))
		for _, text := range code {
			for _, args := range commandsIn(text) {
				commands++
				// no value is wrong that a variable holds
				if err := line.parse(args); err != nil && !strings.Contains(err.Error(), `"$`) {
					t.Errorf("%s: zerosearch %s: %v", file, strings.Join(args, " "), err)
				}
			}
		}
		for _, span := range spans {
			if err := line.checkSpan(span); err != nil {
				t.Errorf("%s: `%s`: %v", file, span, err)
			}
		}
	}
	require.Greater(t, commands, 60, "the commands of README.md and docs were not found")
}

// codeOf returns the lines of code in a file, continued lines joined, and, of Markdown, the texts between single
// backquotes. In Markdown code is what stands in a fenced block or behind four blanks, in a comment of YAML a line that
// begins with zerosearch, in a shell script every line.
func codeOf(ext, text string) (lines, spans []string) {
	text = regexp.MustCompile(`\\\n[ #]*`).ReplaceAllString(text, " ")
	var prose strings.Builder
	fenced := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case ext == ".sh":
			lines = append(lines, line)
		case ext == ".yaml":
			comment, ok := strings.CutPrefix(line, "#")
			if comment = strings.TrimSpace(comment); ok && strings.HasPrefix(comment, "zerosearch ") {
				lines = append(lines, comment)
			} else if ok {
				prose.WriteString(comment + " ")
			}
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case fenced, strings.HasPrefix(line, "    "):
			lines = append(lines, strings.TrimPrefix(strings.TrimSpace(line), "$ "))
		default:
			prose.WriteString(line + " ")
		}
	}
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(prose.String(), -1) {
		spans = append(spans, m[1])
	}
	return lines, spans
}

// commandsIn returns the arguments of each call of zerosearch in a shell line. What stands for others (train ... --out
// DIR) is left out.
func commandsIn(line string) (calls [][]string) {
	names := []string{"zerosearch", "./cmd/zerosearch", "$here/zerosearch", "$zs"}
	for _, words := range shellWords(line) {
		i := slices.IndexFunc(words, func(w string) bool { return slices.Contains(names, w) })
		notRun := []string{"-x", "-o", "test"} // test -x FILE, go build -o FILE, go test FOLDER
		if i < 0 || i+1 == len(words) || i > 0 && slices.Contains(notRun, words[i-1]) {
			continue
		}
		var args []string
		for j, w := range words[i+1:] {
			if w != "..." || strings.HasPrefix(words[i+j], "--") {
				args = append(args, w)
			}
		}
		calls = append(calls, args)
	}
	return calls
}

// shellWords splits a line into commands, and these into words, as a shell does: quotes, comments, pipes and lists of
// commands. A redirection and the file behind it are left out.
func shellWords(line string) (commands [][]string) {
	var words []string
	var word strings.Builder
	var quote rune
	in, redirected := false, false
	endWord := func() {
		if in && !redirected {
			words = append(words, word.String())
		}
		if in {
			redirected = false
		}
		in = false
		word.Reset()
	}
	endCommand := func() {
		if endWord(); len(words) > 0 {
			commands = append(commands, words)
		}
		words, redirected = nil, false
	}
	for _, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, in = r, true
		case r == ' ':
			endWord()
		case r == '#' && !in:
			endCommand()
			return commands
		case r == '|' || r == ';' || r == '&' && !redirected:
			endCommand()
		case r == '<' || r == '>':
			if in && (word.String() == "1" || word.String() == "2") {
				word.Reset()
				in = false
			}
			endWord()
			redirected = true
		default:
			word.WriteRune(r)
			in = true
		}
	}
	endCommand()
	return commands
}

// commandLine is the program's command line, to try arguments on.
type commandLine struct {
	t      *testing.T
	parser *kong.Kong
	verbs  []string // the first words
	flags  []string // of all verbs
}

func newCommandLine(t *testing.T) *commandLine {
	parser, err := newParser(&bytes.Buffer{}, &bytes.Buffer{})
	require.NoError(t, err)
	l := &commandLine{t: t, parser: parser}
	for _, leaf := range parser.Model.Leaves(true) {
		l.verbs = append(l.verbs, strings.Fields(leaf.Path())[0])
		for _, group := range leaf.AllFlags(true) {
			for _, f := range group {
				l.flags = append(l.flags, f.Name, "no-"+f.Name, f.Tag.Negatable)
			}
		}
	}
	return l
}

// parse says what is wrong with the arguments of zerosearch.
func (l *commandLine) parse(args []string) error {
	args = scriptNames(commandline.HelpArgs(args))
	if slices.Contains(args, "--help") { // it would end the program
		args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--help" })
		if _, err := kong.Trace(l.parser, args); err != nil {
			return err
		}
		if len(args) == 0 || !slices.Contains(l.verbs, args[0]) {
			return fmt.Errorf("no verb is called so")
		}
		return nil
	}
	_, err := l.parser.Parse(args)
	return err
}

// otherPrograms are flags that the documentation names of other programs: docker, zerosearch-gputest, llama-server.
var otherPrograms = []string{"gpus", "quick", "no-cache-prompt"}

// checkSpan looks at a text between backquotes in a sentence: a command, with the name of the program or without, or a
// flag. A command may leave out arguments and the value of its last flag, N or K may stand for a number, and VERB for a
// verb.
func (l *commandLine) checkSpan(span string) error {
	commands := shellWords(span)
	if len(commands) == 0 {
		return nil
	}
	words := commands[0]
	if name, ok := strings.CutPrefix(words[0], "--"); ok {
		name, _, _ = strings.Cut(name, "=")
		if strings.HasSuffix(name, "*") || slices.Contains(otherPrograms, name) || slices.Contains(l.flags, name) {
			return nil
		}
		return fmt.Errorf("no verb has this flag")
	}
	isFlag := func(w string) bool { return strings.HasPrefix(w, "--") }
	if slices.Contains(l.verbs, words[0]) && slices.ContainsFunc(words, isFlag) {
		words = append([]string{"zerosearch"}, words...)
	}
	for i, w := range words {
		if stands, ok := map[string]string{"N": "1", "K": "1", "VERB": "train"}[w]; ok {
			words[i] = stands
		}
	}
	for _, args := range commandsIn(strings.Join(words, " ")) {
		err := l.parse(args)
		if err != nil && !strings.HasPrefix(err.Error(), "expected ") && !strings.Contains(err.Error(), "<EOL>") {
			return err
		}
	}
	return nil
}
