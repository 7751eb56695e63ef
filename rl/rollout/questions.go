package rollout

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
)

// Questions are what a run learns from and what it is measured on.
type Questions struct {
	Train data.Set
	Eval  []data.Question
	Notes []string // what was left out, for the user
}

// LoadQuestions reads the files that c names and chooses from them: data sources, then answers that are too long, then
// what is held out.
func LoadQuestions(c config.Data) (*Questions, error) {
	set, err := data.LoadSet(c.Data)
	if err != nil {
		return nil, err
	}
	if err := set.FromSources(c.Sources); err != nil {
		return nil, err
	}
	dropped, err := set.ShortAnswers(c.MaxAnswerWords)
	if err != nil {
		return nil, err
	}
	q := &Questions{Train: *set}
	q.note(dropped, "every accepted answer has more than %d words", c.MaxAnswerWords)
	switch {
	case c.EvalData != "":
		q.Eval, err = data.LoadFiles(c.EvalData)
	case c.EvalSplit != 0:
		q.Eval, err = q.Train.Split(c.EvalSplit)
	}
	if c.EvalLimit > 0 && c.EvalLimit < len(q.Eval) {
		q.Eval = q.Eval[:c.EvalLimit]
	}
	return q, err
}

// Fit drops the questions whose prompts are too long, where that is wanted, and refuses prompts that cannot be used.
func (q *Questions) Fit(r *Worker, drop bool) error {
	if p := r.Prompter; drop {
		dropped, err := q.Train.Keep("--filter-overlong-prompts", p.fits)
		if err != nil {
			return err
		}
		q.note(dropped, "the prompt has more than %d tokens", p.MaxTokens)
	}
	for _, part := range []struct {
		name      string
		questions []data.Question
	}{{"", q.Train.Questions}, {"held-out questions: ", q.Eval}} {
		note, err := r.Check(part.questions)
		if err != nil {
			return err
		}
		if note != "" {
			q.Notes = append(q.Notes, part.name+note)
		}
	}
	return nil
}

func (q *Questions) note(dropped int, why string, n int) {
	if dropped > 0 {
		q.Notes = append(q.Notes, fmt.Sprintf("left out %d of %d questions: "+why, dropped,
			len(q.Train.Questions)+dropped, n))
	}
}
