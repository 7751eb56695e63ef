package bench

import (
	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/bench/peers"
)

// Row is one measurement.
type Row struct {
	// the operation, or the test's name: pp512, tg128@b8, train4x512, grpo8x5
	Op      string    `json:"op"`
	Of      string    `json:"model,omitempty"` // the model, or the model that the shape is taken from
	Shape   ops.Shape `json:"shape"`
	DType   string    `json:"dtype"`
	Path    string    `json:"path"` // the device's implementation
	Threads int       `json:"threads"`
	Mean    float64   `json:"mean"`
	StdDev  float64   `json:"stddev"`
	Median  float64   `json:"median"`
	Unit    string    `json:"unit"`  // GFLOP/s, GB/s, t/s or s
	Limit   float64   `json:"limit"` // this machine's maximum in the same unit; 0: not known
	Share   float64   `json:"share"` // median / limit
	Reps    int       `json:"reps"`

	Seconds float64 `json:"seconds"` // median of one call, pass or step
	GFLOPS  float64 `json:"gflops,omitempty"`
	GBS     float64 `json:"gbs,omitempty"`
	Foreign float64 `json:"foreign_cores"` // cores that other processes kept busy

	TFLOP   float64 `json:"tflop,omitempty"`                    // operations of one step, 1e12: train and grpo
	Floor   float64 `json:"floor_seconds,omitempty"`            // minimal time of one step at this machine's limits
	Useful  float64 `json:"useful_tokens_per_second,omitempty"` // tokens sampled by the policy: grpo
	PeakRSS int64   `json:"peak_rss_bytes,omitempty"`           // train and grpo; includes mapped files
	// PeakAnonymous is what `zerosearch plan` predicts.
	PeakAnonymous int64 `json:"peak_anonymous_bytes,omitempty"`
	// LogprobDiff is the largest difference, in all steps, between the log-probs that were recorded while sampling and
	// those of the training forward pass: grpo. nil: it was not measured.
	LogprobDiff *float64           `json:"logprob_diff_max,omitempty"`
	Split       map[string]float64 `json:"split,omitempty"` // seconds of a step's parts
	Peers       []peers.Row        `json:"peers,omitempty"` // grpo: other programs, measured in alternation with ours

	// Of a step with several ranks: how much faster it is than with one, and that divided by the ranks.
	Ranks      int     `json:"ranks,omitempty"`
	Speedup    float64 `json:"speedup,omitempty"`
	Efficiency float64 `json:"efficiency,omitempty"`

	samples []float64  // seconds of each repetition
	cost    ops.Cost   // of one call, for the limit
	phases  []ops.Cost // costs of parts that cannot overlap; cost is their sum
	work    float64    // units of Unit in one call, if it is t/s; 0: the unit is a rate of the cost, or seconds
	fixed   string     // "s": the value is the time itself
	sampled float64    // tokens sampled by the policy in one step
}

// finish computes everything that follows from samples, cost and limits.
func (r *Row) finish(l Limits) {
	_, _, r.Seconds = measure.Stats(r.samples)
	if r.Seconds > 0 {
		r.GFLOPS, r.GBS = r.cost.FLOPs/r.Seconds/1e9, r.cost.Bytes/r.Seconds/1e9
	}
	least := r.least(l)
	if r.PeakRSS > 0 { // a whole step
		r.TFLOP, r.Floor = r.cost.FLOPs/1e12, least
	}
	if r.Seconds > 0 {
		r.Useful = r.sampled / r.Seconds
	}
	amount := r.work // done in one call
	switch {
	case r.fixed != "":
		r.Unit = r.fixed
	case r.work > 0:
		r.Unit = "t/s"
	case l.binds(r.cost):
		r.Unit, amount = "GFLOP/s", r.cost.FLOPs/1e9
	default:
		r.Unit, amount = "GB/s", r.cost.Bytes/1e9
	}
	values := make([]float64, len(r.samples))
	for i, s := range r.samples {
		if values[i] = s; r.fixed == "" {
			values[i] = amount / s
		}
	}
	r.Mean, r.StdDev, r.Median = measure.Stats(values)
	r.Reps = len(values)
	if least > 0 && r.Seconds > 0 {
		if r.Limit = least; r.fixed == "" {
			r.Limit = amount / least
		}
		r.Share = least / r.Seconds
	}
}

// least is the shortest time that one call can take.
func (r *Row) least(l Limits) float64 {
	if r.phases == nil {
		return l.seconds(r.cost)
	}
	sum := 0.0
	for _, c := range r.phases {
		sum += l.seconds(c)
	}
	return sum
}

// inPhases sets the costs of parts that cannot overlap.
func (r *Row) inPhases(phases ...ops.Cost) {
	r.phases = phases
	r.cost = ops.Cost{Type: phases[0].Type}
	for _, c := range phases {
		r.cost.FLOPs, r.cost.Bytes = r.cost.FLOPs+c.FLOPs, r.cost.Bytes+c.Bytes
	}
}
