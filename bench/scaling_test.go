package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rankedStep is a training step as its ranks share it: what one process takes for its parts, measured, in seconds.
type rankedStep struct {
	Questions int
	Passes    float64 // of the passes of the rollouts, with one sequence: weights are read in each, whatever the number
	Episodes  float64 // what the sequences of all questions add to them
	Learn     float64 // log-probs, loss and gradient of all questions
	Optimize  float64 // the update of all parameters
	Bytes     float64 // a rank of R sends Bytes (R-1)/R: two thirds gradients, one third weights (engine.Traffic)
}

// network joins the hosts of ranks; every host can send and receive at once.
type network struct {
	Bandwidth float64 // bytes a second, in each direction
	Latency   float64 // seconds of a message
}

// exchangeBytes are those of a piece of the gradients of all ranks (engine/train); weights are exchanged in as many
// pieces.
const exchangeBytes = 4 << 22

// Seconds is the time of the step with ranks, on as many hosts:
//
//	Passes + (Episodes + Learn) ceil(Questions/ranks)/Questions + Optimize/ranks
//	+ Bytes (ranks-1)/ranks / Bandwidth + 4 pieces (ranks-1) Latency
//
// The rank with most questions is the last. A piece of gradients, and as many pieces of weights, are two rounds of
// messages among all ranks each: whether all are there, and the data.
func (s rankedStep) Seconds(ranks int, n network) float64 {
	r := float64(ranks)
	own := math.Ceil(float64(s.Questions)/r) / float64(s.Questions)
	t := s.Passes + (s.Episodes+s.Learn)*own + s.Optimize/r
	if ranks > 1 {
		t += s.Bytes*(r-1)/r/n.Bandwidth + 4*math.Ceil(s.Bytes*2/3/exchangeBytes)*(r-1)*n.Latency
	}
	return t
}

// Efficiency is how much of the work of so many ranks goes into the step: Seconds(1) / (ranks Seconds(ranks)).
func (s rankedStep) Efficiency(ranks int, n network) float64 {
	return s.Seconds(1, n) / float64(ranks) / s.Seconds(ranks, n)
}

// schedule runs a step of ranks event by event: passes in which each unfinished episode of a rank has a token, the
// gradient of a rank's own questions, then the exchange, in pieces: each rank sends to one after the other, and
// receives from one after the other, and no rank begins a piece before all are there. lengths are the tokens of each
// question's episode, of which the step's times are the mean.
func schedule(s rankedStep, ranks int, n network, lengths []float64) float64 {
	mean := 0.0
	for _, l := range lengths {
		mean += l / float64(len(lengths))
	}
	clock := make([]float64, ranks)
	for r := range clock {
		var own []float64
		for q, l := range lengths {
			if q%ranks == r {
				own = append(own, l)
			}
		}
		slices.Sort(own)
		last := 0.0
		for i, l := range own { // until this episode ends, all that are not shorter have a token a pass
			active := float64(len(own) - i)
			passes := (l - last) / mean
			clock[r] += passes * (s.Passes + active*s.Episodes/float64(s.Questions))
			clock[r] += l / mean * s.Learn / float64(s.Questions)
			last = l
		}
	}
	together := func() {
		last := slices.Max(clock)
		for r := range clock {
			clock[r] = last
		}
	}
	transfer := func(bytes float64) { // of each rank to each: in round k rank r sends to rank r+k
		together()
		if ranks > 1 {
			for r := range clock {
				clock[r] += float64(ranks-1) * n.Latency // the headers
			}
		}
		for range ranks - 1 {
			for r := range clock {
				clock[r] += bytes/n.Bandwidth + n.Latency
			}
		}
	}
	gradients, weights := s.Bytes*2/3, s.Bytes/3
	exchange := func(bytes, piece float64) {
		for bytes > 0 {
			now := min(bytes, piece)
			transfer(now / float64(ranks))
			bytes -= now
		}
	}
	exchange(gradients, exchangeBytes)
	for r := range clock {
		clock[r] += s.Optimize / float64(ranks)
	}
	exchange(weights, exchangeBytes/2)
	together()
	return clock[0]
}

// smollm is a step of SmolLM2-135M on two cores with AMX, made one of so many questions. Measured (bench/results):
// 9.7 s for 8 questions x 5 answers of 128 tokens, of which 6.0 s are the update; 96.7 tokens a second for one
// sequence.
func smollm(questions int) rankedStep {
	more := float64(questions) / 8
	return rankedStep{Questions: questions, Passes: 1.3, Episodes: 2.3 * more, Learn: 5.8 * more, Optimize: 0.2,
		Bytes: 6 * 134.5e6}
}

// qwen is a step of Qwen2.5-3B on an H200, computed by bench roofline (docs/gpu.md): 123 s for 64 questions x 5
// episodes, of which 2,850 passes for one sequence take 5.5 s.
func qwen() rankedStep {
	return rankedStep{Questions: 64, Passes: 5.5, Episodes: 29, Learn: 88.4, Optimize: 0.1, Bytes: 6 * 3.09e9}
}

// gigabit is a network of so many Gbit/s.
func gigabit(n float64) network { return network{Bandwidth: n * 1e9 / 8, Latency: 30e-6} }

// The formula is what the schedule takes, within 2%, where episodes are equally long; where their lengths differ by a
// third, the last rank is waited for.
func TestScaling(t *testing.T) {
	for _, s := range []rankedStep{smollm(64), smollm(512), qwen()} {
		equal := slices.Repeat([]float64{100}, s.Questions)
		for _, ranks := range []int{1, 2, 3, 8, 16, 64} {
			for _, n := range []network{gigabit(1), gigabit(10), gigabit(100)} {
				name := fmt.Sprintf("%+v, %d ranks, %+v", s, ranks, n)
				require.InEpsilon(t, schedule(s, ranks, n, equal), s.Seconds(ranks, n), 0.02, name)
			}
			r := rand.New(rand.NewPCG(1, 2))
			longer := 0.0
			for range 100 {
				lengths := make([]float64, s.Questions)
				for q := range lengths {
					lengths[q] = 50 + 100*r.Float64()
				}
				longer += schedule(s, ranks, gigabit(10), lengths) / s.Seconds(ranks, gigabit(10)) / 100
			}
			require.Greater(t, longer, 0.97)
			require.Less(t, longer, 1.5)
			t.Logf("%d questions, %d ranks: episodes of 50 to 150 tokens take %.2f of the time", s.Questions, ranks,
				longer)
		}
	}
	require.Equal(t, 1.0, qwen().Efficiency(1, gigabit(1)))
}

// The table of docs/cluster.md is what the formula gives.
func TestScalingTable(t *testing.T) {
	page, err := os.ReadFile("../docs/cluster.md")
	require.NoError(t, err)
	var rows []string
	row := func(what string, s rankedStep, ranks []int, nets ...network) {
		for _, r := range ranks {
			line := fmt.Sprintf("| %s | %d |", what, r)
			for _, n := range nets {
				line += fmt.Sprintf(" %.1f s, %.0f%% |", s.Seconds(r, n), 100*s.Efficiency(r, n))
			}
			rows = append(rows, line)
		}
	}
	hosts := []int{1, 2, 4, 8, 16, 32, 64}
	nets := []network{gigabit(1), gigabit(10), gigabit(100)}
	row("SmolLM2-135M, 64 questions", smollm(64), hosts, nets...)
	row("SmolLM2-135M, 512 questions", smollm(512), hosts, nets...)
	gpus := []int{1, 2, 4, 8}
	row("Qwen2.5-3B, 64 questions", qwen(), gpus, network{2e9, 30e-6}, network{5e9, 30e-6}, network{300e9, 20e-6})
	for _, line := range rows {
		if !strings.Contains(string(page), line) {
			t.Errorf("docs/cluster.md has no line %s", line)
		}
	}
}
