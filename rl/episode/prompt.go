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

// Observation wraps what a search returned for the policy to read. Documents are shown as they are, tags and all: actions are read
// from the policy's own tokens only, so escaping would protect nothing and show the policy other text than its engine wrote.
func Observation(documents string) string {
	return openInformation + strip(documents) + closeInformation
}

// observationIDs encodes an observation of at most limit ids (0: no limit) by shortening the documents, never the tags around them.
func observationIDs(tok Tokenizer, documents string, limit int) []int32 {
	documents = strip(documents)
	ids := tok.Encode(Observation(documents))
	if limit <= 0 || len(ids) <= limit {
		return ids
	}
	body := tok.Encode(documents)
	for keep := len(body); keep > 0; {
		// Encoding the shortened text may take more ids than were kept of it, so this may go round again, but always down.
		keep -= max(1, len(ids)-limit)
		if ids = tok.Encode(Observation(head(tok, body, keep))); len(ids) <= limit {
			return ids
		}
	}
	return tok.Encode(Observation(""))
}
