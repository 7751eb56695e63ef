package commandline

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Completion is what a shell can be told about the values of flags where the parser does not check them.
type Completion struct {
	Words   map[string]string // by flag; those that stand in the flag's help are offered
	Types   map[string]string // by the type in a flag's tag
	Folders []string          // flags that take folders, though their placeholder does not say so
}

// candidate is a word that can stand where the cursor is.
type candidate struct{ word, help string }

// What a shell completes itself, as the last line for its script.
const (
	completeFiles = ":files"
	completeDirs  = ":dirs"
)

// Print writes what can stand for the last of words, a word a line with a tab and its help behind it; then a line for
// the script of the shell, if files or folders fit too.
func (c Completion) Print(out io.Writer, program *kong.Node, words []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	found, rest := c.candidates(program, words[:len(words)-1], words[len(words)-1])
	for _, w := range found {
		fmt.Fprintf(out, "%s\t%s\n", w.word, w.help)
	}
	if rest != "" {
		fmt.Fprintln(out, rest)
	}
}

// candidates are the words that can follow those before and begin with current, and what the shell is to complete
// besides.
func (c Completion) candidates(program *kong.Node, before []string, current string) (found []candidate, rest string) {
	verb, value := Walk(program, before)
	prefix := ""
	switch {
	case value != nil:
		if current == "=" { // bash makes words of --flag, = and value
			current = ""
		}
	case strings.HasPrefix(current, "--") && strings.Contains(current, "="):
		name, typed, _ := strings.Cut(current[2:], "=")
		if value = FlagOf(verb, name); value == nil {
			return nil, ""
		}
		prefix, current = "--"+name+"=", typed
	case strings.HasPrefix(current, "-"):
		found = flagWords(verb)
	case len(verb.Children) > 0:
		found = verbWords(verb)
	case verb.Name == "help":
		found = verbWords(program)
	case len(verb.Positional) > 0 && verb.Positional[0].Enum != "":
		found = bare(verb.Positional[0].EnumSlice())
	case len(verb.Positional) > 0:
		rest = completeFiles
	}
	if value != nil {
		var words []string
		words, rest = c.Values(value)
		found = bare(words)
	}
	var fit []candidate
	for _, w := range found {
		if strings.HasPrefix(w.word, current) {
			fit = append(fit, candidate{prefix + w.word, w.help})
		}
	}
	return fit, rest
}

// bare are words without help.
func bare(words []string) (found []candidate) {
	for _, word := range words {
		found = append(found, candidate{word: word})
	}
	return found
}

// Walk follows words to their verb; value is the flag whose value comes next.
func Walk(program *kong.Node, words []string) (verb *kong.Node, value *kong.Flag) {
	verb = program
	for i, word := range words {
		switch {
		case word == "=" && i > 0 && strings.HasPrefix(words[i-1], "--"):
			value = takesValue(FlagOf(verb, words[i-1][2:]))
		case value != nil:
			value = nil
		case strings.HasPrefix(word, "--") && !strings.Contains(word, "="):
			value = takesValue(FlagOf(verb, word[2:]))
		case strings.HasPrefix(word, "-") && len(word) == 2:
			for _, f := range verb.Flags {
				if f.Short == rune(word[1]) {
					value = takesValue(f)
				}
			}
		default:
			for _, child := range verb.Children {
				if child.Name == word {
					verb = child
					break
				}
			}
		}
	}
	return verb, value
}

// takesValue is f if a word follows it.
func takesValue(f *kong.Flag) *kong.Flag {
	if f == nil || f.IsBool() || f.IsCounter() {
		return nil
	}
	return f
}

// FlagOf is the flag of a verb with this name; nil: it has none.
func FlagOf(verb *kong.Node, name string) *kong.Flag {
	for _, f := range verb.Flags {
		if f.Name == name {
			return f
		}
	}
	return nil
}

func verbWords(node *kong.Node) (found []candidate) {
	for _, child := range node.Children {
		if !child.Hidden {
			found = append(found, candidate{child.Name, firstSentence(child.Help)})
		}
	}
	return found
}

func flagWords(verb *kong.Node) (found []candidate) {
	for _, level := range verb.AllFlags(true) {
		for _, f := range level {
			found = append(found, candidate{"--" + f.Name, firstSentence(f.Help)})
			if f.Tag.Negatable != "" {
				found = append(found, candidate{"--no-" + f.Name, "Not: " + firstSentence(f.Help)})
			}
		}
	}
	return found
}

// Values are the values of a flag, and what the shell is to complete besides.
func (c Completion) Values(f *kong.Flag) (found []string, rest string) {
	words, text := strings.Fields(c.Words[f.Name]), f.Help+f.PlaceHolder
	if f.Enum != "" {
		words, text = f.EnumSlice(), f.Enum
	}
	if known := c.Types[f.Tag.Type]; known != "" {
		words = strings.Fields(known)
	}
	for _, word := range words {
		if word != "" && strings.Contains(text, word) {
			found = append(found, word)
		}
	}
	switch place := f.PlaceHolder; {
	case strings.Contains(place, "FILE"), strings.Contains(place, "PATH"):
		rest = completeFiles
	case strings.Contains(place, "DIR"), slices.Contains(c.Folders, f.Name):
		rest = completeDirs
	}
	return found, rest
}

// firstSentence is the first sentence of a help text.
func firstSentence(help string) string {
	if i := strings.Index(help, ". "); i >= 0 {
		return help[:i]
	}
	return strings.TrimSuffix(help, ".")
}
