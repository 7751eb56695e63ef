package zerosearch_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// library is a search engine of a program's own: it knows one sentence.
type library struct{}

func (library) Name() string { return "library" }

func (library) Search(context.Context, search.Query) (search.Documents, error) {
	doc := "The bell of Arel was made by Orin."
	return search.Documents{Text: doc, Docs: []string{doc}}, nil
}

// A run with a search engine of the program's own. The policy is the one of the demo, which has one million parameters.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	data := filepath.Join(dir, "questions.jsonl")
	question := `{"question": "who made the bell of Arel?", "golden_answers": ["Orin"]}`
	if err := os.WriteFile(data, []byte(question+"\n"), 0o644); err != nil {
		fmt.Println(err)
		return
	}
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer dev.Close()

	c := rl.Defaults()
	c.Policy.Model, c.Data.Data, c.Schedule.Out = "demo/models/policy", data, filepath.Join(dir, "run")
	c.Rollout.BatchSize, c.Rollout.N, c.Schedule.TotalSteps = 1, 4, 2
	c.Rollout.MaxResponse, c.Rollout.MaxContext, c.Rollout.MaxStart = 32, 256, 128
	ctx := context.Background()
	t, err := rl.New(ctx, dev, c, rl.WithSearcher(library{}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	t.OnStep = func(step int, m rundir.Metrics, groups [][]*episode.Episode) {
		fmt.Printf("step %d: %d episodes, log-probs of rollout and trainer differ by %v\n",
			step, len(groups[0]), m["rollout/logprob_diff_max"])
	}
	last, err := t.Run(ctx)
	fmt.Println(last, "steps", err)
	_, err = os.Stat(t.Out.Checkpoint(last))
	fmt.Println("checkpoint:", err == nil)
	// Output:
	// step 1: 4 episodes, log-probs of rollout and trainer differ by 0
	// step 2: 4 episodes, log-probs of rollout and trainer differ by 0
	// 2 steps <nil>
	// checkpoint: true
}
