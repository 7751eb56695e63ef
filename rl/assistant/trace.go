package assistant

import (
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/eval"
)

// Trace splits what the model writes into thoughts and answer while it is written. Its Watch belongs into an Assistant.
// A program that shows thoughts, searches and answer apart uses it; View shows them as lines.
type Trace struct {
	// Thought is called with what is new of the thoughts; those of two turns have a blank line between them. Answer is
	// called with what is new of the answer.
	Thought, Answer func(text string)
	// Style is that of the answer. Whole gives a short answer of the search agent only when it is complete: one that is
	// not is no answer, and with Auto another method follows.
	Style Style
	Whole bool
	// Begin, Searching and Searched are those of Watch.
	Begin     func(m eval.Method, again bool)
	Searching func(turn int, query string)
	Searched  func(turn int, query string, documents []string)

	method    eval.Method
	writing   bool     // a long text
	documents []string // of the long text
	source    string   // of what is given of the long text
	thought   string   // given, of the present turn
	thoughts  bool     // an earlier turn has a thought
	answer    string   // given
}

// Watch has the functions that an Assistant calls.
func (t *Trace) Watch() Watch {
	return Watch{Begin: t.begin, Text: t.text, Searching: t.Searching, Searched: t.Searched, Write: t.write}
}

func (t *Trace) begin(m eval.Method, again bool) {
	t.method, t.writing = m, false
	t.Begin(m, again)
}

func (t *Trace) write(documents []string) { t.writing, t.documents, t.source = true, documents, "" }

// text gives what is new of the present turn.
func (t *Trace) text(text string, final bool) {
	if t.think(thoughtOf(text, final)); final {
		t.thoughts, t.thought = t.thoughts || t.thought != "", ""
	}
	switch {
	case t.writing:
		t.give(t.long(text, final))
	case t.Style != Short: // what the agent has found, a text is written from
	case t.method == eval.Agent:
		t.give(answerOf(text, t.Whole))
	case final:
		t.give(firstLine(visible(text)))
	}
}

// think gives what is new of the present turn's thought.
func (t *Trace) think(thought string) {
	fresh, ok := strings.CutPrefix(thought, t.thought)
	if !ok || fresh == "" {
		return
	}
	if t.thought == "" && t.thoughts {
		fresh = "\n\n" + fresh
	}
	t.thought = thought
	t.Thought(fresh)
}

// give gives what is new of the answer.
func (t *Trace) give(answer string) {
	if fresh, ok := strings.CutPrefix(answer, t.answer); ok && fresh != "" {
		t.answer = answer
		t.Answer(fresh)
	}
}

// Finish gives the rest of the answer. Where the model wrote something that looked like the answer and was not, the
// answer follows after a blank line.
func (t *Trace) Finish(out Answer) {
	if out.Answer == nil {
		return
	}
	if !strings.HasPrefix(*out.Answer, t.answer) {
		t.Answer("\n\n")
		t.answer = ""
	}
	t.give(*out.Answer)
}

// long is the finished sentences of a text, with the numbers of their documents.
func (t *Trace) long(text string, final bool) string {
	marked, same := markFinished(&t.source, text, final, t.documents)
	if same {
		return t.answer
	}
	return marked
}

// markFinished gives the finished sentences of a text with the numbers of their documents. same says that they are
// source, those of the last call, and are not marked again: most tokens end no sentence.
func markFinished(source *string, text string, final bool, documents []string) (marked string, same bool) {
	text = finished(text, final)
	if text == *source {
		return "", true
	}
	*source = text
	marked, _, _ = mark(text, documents)
	return marked, false
}

// finished are the complete sentences of a text without thoughts and tags.
func finished(text string, final bool) string {
	if !final {
		text = settled(text)
	}
	text = strings.TrimLeft(visible(text), " \r\n\t")
	if final {
		return strings.TrimSpace(text)
	}
	if all := sentences(text); len(all) > 0 {
		last := all[len(all)-1]
		text = strings.TrimSuffix(text, last.text+last.end)
	}
	return text
}

// thoughtOf is what is certain of the first thought in the text of a turn.
func thoughtOf(text string, final bool) string {
	_, text, ok := strings.Cut(text, "<think>")
	if !ok {
		return ""
	}
	thought, _, closed := strings.Cut(text, "</think>")
	if !closed && !final {
		thought = settled(thought)
	}
	return strings.TrimSpace(thought)
}

// answerOf is what is certain of the answer in the text of a turn of the search agent. Until its tag is closed the turn
// may still become another action; whole: it must be closed.
func answerOf(text string, whole bool) string {
	switch action, content, _ := episode.Parse(text); action {
	case episode.Answer:
		return content
	case episode.Search:
		return ""
	}
	_, text, ok := strings.Cut(text, "<answer>")
	if !ok || whole || strings.Contains(text, "<search>") {
		return ""
	}
	return strings.TrimSpace(settled(text))
}

// firstLine is the first line of a text that is not empty.
func firstLine(text string) string {
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" {
			return l
		}
	}
	return ""
}
