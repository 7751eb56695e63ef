package episode

import (
	_ "embed"
	"strings"
)

// The two texts are ZeroSearch's own (Apache-2.0, prompts/LICENSE), byte for byte.
var (
	//go:embed prompts/policy.txt
	policyPrompt string
	//go:embed prompts/invalid_action.txt
	invalidAction string
)

// Prompt is the user message that asks the policy a question. A question without a question mark at its end gets one.
func Prompt(question string) string {
	if !strings.HasSuffix(question, "?") {
		question += "?"
	}
	return strings.Replace(policyPrompt, "{question}", question, 1)
}

// InvalidAction is the environment's reply to a turn without an action. It is written in the first person, as if the
// policy had written it.
func InvalidAction() string { return invalidAction }

const (
	openInformation  = "\n\n<information>"
	closeInformation = "</information>\n\n"
)

// Observation puts the documents of a search between <information> and </information>. Tags inside documents are not
// escaped: actions are read only from the policy's own tokens, so such tags are harmless, and escaping would change the
// text of the documents.
func Observation(documents string) string {
	return Reply{Open: openInformation, Body: documents, Close: closeInformation}.String()
}
