package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
	"github.com/zerosearch-go/zerosearch/bench/peers"
)

// PeerOptions choose the peers and tests.
type PeerOptions struct {
	Options
	Python string // interpreter with torch; "": not measured
	// folder of a llama.cpp build: bin/llama-bench, model-bf16.gguf, model-q8_0.gguf of the same model; "": not
	// measured
	Llama string
	// the same of ik_llama.cpp; model files that it lacks are taken from Llama
	IKLlama string
	Only    string       // regular expression for tests' names
	Pairs   int          // alternating pairs of each test; 0: 11
	Shapes  []TrainShape // of training
}

// Peers measures all tests of the available peers, in pairs: ours, theirs; theirs, ours; and so on. With an error it
// also returns the finished rows.
func Peers(ctx context.Context, o PeerOptions) (rows []peers.Row, err error) {
	o.Options = o.withDefaults()
	if o.Pairs == 0 {
		o.Pairs = 11
	}
	only, err := regexp.Compile(o.Only)
	if err != nil {
		return nil, fmt.Errorf("reading --only: %w", err)
	}
	if o.Python == "" && o.Llama == "" && o.IKLlama == "" {
		return nil, errors.New("there is no peer to compare with: give --python FILE (torch), --llama DIR (llama.cpp) " +
			"or --ik-llama DIR (ik_llama.cpp)")
	}
	var names []string // tests that only excludes
	for _, threads := range o.Threads {
		for _, family := range []func(context.Context, PeerOptions, int, func(peers.Contest) error) error{matmulPeers,
			modelPeers, llamaPeers} {
			err := family(ctx, o, threads, func(c peers.Contest) error {
				name := c.Name + " " + c.DType + " " + c.Peer
				if !only.MatchString(name) {
					names = append(names, name)
					return nil
				}
				row, err := c.Run(ctx, o.Pairs, o.Say)
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
		return nil, fmt.Errorf("--only %q matches none of the tests: %s", o.Only, strings.Join(withoutShapes(names), ", "))
	}
	return rows, nil
}

// withoutShapes names tests of products that differ in their shapes only once, as MxKxN.
func withoutShapes(names []string) (kinds []string) {
	shape := regexp.MustCompile(`\b\d+x\d+x\d+\b`)
	for _, n := range names {
		if n = shape.ReplaceAllString(n, "MxKxN"); !slices.Contains(kinds, n) {
			kinds = append(kinds, n)
		}
	}
	return kinds
}

// WritePeers prints a comparison as md or json. Above the table of md it says where we lose.
func WritePeers(w io.Writer, format string, rows []peers.Row) error {
	return writeAs(w, "the comparison", format, view{"md", func(w io.Writer) error {
		fmt.Fprintf(w, "%s, %s\n\n%s\n\n", cpuName(), time.Now().UTC().Format(time.RFC3339), whereWeLose(rows))
		return writePeers(w, rows)
	}}, asJSON(append([]peers.Row{}, rows...)))
}

// whereWeLose names the rows of a peer that is faster, the worst first.
func whereWeLose(rows []peers.Row) string {
	lost := slices.DeleteFunc(slices.Clone(rows), func(r peers.Row) bool { return r.Ratio >= 1 })
	slices.SortStableFunc(lost, func(a, b peers.Row) int { return cmp.Compare(a.Ratio, b.Ratio) })
	var list []string
	for _, r := range lost {
		list = append(list, fmt.Sprintf("%s %s with %d threads (%.2f of %s)", r.Test, r.DType, r.Threads, r.Ratio, r.Peer))
	}
	if len(list) == 0 {
		list = []string{"nowhere"}
	}
	return "where we lose: " + strings.Join(list, ", ")
}

func writePeers(w io.Writer, rows []peers.Row) error {
	table := [][]string{{"test", "dtype", "threads", "ours", "peer's", "unit", "ratio", "from - to", "pairs", "peer"}}
	for _, r := range rows {
		ratio := fmt.Sprintf("%.2f", r.Ratio)
		if r.Foreign > measure.Disturbed {
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
