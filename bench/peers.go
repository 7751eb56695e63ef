package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// PeerOptions choose the peers and tests.
type PeerOptions struct {
	Options
	Python string // interpreter with torch; "": not measured
	// folder of a llama.cpp build: bin/llama-bench, model-bf16.gguf, model-q8_0.gguf of the same model; "": not
	// measured
	Llama  string
	Only   string       // regular expression for tests' names
	Pairs  int          // alternating pairs of each test; 0: 11
	Shapes []TrainShape // of training
}

// PeerRow is the comparison of one test. Ratios are our speed divided by theirs, above 1 if we are faster. Each ratio
// is of two consecutive runs.
type PeerRow struct {
	Test     string  `json:"test"`
	Peer     string  `json:"peer"`
	DType    string  `json:"dtype"`
	Threads  int     `json:"threads"`
	Unit     string  `json:"unit"`
	Ours     float64 `json:"ours"`   // median
	Theirs   float64 `json:"theirs"` // median
	Ratio    float64 `json:"ratio"`  // median of the pairs' ratios
	RatioMin float64 `json:"ratio_min"`
	RatioMax float64 `json:"ratio_max"`
	Pairs    int     `json:"pairs"`         // number of pairs used: the undisturbed ones, if there are at least three
	Foreign  float64 `json:"foreign_cores"` // of the most disturbed pair that is used
}

// contest is a test that ours and a peer run alternately; each returns its speed.
type contest struct {
	name, peer, dtype, unit string
	ours, theirs            func(ctx context.Context) (float64, error)
	// both need no warm-up, and a sample takes too long to be repeated if it was disturbed
	warm bool
	live func() []int // the peer's processes that stay alive; nil: none
}

// tries is the maximum number of measurements of a disturbed pair; the least disturbed one is used.
const tries = 3

// Peers measures all tests of the available peers, in pairs: ours, theirs; theirs, ours; and so on. With an error it
// also returns the finished rows.
func Peers(ctx context.Context, o PeerOptions) (rows []PeerRow, err error) {
	o.Options = o.withDefaults()
	if o.Pairs == 0 {
		o.Pairs = 11
	}
	only, err := regexp.Compile(o.Only)
	if err != nil {
		return nil, fmt.Errorf("reading --only: %w", err)
	}
	if o.Python == "" && o.Llama == "" {
		return nil,
			errors.New("there is no peer to compare with: give --python FILE (torch) or --llama DIR (llama.cpp)")
	}
	var names []string // tests that only excludes
	for _, threads := range o.Threads {
		for _, family := range []func(context.Context, PeerOptions, int, func(contest) error) error{matmulPeers,
			modelPeers, llamaPeers} {
			err := family(ctx, o, threads, func(c contest) error {
				name := c.name + " " + c.dtype + " " + c.peer
				if !only.MatchString(name) {
					names = append(names, name)
					return nil
				}
				row, err := c.run(ctx, o)
				if err == nil {
					row.Threads = threads
					rows = append(rows, row)
				}
				return err
			})
			if err != nil {
				return rows, err
			}
		}
	}
	if len(rows) == 0 && len(names) > 0 {
		return nil, fmt.Errorf("--only %q matches none of the tests: %s", o.Only, strings.Join(names, ", "))
	}
	return rows, nil
}

// run measures the pairs of a contest, after a warm-up of both.
func (c contest) run(ctx context.Context, o PeerOptions) (PeerRow, error) {
	row := PeerRow{Test: c.name, Peer: c.peer, DType: c.dtype, Unit: c.unit}
	for _, side := range []func(context.Context) (float64, error){c.ours, c.theirs} {
		if c.warm {
			break
		}
		if _, err := side(ctx); err != nil {
			return row, fmt.Errorf("%s, %s: %w", c.name, c.peer, err)
		}
	}
	var pairs []pair
	for i := range o.Pairs {
		o.Say("%s %s beside %s: pair %d/%d", c.name, c.dtype, c.peer, i+1, o.Pairs)
		p, err := c.pair(ctx, i%2 == 1)
		if err != nil {
			return row, fmt.Errorf("%s, %s: %w", c.name, c.peer, err)
		}
		pairs = append(pairs, p)
	}
	row.sum(pairs)
	return row, nil
}

// pair is one run of ours and one of the peer.
type pair struct{ ours, theirs, foreign float64 }

// sum computes the medians.
func (row *PeerRow) sum(pairs []pair) {
	loud := func(p pair) bool { return p.foreign > disturbed }
	if quiet := slices.DeleteFunc(slices.Clone(pairs), loud); len(quiet) >= 3 {
		pairs = quiet
	}
	var ours, theirs, ratios []float64
	for _, p := range pairs {
		ours, theirs, ratios = append(ours, p.ours), append(theirs, p.theirs), append(ratios, p.ours/p.theirs)
		row.Foreign = max(row.Foreign, p.foreign)
	}
	row.Pairs = len(pairs)
	_, _, row.Ours = stats(ours)
	_, _, row.Theirs = stats(theirs)
	_, _, row.Ratio = stats(ratios)
	row.RatioMin, row.RatioMax = slices.Min(ratios), slices.Max(ratios)
}

// pair measures ours and the peer once, and again if other processes disturbed it.
func (c contest) pair(ctx context.Context, peerFirst bool) (best pair, err error) {
	best.foreign = math.Inf(1)
	for range tries {
		if err := ctx.Err(); err != nil {
			return best, err
		}
		var pids []int
		if c.live != nil {
			pids = c.live()
		}
		w := newWatch(pids...)
		var p pair
		first := func() (err error) { p.ours, err = c.ours(ctx); return err }
		second := func() (err error) { p.theirs, err = c.theirs(ctx); return err }
		if peerFirst {
			first, second = second, first
		}
		if err := errors.Join(first(), second()); err != nil {
			return best, err
		}
		if p.foreign = max(0, w.foreign()); p.foreign < best.foreign {
			best = p
		}
		if best.foreign <= disturbed || c.warm {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	return best, nil
}

// WritePeers prints a comparison as md or json.
func WritePeers(w io.Writer, format string, rows []PeerRow) error {
	return writeAs(w, "the comparison", format, view{"md", func(w io.Writer) error {
		fmt.Fprintf(w, "%s, %s\n\n", cpuName(), time.Now().UTC().Format(time.RFC3339))
		return writePeers(w, rows)
	}}, asJSON(append([]PeerRow{}, rows...)))
}

func writePeers(w io.Writer, rows []PeerRow) error {
	table := [][]string{{"test", "dtype", "threads", "ours", "peer's", "unit", "ratio", "from - to", "pairs", "peer"}}
	for _, r := range rows {
		ratio := fmt.Sprintf("%.2f", r.Ratio)
		if r.Foreign > disturbed {
			ratio += fmt.Sprintf(" ! %.1f", r.Foreign)
		}
		table = append(table, []string{r.Test, r.DType, fmt.Sprint(r.Threads), short(r.Ours), short(r.Theirs), r.Unit,
			ratio,
			fmt.Sprintf("%.2f - %.2f", r.RatioMin, r.RatioMax), fmt.Sprint(r.Pairs), r.Peer})
	}
	writeTable(w, table)
	_, err := fmt.Fprintf(w,
		"\nratio: ours to theirs, median of the pairs' ratios; ! n: others kept up to n cores busy during a pair\n")
	return err
}

// matmulPeers compares linear layers with oneDNN, its weights packed once, called through torch. Its activations are
// bf16 already, ours are converted within the time.
func matmulPeers(ctx context.Context, o PeerOptions, threads int, run func(contest) error) error {
	if o.Python == "" {
		return nil
	}
	s, err := startServer(ctx, o.Python, threads)
	if err != nil {
		return err
	}
	defer s.close()
	d, _, _, err := o.open(threads)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, t := range []kernels.DType{kernels.F32, kernels.BF16} {
		for _, w := range matrices([]string{"smollm2-135m", "qwen2.5-3b", "llama3.2-1b"}) {
			for _, m := range []int{1, 4, 16, 64, 256, 512} {
				if err := matmulPeer(d, s, w, m, t, run); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func matmulPeer(d kernels.Device, s *server, w matrix, m int, t kernels.DType, run func(contest) error) error {
	c := matmul(w, m, t)
	b := &bed{d: d}
	defer b.close()
	var call func(int)
	gflop := c.cost.flops / 1e9
	const least = 100 * time.Millisecond
	return run(contest{name: fmt.Sprintf("matmul %dx%dx%d", m, w.k, w.n), peer: s.version + " oneDNN",
		dtype: t.String(), unit: "GFLOP/s", live: func() []int { return []int{s.pid()} },
		ours: func(ctx context.Context) (float64, error) {
			if call == nil {
				call = c.make(b)
			}
			x, err := looped(ctx, 5, least/5, call, d.Sync)
			_, _, median := stats(x)
			return gflop / median, err
		},
		theirs: func(context.Context) (float64, error) {
			sec, err := s.ask(request{Do: "matmul", DType: t.String(), M: m, K: w.k, N: w.n, Least: least.Seconds()})
			return gflop / sec, err
		}})
}
