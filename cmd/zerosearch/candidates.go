package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// candidate is a word that can stand where the cursor is.
type candidate struct{ word, help string }

// What a shell completes itself, as the last line for its script.
const (
	completeFiles = ":files"
	completeDirs  = ":dirs"
)

// flagValues are the words that flags take where the parser does not check them. A flag has those that stand in its
// help.
var flagValues = map[string]string{
	"algo":       "grpo dr_grpo dapo gspo cispo sapo rloo opo gpg reinforce reinforce++ reinforce++-baseline ppo",
	"curriculum": "zerosearch linear constant adaptive", "critic-train": "all lora head",
	"dtype": "f32 bf16 q8", "kv-dtype": "f32 bf16", "ref-dtype": "f32 bf16 q8", "sim-dtype": "f32 bf16 q8",
	"kl-in": "loss reward", "kl-type": "k1 k2 k3 abs",
	"loss-agg-mode": "token-mean seq-mean-token-sum seq-mean-token-mean seq-mean-token-sum-limit " +
		"seq-mean-token-sum-norm",
	"lora-targets": "all-linear", "lr-schedule": "constant linear cosine", "method": "agent direct cot rag all",
	"rollout-is": "token off", "reference": "frozen adapters-off none", "remote-prompt": "simulate_prompt simulate_sft",
	"resume":         "auto",
	"reward":         "f1 em sub_em format shuffled constant",
	"search-mode":    "simulate_prompt simulate_sft remote google wiki bm25 replay none",
	"simulation-llm": "same policy",
}

// complete prints what can stand for the last word, a word a line with a tab and its help behind it.
func complete(out io.Writer, program *kong.Node, words []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	found, rest := candidates(program, words[:len(words)-1], words[len(words)-1])
	for _, c := range found {
		fmt.Fprintf(out, "%s\t%s\n", c.word, c.help)
	}
	if rest != "" {
		fmt.Fprintln(out, rest)
	}
}

// candidates are the words that can follow those before and begin with current, and what the shell is to complete
// besides.
func candidates(program *kong.Node, before []string, current string) (found []candidate, rest string) {
	verb, value := walk(program, before)
	prefix := ""
	switch {
	case value != nil:
		if current == "=" { // bash makes words of --flag, = and value
			current = ""
		}
	case strings.HasPrefix(current, "--") && strings.Contains(current, "="):
		name, typed, _ := strings.Cut(current[2:], "=")
		if value = flagOf(verb, name); value == nil {
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
		for _, word := range verb.Positional[0].EnumSlice() {
			found = append(found, candidate{word: word})
		}
	case len(verb.Positional) > 0:
		rest = completeFiles
	}
	if value != nil {
		found, rest = valueWords(value)
	}
	var fit []candidate
	for _, c := range found {
		if strings.HasPrefix(c.word, current) {
			fit = append(fit, candidate{prefix + c.word, c.help})
		}
	}
	return fit, rest
}

// walk follows words to their verb; value is the flag whose value comes next.
func walk(program *kong.Node, words []string) (verb *kong.Node, value *kong.Flag) {
	verb = program
	for i, word := range words {
		switch {
		case word == "=" && i > 0 && strings.HasPrefix(words[i-1], "--"):
			value = takesValue(flagOf(verb, words[i-1][2:]))
		case value != nil:
			value = nil
		case strings.HasPrefix(word, "--") && !strings.Contains(word, "="):
			value = takesValue(flagOf(verb, word[2:]))
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

func flagOf(verb *kong.Node, name string) *kong.Flag {
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

// valueWords are the values of a flag, and what the shell is to complete besides.
func valueWords(f *kong.Flag) (found []candidate, rest string) {
	words, text := strings.Fields(flagValues[f.Name]), f.Help+f.PlaceHolder
	if f.Enum != "" {
		words, text = f.EnumSlice(), f.Enum
	}
	if f.Tag.Type == "device" {
		words = []string{"auto", "cpu", "cuda", "ref"}
	}
	for _, word := range words {
		if word != "" && strings.Contains(text, word) {
			found = append(found, candidate{word: word})
		}
	}
	switch place := f.PlaceHolder; {
	case strings.Contains(place, "FILE"), strings.Contains(place, "PATH"):
		rest = completeFiles
	case strings.Contains(place, "DIR"), f.Name == "simulation-llm":
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
