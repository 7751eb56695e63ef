package reward_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/reward"
)

// TestMain lets the test binary act as the reward program: its first argument says how it behaves.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "as-program" {
		program(os.Args[2])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func program(how string) {
	if how == "bannered" {
		fmt.Println("loading the judge ...")
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	for n := 1; in.Scan(); n++ {
		var a struct {
			N      int
			Answer *string
			Golden []string `json:"golden_answers"`
		}
		if err := json.Unmarshal(in.Bytes(), &a); err != nil {
			fmt.Fprintln(os.Stderr, "not JSON:", err)
			os.Exit(9)
		}
		length := 0
		if a.Answer != nil {
			length = len(*a.Answer)
		}
		if third := n == 3; third {
			switch how {
			case "dies":
				fmt.Fprintln(os.Stderr, "Traceback ...\nZeroDivisionError: division by zero")
				os.Exit(3)
			case "leaves":
				os.Exit(0)
			case "hangs":
				fmt.Fprintln(os.Stderr, "thinking")
				time.Sleep(time.Hour)
			case "rubbish":
				fmt.Println("Score: 7/10")
				continue
			case "nan":
				fmt.Println(`{"reward": NaN}`)
				continue
			case "miscounts":
				fmt.Println(`{"n": 2, "reward": 1}`)
				continue
			case "endless":
				fmt.Println(strings.Repeat("x", 2<<20))
				continue
			case "chatty":
				fmt.Println(`{"reward": 1}`)
				fmt.Println(`{"reward": 1}`)
				continue
			}
		}
		if how == "uneven" {
			time.Sleep(time.Duration(os.Getpid()%7) * time.Millisecond / 2)
		}
		fmt.Println(`{"n": ` + strconv.Itoa(a.N) + `, "reward": ` + strconv.Itoa(length) + `}`)
	}
	if how == "clings" {
		time.Sleep(time.Hour)
	}
}

func start(t *testing.T, how string, workers int) (*reward.Program, *bytes.Buffer) {
	exe, err := os.Executable()
	require.NoError(t, err)
	said := new(bytes.Buffer)
	p := &reward.Program{Command: []string{exe, "as-program", how}, Workers: workers, Timeout: 20 * time.Second,
		Stderr: said}
	if how == "hangs" {
		p.Timeout = 300 * time.Millisecond
	}
	t.Cleanup(func() { p.Close() })
	require.NoError(t, p.Start())
	return p, said
}

// N workers of different speeds give the same rewards as one worker, in order, over several calls.
func TestProgram(t *testing.T) {
	for _, workers := range []int{0, 1, 3} {
		p, _ := start(t, "uneven", workers)
		for _, n := range []int{0, 1, 2, 200} {
			var in []reward.Attempt
			var want []float64
			for i := range n {
				in = append(in, attempt(strings.Repeat("é<\n", i)))
				want = append(want, float64(4*i))
			}
			got, err := p.Score(context.Background(), in)
			require.NoError(t, err)
			require.Equal(t, append([]float64{}, want...), got)
		}
		require.NoError(t, p.Close())
	}
	p, _ := start(t, "well", 1)
	got, err := p.Score(context.Background(), []reward.Attempt{{Question: strings.Repeat("long ", 1<<20)}})
	require.NoError(t, err)
	require.Equal(t, []float64{0}, got)
}

// Every failure of the program gives one error within a limited time. The error names the program and the line, and has
// the last line of its standard error.
func TestProgramFails(t *testing.T) {
	four := []reward.Attempt{attempt("a"), attempt("b"), attempt("c"), attempt("d")}
	for how, want := range map[string]string{
		"dies": "it ended with exit status 3 before its answer to line 3 (its last line on standard error: " +
			"ZeroDivisionError: division by zero)",
		"leaves":    "it ended before its answer to line 3",
		"hangs":     "no answer to line 3 for 300ms (its last line on standard error: thinking): make it flush",
		"rubbish":   `its answer to line 3, "Score: 7/10", holds no reward`,
		"nan":       `its answer to line 3, "{\"reward\": NaN}", holds no reward`,
		"miscounts": "is that of line 2",
		"endless":   "its answer to line 3 is longer than a megabyte",
		"bannered":  `its answer to line 1, "loading the judge ...", holds no reward`,
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p, said := start(t, how, 1)
			began := time.Now()
			_, err := p.Score(context.Background(), four)
			if how == "bannered" && err != nil && strings.Contains(err.Error(), "before it was asked") {
				return // the program printed its line before the first attempt was sent
			}
			require.ErrorContains(t, err, want)
			require.ErrorContains(t, err, "as-program "+how)
			require.NotContains(t, err.Error(), "\n")
			require.Less(t, time.Since(began), 10*time.Second)
			if how == "dies" {
				require.Equal(t, "Traceback ...\nZeroDivisionError: division by zero\n", said.String())
			}
		})
	}
}

// A surplus answer is an error at the next call at the latest.
func TestProgramAnswersTwice(t *testing.T) {
	p, _ := start(t, "chatty", 1)
	three := []reward.Attempt{attempt("a"), attempt("b"), attempt("c")}
	_, err := p.Score(context.Background(), three)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err = p.Score(context.Background(), three[:1])
		return err != nil
	}, 5*time.Second, 10*time.Millisecond)
	require.Regexp(t, "line [45]", err.Error())
}

func TestProgramCannotStart(t *testing.T) {
	p := lookup(t, "exec:./no-such-program x").Scorer.(*reward.Program)
	require.ErrorContains(t, p.Start(), "starting the reward program ./no-such-program x")
	_, err := p.Score(context.Background(), []reward.Attempt{attempt("a")})
	require.ErrorContains(t, err, "give an executable file")
}

// A program that does not exit when its input ends is killed, and an interrupted call returns at once.
func TestProgramIsEnded(t *testing.T) {
	p, _ := start(t, "clings", 2)
	began := time.Now()
	require.NoError(t, p.Close())
	require.Less(t, time.Since(began), 10*time.Second)

	p, _ = start(t, "hangs", 1)
	p.Timeout = time.Hour
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := p.Score(ctx, []reward.Attempt{attempt("a"), attempt("b"), attempt("c")})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
