package rl

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/internal/bytetokenizer"
	"github.com/zerosearch-go/zerosearch/internal/scripttest"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/update"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

var rewrite = flag.Bool("update", false, "rewrite what the scripts print")

// Each file of testdata/steps/*.txt is a run of a few steps: a comment with its story, settings, what the policy does
// at each question, a divider, and the whole reaction: every episode of every step with its reward and advantage,
// what is counted in which metric, the state. The update is a real one, of a tiny model; policy and search engine are
// the script's.
func TestSteps(t *testing.T) { scripttest.Run(t, "testdata/steps/*.txt", *rewrite, playSteps) }

// script is what policy and search engine do. One episode runs after the other, so that the script knows whose turn
// it is.
type script struct {
	tok    *tokenizer.Tokenizer
	acts   map[string][]string // by question: an act an episode, in the order of attempts and rollouts
	now    string              // act of the episode that runs
	cancel func()
}

// Generate answers or searches as the act says: right, wrong; found (it searches, then answers right), lost (its
// search fails), gone (the engine is not there any more), stop (the run is interrupted while it searches).
func (s *script) Generate(ctx context.Context, r episode.Request) (res episode.Result, err error) {
	if err := ctx.Err(); err != nil {
		return res, err
	}
	context := s.tok.Decode(r.Context, false)
	text := "<answer>yes</answer>"
	if !strings.Contains(context, "<search>") {
		name, _, _ := strings.Cut(strings.TrimPrefix(context, "Q "), "\n")
		if len(s.acts[name]) == 0 {
			return res, fmt.Errorf("the script says no more about %s", name)
		}
		s.now, s.acts[name] = s.acts[name][0], s.acts[name][1:]
		switch s.now {
		case "right":
		case "wrong":
			text = "<answer>no</answer>"
		default:
			text = "<search>it</search>"
		}
	}
	for _, id := range s.tok.Encode(text, tokenizer.EncodeOptions{}) {
		res.IDs, res.Logprobs = append(res.IDs, id), append(res.Logprobs, -5.5)
	}
	return res, nil
}

func (s *script) Name() string { return "script" }

func (s *script) Search(ctx context.Context, q search.Query) (search.Documents, error) {
	switch s.now {
	case "lost":
		return search.Documents{}, errors.New("no answer from it")
	case "gone":
		return search.Documents{}, &search.Unavailable{Engine: "script", Host: "nowhere", Tries: 1,
			Err: errors.New("nobody there")}
	case "stop":
		s.cancel()
	}
	tau := 0.5 * q.Success
	return search.Documents{Text: "yes", Docs: []string{"yes"}, Quality: search.Useful, Tau: tau, Draw: 1}, nil
}

// scripted is a trainer whose policy and engine are the script's.
func scripted(t *testing.T, s *script, c config.Config, questions []data.Question) *Trainer {
	dev := ref.New()
	m, err := model.NewRandom(dev, &model.Config{Arch: "llama", Vocab: 264, Hidden: 8, Inter: 8, Layers: 1, Heads: 1,
		KVHeads: 1, HeadDim: 8, Eps: 1e-5, RopeTheta: 10000,
		Tied: true, MaxPos: 256}, model.Options{DType: kernels.F32, Trainable: true}, 1)
	require.NoError(t, err)
	t.Cleanup(m.Close)
	tr, err := train.New(dev, m, nil, train.Options{KVType: kernels.F32})
	require.NoError(t, err)
	t.Cleanup(tr.Close)
	est, loss, err := c.Algo.Rule()
	require.NoError(t, err)
	f1, err := reward.Lookup("f1")
	require.NoError(t, err)
	schedule, err := train.NewSchedule("constant", 0, c.Schedule.TotalSteps)
	require.NoError(t, err)
	eng := engine.New(dev, engine.Options{})
	t.Cleanup(eng.Close)
	require.NoError(t, eng.AddModel(policyName, m, engine.ModelOptions{}))
	return &Trainer{Config: c, Engine: eng, Policy: &roles.LoadedModel{Model: m},
		Data: &rollout.Questions{Train: data.Set{Questions: questions}}, Reward: f1, Schedule: schedule,
		Updater: update.Updater{Trainer: tr, Estimator: est, Policy: loss},
		Worker: rollout.Worker{Prompter: rollout.Prompter{Tokenizer: s.tok}, Concurrency: 1,
			Runner: episode.Runner{Policy: s, Searcher: s,
				Tokenizer: episode.Text(s.tok),
				Config: episode.Config{MaxTurns: 1, MaxResponse: 40, MaxContext: 200,
					Sampling: episode.Sampling{Temperature: 1}}}}}
}

// playSteps runs a script and prints the reaction.
func playSteps(t *testing.T, text string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &script{tok: byteTokenizer(t), acts: map[string][]string{}, cancel: cancel}
	c := config.Config{Algo: config.Algo{Algo: "grpo"}, Rollout: config.Rollout{BatchSize: 2, N: 2, MaxAttempts: 2},
		Optim: config.Optim{LR: 1e-3},
		Data:  config.Data{NoShuffle: true}, Schedule: config.Schedule{TotalSteps: 1, Seed: 1}}
	var questions []data.Question
	resume := 0
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, ": ")
		require.True(t, ok, line)
		n, _ := strconv.Atoi(value)
		switch key {
		case "algo":
			c.Algo.Algo = value
		case "dynamic-sampling":
			c.Algo.DynamicSampling, c.Algo.MaxGenBatches = true, n
		case "drop-zero-variance":
			c.Algo.DropZeroVariance = true
		case "curriculum":
			c.Search.Curriculum = value
		case "max-attempts":
			c.Rollout.MaxAttempts = n
		case "steps":
			c.Schedule.TotalSteps = n
		case "resume-after": // the state is saved and read back, as a checkpoint keeps it
			resume = n
		default:
			questions = append(questions, data.Question{ID: key, Question: key + "?", GoldenAnswers: []string{"yes"},
				DataSource: "script",
				Columns:    map[string]json.RawMessage{"prompt": json.RawMessage(`"Q ` + key + `\n"`)}})
			s.acts[key] = strings.Fields(strings.ReplaceAll(value, "|", " "))
		}
	}
	tr := scripted(t, s, c, questions)
	var err error
	tr.Out, err = rundir.Create(t.TempDir(), 0, false)
	require.NoError(t, err)
	defer tr.Out.Close()
	var b strings.Builder
	for step := 1; step <= c.Schedule.TotalSteps; step++ {
		fmt.Fprintf(&b, "step %d\n", step)
		if err := tr.Step(ctx, step); err != nil {
			fmt.Fprintf(&b, "error: %v\n", err)
			break
		}
		if step == resume {
			raw, err := json.Marshal(tr.state)
			require.NoError(t, err)
			tr.state = rundir.State{}
			require.NoError(t, json.Unmarshal(raw, &tr.state))
		}
		describeStep(t, &b, tr, step)
	}
	for _, q := range questions {
		if left := s.acts[q.ID]; len(left) > 0 {
			fmt.Fprintf(&b, "not asked for: %s %s\n", q.ID, strings.Join(left, " "))
		}
	}
	return b.String()
}

// describeStep prints a step's episodes, and metrics by their values.
func describeStep(t *testing.T, b *strings.Builder, tr *Trainer, step int) {
	f, err := os.Open(filepath.Join(tr.Out.Dir, "episodes.jsonl"))
	require.NoError(t, err)
	defer f.Close()
	for e, err := range episode.Read("episodes.jsonl", f) {
		require.NoError(t, err)
		if e.Step != step {
			continue
		}
		learned := "not trained on"
		if e.Advantages != nil {
			learned = fmt.Sprintf("advantage %.3f", e.Advantages[0])
		}
		fmt.Fprintf(b, "  attempt %d group %d rollout %d of %s: %s, reward %v, %s\n", e.Attempt, e.Group, e.Rollout,
			e.QuestionID, e.Status, e.Reward, learned)
	}
	text, err := os.ReadFile(filepath.Join(tr.Out.Dir, "metrics.jsonl"))
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var m map[string]float64
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		for _, group := range []string{"critic/score/", "reward/f1", "response_length/", "env/", "rollout/groups",
			"rollout/episodes", "search/", "train/", "actor/trained"} {
			if strings.HasPrefix(k, group) {
				fmt.Fprintf(b, "  %s %.4g\n", k, m[k])
			}
		}
	}
	fmt.Fprintf(b, "  state: success %.4g, questions drawn %d, done %d\n", tr.state.Success, tr.state.Drawn,
		tr.state.Step)
}

// byteTokenizer has a token a byte, and none besides.
func byteTokenizer(t *testing.T) *tokenizer.Tokenizer {
	tok, err := tokenizer.Parse(bytetokenizer.JSON(nil, nil))
	require.NoError(t, err)
	return tok
}
