// Package harvest makes the rows that a simulated search engine is fine-tuned on, as ZeroSearch does (arXiv 2505.04588,
// section 3.3): a policy searches a real engine, and the documents of a search are an example of useful documents if
// the trajectory that used them ended with a right answer, and of noisy documents if it did not.
package harvest

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Options say which documents become rows.
type Options struct {
	// Correct is the score that says whether a trajectory is right: em, f1 or sub_em. It is right from Threshold on.
	Correct   string
	Threshold float64
	// Words is the largest number of words of a document; longer ones are cut to the part that has most terms of the
	// query. 0 keeps whole documents. The simulator's prompt asks for about 30 words.
	Words int
	// Strict leaves out useful documents that do not contain an accepted answer, and noisy documents that do.
	Strict bool
	// HoldOut is the share of rows that are held out, by question; 0: none.
	HoldOut float64
	// Seed draws which rows of the more frequent quality are left out.
	Seed uint64
}

// Check says what is wrong with the options.
func (o Options) Check() error {
	switch {
	case !slices.Contains([]string{"em", "f1", "sub_em"}, o.Correct):
		return fmt.Errorf("--correct %q is not known: use em, f1 or sub_em", o.Correct)
	case !(o.Threshold > 0 && o.Threshold <= 1):
		return errors.New("--threshold must be above 0 and at most 1")
	case o.Words < 0:
		return errors.New("--document-words must not be negative")
	case !(o.HoldOut >= 0 && o.HoldOut < 1):
		return errors.New("--hold-out must be a share from 0 up to, but not, 1")
	}
	return nil
}

// Row is an example for sft: what a simulator is asked, and the documents that it should write.
type Row struct {
	Messages []Message `json:"messages,omitempty"`
	// Prompt and Completion are the same as two texts, for models without a chat template.
	Prompt     string `json:"prompt,omitempty"`
	Completion string `json:"completion,omitempty"`

	Question      string         `json:"question"`
	GoldenAnswers []string       `json:"golden_answers"`
	Query         string         `json:"query"`
	Quality       search.Quality `json:"quality"`
	// Documents are those of the completion, one by one.
	Documents []string `json:"documents"`
}

// Message is one message of a chat.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Counts say what became of the trajectories and their searches.
type Counts struct {
	Episodes int `json:"episodes"`
	// Failed episodes were interrupted or their search failed. Right and Wrong are the others.
	Failed int `json:"failed"`
	Right  int `json:"right"`
	Wrong  int `json:"wrong"`
	// Searches is the number of searches of right and wrong episodes, Empty those that found nothing, Repeated those
	// with the query and the documents of an earlier one of the same question.
	Searches int `json:"searches"`
	Empty    int `json:"empty"`
	// Simulated is the number of searches that a simulated engine answered: they are no examples.
	Simulated int `json:"simulated"`
	Repeated  int `json:"repeated"`
	// Contradictory is the number of different searches that as many right as wrong trajectories used.
	Contradictory int `json:"contradictory"`
	// NoAnswer are useful documents without an accepted answer, Answer noisy ones with one; see Options.Strict.
	NoAnswer int `json:"useful_without_answer"`
	Answer   int `json:"noisy_with_answer"`
	// Unbalanced is the number of rows left out because the other quality has fewer.
	Unbalanced int `json:"unbalanced"`
	Train      int `json:"train"`
	HeldOut    int `json:"held_out"`
}

// Harvest collects the searches of trajectories.
type Harvest struct {
	Options
	Counts
	byKey map[string]*found
	all   []*found
}

// found is a search with the number of right and wrong trajectories that used it.
type found struct {
	question, query string
	golds           []string
	documents       []string
	right, wrong    int
}

// New returns an empty harvest.
func New(o Options) *Harvest { return &Harvest{Options: o, byKey: map[string]*found{}} }

// Add counts a trajectory and collects its searches.
func (h *Harvest) Add(e *episode.Episode) {
	h.Episodes++
	if !e.Status.Trained() {
		h.Failed++
		return
	}
	answer, answered := e.Answer()
	s := reward.Score(answer, answered, e.GoldenAnswers)
	right := map[string]float64{"em": s.EM, "f1": s.F1, "sub_em": s.SubEM}[h.Correct] >= h.Threshold
	if right {
		h.Right++
	} else {
		h.Wrong++
	}
	for _, t := range e.Turns {
		if t.Action != episode.Search {
			continue
		}
		h.Searches++
		if search.Quality(t.Quality) != search.Real {
			h.Simulated++
			continue
		}
		f := &found{question: e.Question, golds: e.GoldenAnswers, query: strings.Join(strings.Fields(t.Content), " ")}
		for _, d := range t.Documents {
			if d = strings.Join(strings.Fields(d), " "); d != "" {
				f.documents = append(f.documents, cut(d, f.query, f.golds, h.Words))
			}
		}
		if f.documents == nil || f.query == "" {
			h.Empty++
			continue
		}
		f = h.merge(f)
		if right {
			f.right++
		} else {
			f.wrong++
		}
	}
}

// merge returns the same search of an earlier trajectory. If there is none, it stores f and returns it.
func (h *Harvest) merge(f *found) *found {
	key := strings.Join(append([]string{f.question, strings.ToLower(f.query)}, f.documents...), "\x00")
	if was := h.byKey[key]; was != nil {
		h.Repeated++
		return was
	}
	h.byKey[key] = f
	h.all = append(h.all, f)
	return f
}

// Rows are the rows to train on and those held out. Both have as many useful as noisy rows. The majority of the
// trajectories that used the same documents decides about their quality.
func (h *Harvest) Rows() (train, held []Row, err error) {
	rows := h.label()
	useful := 0
	for _, r := range rows {
		if r.Quality == search.Useful {
			useful++
		}
	}
	if h.Searches > 0 && h.Simulated == h.Searches {
		return nil, nil, errors.New("harvesting: a simulated engine answered all searches: rows are made from a real " +
			"one, as with --search-mode bm25")
	}
	if noisy := len(rows) - useful; useful == 0 || noisy == 0 {
		return nil, nil, fmt.Errorf("harvesting: there are %d useful and %d noisy results, of %d right and %d wrong "+
			"trajectories, and rows are balanced: sample more trajectories with --n, or take questions that the policy "+
			"answers at times", useful, noisy, h.Right, h.Wrong)
	}
	if h.HoldOut > 0 {
		if rows, held, err = split(rows, h.HoldOut); err != nil {
			return nil, nil, err
		}
	}
	train, held = h.balance(rows), h.balance(held)
	h.Train, h.HeldOut = len(train), len(held)
	if h.Train == 0 {
		return nil, nil, errors.New("harvesting: all useful or all noisy results belong to questions that are held " +
			"out: lower --hold-out, or sample more trajectories with --n")
	}
	return train, held, nil
}

// label makes rows of the searches whose quality is known.
func (h *Harvest) label() (rows []Row) {
	for _, f := range h.all {
		r := Row{Question: f.question, GoldenAnswers: f.golds, Query: f.query, Documents: f.documents,
			Quality: search.Useful}
		if f.right < f.wrong {
			r.Quality = search.Noisy
		}
		answer := reward.Mentions(strings.Join(f.documents, "\n"), f.golds)
		switch {
		case f.right == f.wrong:
			h.Contradictory++
		case h.Strict && !answer && r.Quality == search.Useful:
			h.NoAnswer++
		case h.Strict && answer && r.Quality == search.Noisy:
			h.Answer++
		default:
			rows = append(rows, r)
		}
	}
	return rows
}

// split holds out rows by question, as data.Set does.
func split(rows []Row, share float64) (rest, held []Row, err error) {
	set := &data.Set{}
	for _, r := range rows {
		set.Questions = append(set.Questions, data.Question{Question: r.Question})
	}
	out, err := set.Split(share)
	if err != nil {
		return nil, nil, fmt.Errorf("holding rows out: %w", err)
	}
	is := map[string]bool{}
	for _, q := range out {
		is[q.Question] = true
	}
	for _, r := range rows {
		if is[r.Question] {
			held = append(held, r)
		} else {
			rest = append(rest, r)
		}
	}
	return rest, held, nil
}

// balance leaves rows of the more frequent quality out, drawn by seed and content, and keeps the order of the others.
func (h *Harvest) balance(rows []Row) []Row {
	by := map[search.Quality][]int{}
	for i, r := range rows {
		by[r.Quality] = append(by[r.Quality], i)
	}
	n := min(len(by[search.Useful]), len(by[search.Noisy]))
	var keep []int
	for _, list := range by {
		slices.SortFunc(list, func(a, b int) int {
			return cmp.Or(cmp.Compare(h.draw(rows[a]), h.draw(rows[b])), a-b)
		})
		keep = append(keep, list[:n]...)
	}
	h.Unbalanced += len(rows) - len(keep)
	slices.Sort(keep)
	out := make([]Row, len(keep))
	for i, k := range keep {
		out[i] = rows[k]
	}
	return out
}

// draw is a random number that depends on the seed and the row's content only.
func (h *Harvest) draw(r Row) uint64 {
	hash := fnv.New64a()
	hash.Write(binary.LittleEndian.AppendUint64(nil, h.Seed))
	hash.Write([]byte(strings.Join(append([]string{r.Question, r.Query}, r.Documents...), "\x00")))
	return hash.Sum64()
}

// Chat fills in the row's messages or, with text, its prompt and completion. The prompt is that of a simulator in the
// mode simulate_sft and asks for as many documents as the row has.
func (r *Row) Chat(text bool) {
	q := search.Query{Query: r.Query, Question: r.Question, GoldenAnswers: r.GoldenAnswers}
	prompt := search.Render(search.SFT, r.Quality, q, len(r.Documents))
	completion := search.Numbered(r.Documents)
	if text {
		r.Prompt, r.Completion = prompt, completion
		return
	}
	// The empty system message is the one that a simulator gets: see search.Simulated.
	r.Messages = []Message{{"system", ""}, {"user", prompt}, {"assistant", completion}}
}
