package eval

import (
	"context"
	"fmt"
	"time"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
)

// Measurement runs methods on questions, keeps their episodes, and scores them.
type Measurement struct {
	// Methods are run one after the other, each on all Questions.
	Methods   []Method
	Questions []data.Question
	// Folder, if not nil, keeps every episode as soon as it ends. Questions that it has an episode of are not run
	// again.
	Folder *Folder
	// Episodes, if not "", is a file for the episodes of the only method.
	Episodes string
	// Run runs an episode of a method for every question i with done[i] == nil. It calls each, from any goroutine, when
	// an episode ends, and returns the episodes of all questions. (rollout.Worker.Measured is such a function.)
	Run func(ctx context.Context, m Method, questions []data.Question, done []*episode.Episode,
		each func(*episode.Episode)) ([]*episode.Episode, error)
	// Progress, if not nil, is called after each episode: finished counts the finished episodes of the method, before
	// those of them that were finished when it began.
	Progress func(m Method, began time.Time, before, finished int)
	// Note, if not nil, prints a message for the user.
	Note func(text string)
}

// Results runs all methods and returns the results of each, [methods][questions]. If ctx ends, Results returns its
// error; Folder.Done is then the number of episodes that were kept.
func (m *Measurement) Results(ctx context.Context) (out [][]Result, err error) {
	for _, method := range m.Methods {
		done := make([]*episode.Episode, len(m.Questions))
		if m.Folder != nil {
			if done, err = m.Folder.Begin(method, m.Questions); err != nil {
				return nil, err
			}
		}
		all, err := m.run(ctx, method, done)
		if err != nil {
			return nil, err
		}
		if m.Folder != nil {
			if err := m.Folder.End(method, all); err != nil {
				return nil, err
			}
		}
		if err := m.keep(all); err != nil {
			return nil, err
		}
		out = append(out, m.grade(method, all))
	}
	return out, nil
}

// run runs one method. What is done is kept at once.
func (m *Measurement) run(ctx context.Context, method Method, done []*episode.Episode) ([]*episode.Episode, error) {
	began, before := time.Now(), 0
	for _, e := range done {
		if e != nil {
			before++
		}
	}
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan *episode.Episode, 64)
	written := make(chan error)
	go func() { // one writer, so that lines stay whole
		var failed error
		n := before
		for e := range ended {
			if m.Folder != nil && failed == nil {
				if failed = m.Folder.Append(e); failed != nil {
					stop(failed)
				}
			}
			n++
			if m.Progress != nil {
				m.Progress(method, began, before, n)
			}
		}
		written <- failed
	}()
	all, err := m.Run(inner, method, m.Questions, done, func(e *episode.Episode) {
		if e.Status != episode.Cancelled {
			ended <- e
		}
	})
	close(ended)
	failed := <-written
	switch {
	case failed != nil:
		return nil, failed
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return all, err
}

// grade scores episodes and says when searches failed.
func (m *Measurement) grade(method Method, all []*episode.Episode) []Result {
	out := make([]Result, len(all))
	failed, why := 0, ""
	for i, e := range all {
		out[i] = Grade(method, e, m.Questions[i].DataSource)
		if e.Status == episode.SearchFailed {
			failed, why = failed+1, e.Err
		}
	}
	if failed > 0 && m.Note != nil {
		m.Note(fmt.Sprintf("the search engine failed %d of %d episodes, which count as wrong (%s)", failed, len(all),
			why))
	}
	return out
}

// keep writes the episodes of the method where Episodes says.
func (m *Measurement) keep(all []*episode.Episode) error {
	if m.Episodes == "" {
		return nil
	}
	text, err := Lines(all)
	if err == nil {
		err = disk.WriteFile(m.Episodes, text)
	}
	if err != nil {
		return fmt.Errorf("writing the episodes: %w", err)
	}
	return nil
}
