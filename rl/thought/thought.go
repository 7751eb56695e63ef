// Package thought tells what a reasoning model thinks from what it says. A thought stands between tags: <think> of
// Qwen3, DeepSeek-R1, QwQ and SmolLM3; <thinking>, <thought> and <reasoning> of prompts and other fine-tunings;
// <seed:think>; [THINK] of Magistral; ◁think▷ of Kimi. Formats without tags (the channels of gpt-oss) are taken apart by the servers
// that run such models.
package thought

import (
	"regexp"
	"strings"
)

var tags = regexp.MustCompile(`(?i)<(/?)(?:think|thinking|thought|reasoning|seed:think)>|\[(/?)THINK\]|◁(/?)think▷`)

// Tag says whether a token is the opening or the closing tag of a thought.
func Tag(token string) bool { return tags.FindString(token) == token && token != "" }

// closing says whether a match of tags has the slash of a closing tag.
func closing(m []int) bool { return m[2] < m[3] || m[4] < m[5] || m[6] < m[7] }

// Without is text less its thoughts. A thought ends at the first closing tag behind its opening one. A closing tag
// without an opening one ends a thought that the prompt began: all before it is gone. An opening tag that nothing
// closes is a thought that was cut off: all behind it is gone.
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

// Opened is the opening tag, with the blanks behind it, that a prompt ends with, as that of a template which begins
// the model's thought does; "" if it does not.
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
