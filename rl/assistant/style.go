package assistant

import "fmt"

// Style is what an answer looks like.
type Style string

// The styles.
const (
	// Short is an answer of a few words, as evaluation scores it.
	Short Style = "short"
	// Draft is a text to be sent or published: an e-mail, a letter, an article.
	Draft Style = "draft"
	// Tutor explains step by step and ends with a question to the learner.
	Tutor Style = "tutor"
	// Report is a summary with headings.
	Report Style = "report"
)

// ParseStyle reads the name of a style.
func ParseStyle(name string) (Style, error) {
	switch s := Style(name); s {
	case Short, Draft, Tutor, Report:
		return s, nil
	}
	return "", fmt.Errorf("style %q is not known: use short, draft, tutor or report", name)
}

// task is what the model is asked to write.
func (s Style) task() string {
	switch s {
	case Draft:
		return "Write a draft of the text that is asked for, complete and ready to be edited."
	case Tutor:
		return "You are a tutor. Explain the answer to a learner in simple words, step by step, and end with one " +
			"question that lets the learner check what was understood."
	}
	return "Write a report: a first sentence with the answer, then the facts in short paragraphs, each under a " +
		"heading that begins with \"## \"."
}

// message is the user's message; without documents the model writes from memory. Small models that are asked for the
// numbers of documents in a draft copy the documents instead of writing it: mark adds the numbers there.
func (s Style) message(question, documents string) string {
	if documents == "" {
		return s.task() + "\n\n" + question
	}
	rule := " Use only what the documents say, and write the number of the document behind each sentence, as in [1]."
	if s == Draft {
		rule = " Use only what the documents say."
	}
	return "Here are documents that a search returned.\n\n" + documents + "\n\n" + s.task() + rule + "\n\n" + question
}
