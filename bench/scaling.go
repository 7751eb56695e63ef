package bench

import "math"

// RankedStep is a training step as its ranks share it: what one process takes for its parts, measured, in seconds.
type RankedStep struct {
	Questions int
	Passes    float64 // of the passes of the rollouts, with one sequence: weights are read in each, whatever the number
	Episodes  float64 // what the sequences of all questions add to them
	Learn     float64 // log-probs, loss and gradient of all questions
	Optimize  float64 // the update of all parameters
	Bytes     float64 // a rank of R sends Bytes (R-1)/R: two thirds gradients, one third weights (engine.Traffic)
}

// Network joins the hosts of ranks; every host can send and receive at once.
type Network struct {
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
func (s RankedStep) Seconds(ranks int, n Network) float64 {
	r := float64(ranks)
	own := math.Ceil(float64(s.Questions)/r) / float64(s.Questions)
	t := s.Passes + (s.Episodes+s.Learn)*own + s.Optimize/r
	if ranks > 1 {
		t += s.Bytes*(r-1)/r/n.Bandwidth + 4*math.Ceil(s.Bytes*2/3/exchangeBytes)*(r-1)*n.Latency
	}
	return t
}

// Efficiency is how much of the work of so many ranks goes into the step: Seconds(1) / (ranks Seconds(ranks)).
func (s RankedStep) Efficiency(ranks int, n Network) float64 {
	return s.Seconds(1, n) / float64(ranks) / s.Seconds(ranks, n)
}
