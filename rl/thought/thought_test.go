package thought_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/thought"
)

func TestWithout(t *testing.T) {
	for _, x := range []struct{ name, text, want string }{
		{"nothing thought", "Doc 1: a\n\nDoc 2: b", "Doc 1: a\n\nDoc 2: b"},
		{"a thought first", "<think>\nDoc 1: no\n</think>\n\nDoc 1: a", "\n\nDoc 1: a"},
		{"an empty thought, as non-thinking models write it", "<think>\n\n</think>\n\nDoc 1: a", "\n\nDoc 1: a"},
		{"several", "<think>x</think>Doc 1: a\n<think>y</think>Doc 2: b", "Doc 1: a\nDoc 2: b"},
		{"begun by the prompt", "the answer is Paris\n</think>\n\nDoc 1: a", "\n\nDoc 1: a"},
		{"begun by the prompt, and another", "x</think>Doc 1: a<think>y</think> b", "Doc 1: a b"},
		{"cut off", "<think>\nDoc 1: no", ""},
		{"text, then a thought that is cut off", "Doc 1: a\n<think>hm", "Doc 1: a\n"},
		{"the opening tag named in a thought", "<think>the tag <think> is Paris</think>Doc 1: a", "Doc 1: a"},
		{"the closing tag named in a thought", "<think>close it with </think>. Paris.</think>Doc 1: a", "Doc 1: a"},
		{"a thought in a thought", "<think>a<think>b</think>c</think>Doc 1: a", "Doc 1: a"},
		{"other names",
			"<thinking>x</thinking><thought>y</thought><reasoning>z</reasoning><seed:think>u</seed:think>[THINK]v[/THINK]Doc 1: a", "Doc 1: a"},
		{"Kimi's", "◁think▷x◁/think▷Doc 1: a", "Doc 1: a"},
		{"capitals", "<THINK>x</Think>Doc 1: a", "Doc 1: a"},
		{"closed by another name", "<think>x</thinking>Doc 1: a", "Doc 1: a"},
		{"no tags", "<thinks>x</thinks> a < think> think>", "<thinks>x</thinks> a < think> think>"},
		{"nothing", "", ""},
		{"no thought at all", "</think>", ""},
	} {
		require.Equal(t, x.want, thought.Without(x.text), x.name)
	}
}

func TestOpened(t *testing.T) {
	for prompt, want := range map[string]string{
		"<|im_start|>assistant\n<think>\n":                   "<think>\n",
		"assistant[THINK]":                                   "[THINK]",
		"use <think> and </think>\nassistant\n":              "",
		"assistant\n<think>\n\n</think>\n\n":                 "",
		"use <think> first\nassistant\n":                     "",
		"between <think> and </think>.\nassistant\n<think> ": "<think> ",
		"": "",
	} {
		require.Equal(t, want, thought.Opened(prompt), "%q", prompt)
	}
}

func TestTag(t *testing.T) {
	for _, s := range []string{"<think>", "</think>", "[/THINK]", "<seed:think>"} {
		require.True(t, thought.Tag(s), s)
	}
	for _, s := range []string{"", "think", "<think> ", "<|im_end|>", "<search>"} {
		require.False(t, thought.Tag(s), s)
	}
}
