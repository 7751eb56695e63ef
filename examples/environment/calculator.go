// Command environment trains a policy in another environment than a search engine: it may calculate before it answers.
//
//	go run ./examples/environment --model DIR --data sums.jsonl --steps 20
package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/episode"
)

// calculate is the action of a turn that asks the calculator.
const calculate episode.Action = "calculate"

// calculator is an environment in which <calculate>2 + 3</calculate> is answered with <result>5</result>.
type calculator struct{}

// Prompt puts a question to the policy.
func (calculator) Prompt(question string) string {
	return "Answer the question. Write <calculate>A + B</calculate>, with +, - or *, to calculate; the result comes in " +
		"<result></result>. Write <answer>your answer</answer> at the end. Question: " + question
}

// Parse finds the pair of tags that is complete first.
func (calculator) Parse(text string) (action episode.Action, content string, end int) {
	action, end = episode.Invalid, len(text)
	for _, a := range []episode.Action{calculate, episode.Answer} {
		before, rest, opened := strings.Cut(text, "<"+string(a)+">")
		inside, _, closed := strings.Cut(rest, "</"+string(a)+">")
		stop := len(before) + 2*len(a) + len(inside) + len("<></>")
		if opened && closed && (action == episode.Invalid || stop < end) {
			action, content, end = a, strings.TrimSpace(inside), stop
		}
	}
	return action, content, end
}

// Respond calculates.
func (calculator) Respond(_ context.Context, _ episode.Task, _ int, t *episode.Turn) (episode.Reply, episode.Status,
	string) {
	if t.Action != calculate {
		return episode.Reply{Open: "\nWrite <calculate></calculate> or <answer></answer>.\n"}, "", ""
	}
	return episode.Reply{Open: "\n<result>", Body: evaluate(t.Content), Close: "</result>\n"}, "", ""
}

// Trained leaves turns without an action out: only what the policy did right or wrong with its tools is learned from.
func (calculator) Trained(t *episode.Turn) bool { return t.Action != episode.Invalid }

// evaluate is the value of A + B, A - B or A * B, or says what is wrong.
func evaluate(text string) string {
	words := strings.Fields(text)
	if len(words) != 3 {
		return "write A + B"
	}
	a, err := strconv.Atoi(words[0])
	b, err2 := strconv.Atoi(words[2])
	if err != nil || err2 != nil {
		return "only whole numbers"
	}
	switch words[1] {
	case "+":
		return strconv.Itoa(a + b)
	case "-":
		return strconv.Itoa(a - b)
	case "*":
		return strconv.Itoa(a * b)
	}
	return "only +, - and *"
}
