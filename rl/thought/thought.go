// Package thought separates the thoughts of a reasoning model from the rest of its output. A thought stands between
// tags: <think> of Qwen3, DeepSeek-R1, QwQ and SmolLM3; <thinking>, <thought> and <reasoning> of prompts and other
// fine-tunings; <seed:think>; [THINK] of Magistral; ◁think▷ of Kimi. Formats without tags (the channels of gpt-oss) are
// not handled here: the servers that run such models separate the thoughts.
package thought

import (
	"regexp"
	"strings"
)

var tags = regexp.MustCompile(`(?i)<(/?)(?:think|thinking|thought|reasoning|seed:think)>|\[(/?)THINK\]|◁(/?)think▷`)

// Tag says whether a token is the opening or the closing tag of a thought.
func Tag(token string) bool { return tags.FindString(token) == token && token != "" }

// closing says whether a match of the expression tags is a closing tag: whether the group of its slash is not empty.
func closing(m []int) bool { return m[2] < m[3] || m[4] < m[5] || m[6] < m[7] }

// Without removes the thoughts from a text. A thought ends at the first closing tag after its opening tag. A closing
// tag without an opening tag ends a thought that was opened in the prompt: all text before it is removed. An opening
// tag without a closing tag begins a thought that was cut off: all text after it is removed.
func Without(text string) string {
	var kept strings.Builder
	from, inside := 0, false
	for _, m := range tags.FindAllStringSubmatchIndex(text, -1) {
		closes := closing(m)
		switch {
		case closes && inside:
			from, inside = m[1], false
		case closes:
			kept.Reset()
			from = m[1]
		case !inside:
			kept.WriteString(text[from:m[0]])
			inside = true
		}
	}
	if !inside {
		kept.WriteString(text[from:])
	}
	return kept.String()
}

// Opened is the opening tag, with the white space after it, at the end of a prompt. A prompt ends with such a tag if
// the chat template opens the model's thought; otherwise Opened is "".
func Opened(prompt string) string {
	all := tags.FindAllStringSubmatchIndex(prompt, -1)
	if len(all) == 0 {
		return ""
	}
	last := all[len(all)-1]
	if closing(last) || strings.TrimSpace(prompt[last[1]:]) != "" {
		return ""
	}
	return prompt[last[0]:]
}
