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

// Prompt is the user message that puts a question to the policy. A question mark is added to a question without one.
func Prompt(question string) string {
	if !strings.HasSuffix(question, "?") {
		question += "?"
	}
	return strings.Replace(policyPrompt, "{question}", question, 1)
}

// InvalidAction is what the environment says after a turn without an action, in the policy's voice.
func InvalidAction() string { return invalidAction }

const (
	openInformation  = "\n\n<information>"
	closeInformation = "</information>\n\n"
)

// Observation wraps what a search returned for the policy to read. Documents are shown as they are, tags and all:
// actions are read from the policy's own tokens only, so escaping would protect nothing and show the policy other text
// than its engine wrote.
func Observation(documents string) string {
	return Reply{Open: openInformation, Body: documents, Close: closeInformation}.String()
}
