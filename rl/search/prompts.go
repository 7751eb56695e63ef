package search

import (
	"embed"
	"strconv"
	"strings"
)

// The sentences in prompts/ are ZeroSearch's own (Apache-2.0, prompts/LICENSE), byte for byte, the trailing space of
// one of them included: simulators were fine-tuned on them.
//
//go:embed prompts/*.txt
var promptFiles embed.FS

// Form is a family of simulator prompts.
type Form string

const (
	// SFT is for a simulator that was fine-tuned for this task.
	SFT Form = "simulate_sft"
	// Prompt contains a demonstration, for a model that was not fine-tuned.
	Prompt Form = "simulate_prompt"
)

var templates = func() map[string]string {
	m := map[string]string{}
	for _, form := range []Form{SFT, Prompt} {
		for _, q := range []Quality{Useful, Noisy} {
			name := string(form) + "_" + string(q)
			b, err := promptFiles.ReadFile("prompts/" + name + ".txt")
			if err != nil {
				panic(err)
			}
			m[name] = string(b)
		}
	}
	return m
}()

var numerals = []string{"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}

// Render gives the user message for a query. {answer} becomes the first golden answer. Without golden answers the words
// about the answer are left out, as when a person asks. Without a question the query takes its place. Each placeholder
// is replaced once and inserted texts are not searched for placeholders, so braces inside them stay. A topK other than
// five changes the number of documents in the prompt.
func Render(form Form, quality Quality, q Query, topK int) string {
	t := templates[string(form)+"_"+string(quality)]
	if len(q.GoldenAnswers) == 0 {
		t = strings.Replace(t, " whose answer is {answer}", "", 1)
	}
	if topK != 5 && topK > 0 {
		word := strconv.Itoa(topK)
		if topK < len(numerals) {
			word = numerals[topK]
		}
		// The first "five" is in the instruction, before the demonstration and the inserted texts.
		t = strings.Replace(t, "generate five", "generate "+word, 1)
	}
	question, answer := q.Question, ""
	if question == "" {
		question = q.Query
	}
	if len(q.GoldenAnswers) > 0 {
		answer = q.GoldenAnswers[0]
	}
	return strings.NewReplacer("{question}", question, "{answer}", answer, "{query}", q.Query).Replace(t)
}
