package eval

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/thought"
)

// Method is a way to answer a question: the search agent, or a baseline that answers in one turn.
type Method string

const (
	// Agent thinks and searches over several turns, as in training.
	Agent Method = "agent"
	// Direct answers at once, without search, from the knowledge in the weights.
	Direct Method = "direct"
	// CoT reasons step by step first (Wei et al. 2022, arXiv 2201.11903).
	CoT Method = "cot"
	// RAG searches once, with the question as the query, and answers with the documents in the prompt (Lewis et al.
	// 2020, arXiv 2005.11401).
	RAG Method = "rag"
)

// Methods lists all methods in the order of tables: baselines first.
func Methods() []Method { return []Method{Direct, CoT, RAG, Agent} }

// ParseMethods gives the methods with these names, without duplicates, in the order of tables; "all" stands for all
// methods, and no name at all for the agent.
func ParseMethods(names []string) ([]Method, error) {
	if len(names) == 0 {
		return []Method{Agent}, nil
	}
	if slices.Contains(names, "all") {
		return Methods(), nil
	}
	var out []Method
	for _, m := range Methods() {
		if slices.Contains(names, string(m)) {
			out = append(out, m)
		}
	}
	for _, n := range names {
		if !slices.Contains(Methods(), Method(n)) {
			return nil, fmt.Errorf("method %q is not known: use direct, cot, rag, agent or all", n)
		}
	}
	return out, nil
}

// Title is a method's name in tables.
func (m Method) Title() string {
	return map[Method]string{Direct: "Direct answer", CoT: "Chain of thought", RAG: "RAG (one retrieval)",
		Agent: "Search agent"}[m]
}

// Baseline says whether a method is a baseline. The agent is none, and neither is "", which stands for the agent.
func (m Method) Baseline() bool { return m != Agent && m != "" }

// Searches says whether a method asks the search engine.
func (m Method) Searches() bool { return m == Agent || m == RAG }

// Prompt is the user message of a method; documents is used by RAG only.
func (m Method) Prompt(question, documents string) string {
	switch m {
	case Direct:
		return "Give a short answer to the question, a few words at most. Write the answer and nothing " +
			"else.\nQuestion: " + question + "\nAnswer:"
	case CoT:
		return "Think about the question step by step. When you are done, write a short answer, a few words at most, " +
			"between <answer> and </answer>.\nQuestion: " + question + "\n"
	case RAG:
		return "Here are documents that a search for the question returned.\n\n" + documents +
			"\n\nGive a short answer to the question, a few words at most. Write the answer and nothing " +
			"else.\nQuestion: " + question + "\nAnswer:"
	}
	return episode.Prompt(question)
}

// answer is the answer of an episode. The agent must put its answer between tags. A baseline may leave the tags out:
// then the answer is the first line of the text, or the last line for a chain of thought. The thoughts of a reasoning
// model are removed first.
func (m Method) answer(e *episode.Episode) (string, bool) {
	answer, ok := e.Answer()
	if ok || m == Agent || len(e.Turns) == 0 || !e.Status.Trained() {
		return answer, ok
	}
	last := e.Turns[len(e.Turns)-1]
	if last.Action != episode.Invalid {
		return "", false
	}
	var lines []string
	for line := range strings.Lines(thought.Without(last.FullText())) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	switch {
	case lines == nil:
		return "", false
	case m == CoT:
		return lines[len(lines)-1], true
	}
	return lines[0], true
}

// Prefix is put before the progress lines of a baseline; it is "" for the agent.
func (m Method) Prefix() string {
	if m.Baseline() {
		return string(m) + ": "
	}
	return ""
}
