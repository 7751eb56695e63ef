package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/bench"
	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/internal/bytetokenizer"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

var update = flag.Bool("update", false, "write what was printed into the scripts")

// TestMain lets the test binary be the program itself, for tests that kill it, and keeps the user's environment out of
// the tests.
func TestMain(m *testing.M) {
	for _, e := range os.Environ() {
		kept := []string{"ZEROSEARCH_CPU_PATH", "ZEROSEARCH_GOLDENS", "ZEROSEARCH_DATA", goldens.Require, mainEnv,
			simulatedGPU, longTests, twoHosts, dist.Variable, dist.TimeoutVariable}
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "ZEROSEARCH_") && !slices.Contains(kept, name) {
			os.Unsetenv(name)
		}
	}
	measureSteps = computeSteps
	if os.Getenv(mainEnv) != "" {
		os.Unsetenv(mainEnv)
		os.Unsetenv(twoHosts)
		main()
	}
	os.Setenv("COLUMNS", "100")
	os.Setenv("HF_HOME", filepath.Join(os.TempDir(), "zerosearch-no-such-cache"))
	cache, err := os.MkdirTemp("", "zerosearch-cache-*") // ask keeps the text of documents
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_CACHE_HOME", cache)
	statusPeriod = time.Hour // one line of progress, whatever the machine
	code := m.Run()
	if taught.dir != "" {
		os.RemoveAll(taught.dir)
	}
	os.RemoveAll(cache)
	os.Exit(code)
}

// computeSteps stands for measureSteps in all tests but those of the measurement: the steps of an H200.
func computeSteps(_ context.Context, o bench.RooflineOptions, steps ...bench.GRPOTest) (out []bench.RooflineStep,
	err error) {
	o.GPU = "h200"
	for _, o.Step = range steps {
		r, err := bench.MakeRoofline(o)
		if err != nil {
			return nil, err
		}
		out = append(out, r.Step)
	}
	return out, nil
}

const mainEnv = "ZEROSEARCH_TEST_MAIN"

// simulatedGPU asks for tests that take minutes on a GPU that is simulated.
const simulatedGPU = "ZEROSEARCH_SIMULATED_GPU"

// longTests asks for tests that take minutes on a CPU.
const longTests = "ZEROSEARCH_LONG"

// zs runs the program inside the test.
func zs(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, log bytes.Buffer
	code = run(args, strings.NewReader(stdin), &out, &log)
	return code, out.String(), log.String()
}

// mustRun runs the program and requires that it succeeds.
func mustRun(t testing.TB, stdin string, args ...string) (stdout string) {
	t.Helper()
	code, stdout, stderr := zs(stdin, args...)
	require.Zero(t, code, "%s\n%s%s", strings.Join(args, " "), stdout, stderr)
	return stdout
}

// tags are tokens of the tiny tokenizer, so that a model of a few thousand weights can learn to write them.
var tags = []string{"<think>", "</think>", "<search>", "</search>", "<answer>", "</answer>", "<information>",
	"</information>"}

// chatML is its chat template.
const chatML = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' " +
	"}}{% endfor %}" +
	"{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

// tinyTokenizer is the text of a tokenizer.json: bytes, three special tokens, and tags.
func tinyTokenizer() []byte {
	return bytetokenizer.JSON([]string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}, tags)
}

// tinyModel writes a model folder of random weights into dir; text adds tokenizer and chat template.
func tinyModel(dir string, seed uint64, text bool) error {
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	defer dev.Close()
	c := &model.Config{Arch: "llama", Vocab: 272, Hidden: 48, Inter: 96, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 12,
		Eps: 1e-5, RopeTheta: 10000,
		Tied: true, MaxPos: 2048, EOS: []int32{258}}
	m, err := model.NewRandom(dev, c, model.Options{DType: kernels.F32}, seed)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Save(dir, model.SaveOptions{DType: kernels.F32}); err != nil || !text {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), tinyTokenizer(), 0o644); err != nil {
		return err
	}
	cfg, _ := json.Marshal(map[string]any{"eos_token": "<|im_end|>", "chat_template": chatML})
	return os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), cfg, 0o644)
}

// taught is a tiny model that has learned, half and half, to answer and to search first: made once for all tests.
var taught struct {
	sync.Once
	dir string
	err error
}

// taughtModel is its folder.
func taughtModel() (string, error) {
	taught.Do(func() {
		if taught.dir, taught.err = os.MkdirTemp("", "zerosearch-test-*"); taught.err == nil {
			taught.err = teach(taught.dir)
		}
	})
	return filepath.Join(taught.dir, "model"), taught.err
}

// questions are those the taught model knows; each row carries its own short prompt.
func questions() (text string) {
	for i, q := range []string{"a", "b", "c", "d"} {
		text += fmt.Sprintf(
			`{"id":"q%d","question":"what is %s?","golden_answers":["%s"],"prompt":"Q %s\n","data_source":"%s"}`+"\n",
			i, q, answerTo(q), q, []string{"even", "odd"}[i%2])
	}
	return text
}

func answerTo(q string) string { return strings.ToUpper(q) + "x" }

// shortPrompt is a chat template that leaves the question alone of ZeroSearch's prompt, so that tests of a few tokens
// are possible.
const shortPrompt = "{{ messages[-1]['content'].split('Question: ')[-1] }}"

// asked is an episode with a search in a folder of the script ask.txt.
func asked(tok *tokenizer.Tokenizer) (row struct {
	IDs  []int32 `json:"ids"`
	Mask []int   `json:"mask"`
}) {
	for i, part := range []string{"a?\n", "<think>t</think><search>letter</search>",
		"\n\n<information>Doc 1: \"x\" Nothing. The letter a is Ax.</information>\n\n", "<answer>Ax</answer>"} {
		for _, id := range tok.Encode(part, tokenizer.EncodeOptions{}) {
			row.IDs, row.Mask = append(row.IDs, id), append(row.Mask, i%2)
		}
	}
	return row
}

func teach(dir string) error {
	start, rows := filepath.Join(dir, "start"), filepath.Join(dir, "rows.jsonl")
	if err := tinyModel(start, 7, true); err != nil {
		return err
	}
	var text strings.Builder
	add := func(prompt, completion string) {
		line, _ := json.Marshal(map[string]string{"prompt": prompt, "completion": completion})
		text.Write(append(line, '\n'))
	}
	for _, q := range []string{"a", "b", "c", "d"} {
		add("Q "+q+"\n", "<answer>"+answerTo(q)+"</answer>")
		add("Q "+q+"\n", "<answer>no</answer>")
		add("Q "+q+"\n", "<search>"+q+"</search>")
		add("Q "+q+"\n", "<think>"+q+"</think>")
	}
	tok, err := tokenizer.Open(start)
	if err != nil {
		return err
	}
	line, _ := json.Marshal(asked(tok))
	for range 4 {
		text.Write(append(line, '\n'))
	}
	if err := os.WriteFile(rows, []byte(text.String()), 0o644); err != nil {
		return err
	}
	code, _, log := zs("", "sft", "--model", start, "--data", rows, "--out", filepath.Join(dir, "run"), "--steps", "80",
		"--batch-size", "20", "--lr", "1e-2",
		"--dtype", "f32", "--device", "cpu")
	if code != 0 {
		return fmt.Errorf("teaching the tiny model: %s", log)
	}
	return os.Rename(filepath.Join(dir, "run", "checkpoints", "step-80"), filepath.Join(dir, "model"))
}
