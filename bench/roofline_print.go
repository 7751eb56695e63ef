package bench

import (
	"fmt"
	"io"
	"strconv"
)

// WriteRoofline prints r as tables (md), or as one object (json).
func WriteRoofline(w io.Writer, format string, r *Roofline) error {
	return writeAs(w, "the roofline", format,
		view{"md", func(w io.Writer) error { r.print(w); return nil }}, asJSON(r))
}

func (r *Roofline) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n", r.On.Name)
	l := r.On.Limits
	fmt.Fprintf(w, "limits, %s: %s TB/s, %s TFLOP/s bf16, %s TFLOP/s f32\n", r.On.Source,
		short(l.Read/1e12), short(l.BF16/1e12), short(l.F32/1e12))
	if s := r.On.Sheet; s != l && s.Read > 0 {
		fmt.Fprintf(w, "the data sheet: %s TB/s, %s TFLOP/s bf16 (dense), %s TFLOP/s f32\n",
			short(s.Read/1e12), short(s.BF16/1e12), short(s.F32/1e12))
	}
	r.Policy.print(w, "policy")
	if r.Simulator != nil {
		r.Simulator.print(w, "simulator")
	}
	fmt.Fprint(w, `
These numbers are computed, not measured. "least" is the time at the limits. "expected" is the time at the share of them that kernels
are expected to reach:
`)
	for _, k := range []phaseKind{prefilling, decoding, scoring, updating} {
		x := r.On.Reached[k]
		fmt.Fprintf(w, "  %-9s  %.0f%% of the bandwidth, %.0f%% of the arithmetic\n", k, 100*x.Memory, 100*x.Arithmetic)
	}
	fmt.Fprint(w, `"overlapped" is "expected" if activations cost nothing, and if reading and computing went on together throughout a pass.
`)
	for _, p := range r.Passes {
		p.print(w)
	}
	r.printSummary(w)
	r.printStep(w)
	r.printMemory(w)
}

func (m *RooflineModel) print(w io.Writer, role string) {
	fmt.Fprintf(w, "%s %s: %.2f billion parameters, %.2f GB in %s, %.1f KiB of keys and values a token\n", role, m.Name,
		float64(m.Parameters)/1e9, float64(m.Weights)/1e9, m.DType, float64(m.KV)/(1<<10))
}

// seconds formats a time with a suitable unit.
func seconds(x float64) string {
	switch {
	case x < 1e-6:
		return short(1e9*x) + " ns"
	case x < 1e-3:
		return short(1e6*x) + " us"
	case x < 1:
		return short(1e3*x) + " ms"
	}
	return short(x) + " s"
}

func (p *RooflinePass) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s, %s: %s", p.Name, p.Model, plural(p.Sequences, "sequence"))
	if p.Tokens == 1 {
		fmt.Fprintf(w, ", a token each, context %d\n\n", p.Context)
	} else {
		fmt.Fprintf(w, " of %d tokens\n\n", p.Tokens)
	}
	table := [][]string{{"kernel", "calls", "MB", "GFLOP", "FLOP/byte", "bound by", "least", "expected", "share"}}
	row := func(name string, calls string, t RooflineTime, bound string) {
		table = append(table, []string{name, calls, short(t.Bytes / 1e6), short(t.FLOPs / 1e9),
			short(t.FLOPs / t.Bytes), bound,
			seconds(t.Least), seconds(t.Seconds), fmt.Sprintf("%.0f%%", 100*t.Seconds/p.Seconds)})
	}
	calls := 0.0
	for _, k := range p.Kernels {
		row(k.Kernel, strconv.FormatFloat(k.Calls, 'f', 0, 64), k.RooflineTime, k.Bound)
		calls += k.Calls
	}
	row("together", strconv.FormatFloat(calls, 'f', 0, 64), p.RooflineTime, "")
	writeTable(w, table)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// printSummary prints one line for each pass.
func (r *Roofline) printSummary(w io.Writer) {
	fmt.Fprintln(w)
	table := [][]string{{"pass", "of", "sequences", "context", "least", "expected", "tokens/s", "overlapped",
		"tokens/s overlapped"}}
	for _, p := range r.Passes {
		table = append(table, []string{p.Name, p.Model, strconv.Itoa(p.Sequences), strconv.Itoa(p.Context),
			seconds(p.Least), seconds(p.Seconds),
			short(p.Rate), seconds(p.Overlapped), short(p.Rate * p.Seconds / p.Overlapped)})
	}
	writeTable(w, table)
}

func (r *Roofline) printStep(w io.Writer) {
	s := &r.Step
	fmt.Fprintf(w, "\nA step of %d x %d episodes, %d turns of %d tokens, %d tokens of documents between two: %d "+
		"tokens are trained on.\n\n",
		s.Questions, s.N, s.Turns, s.Response, s.Observation, s.Tokens)
	table := [][]string{{"phase", "TB", "TFLOP", "least", "expected", "overlapped"}}
	row := func(name string, t RooflineTime) {
		table = append(table, []string{name, short(t.Bytes / 1e12), short(t.FLOPs / 1e12),
			seconds(t.Least), seconds(t.Seconds), seconds(t.Overlapped)})
	}
	for _, p := range s.Phases {
		row(p.Name, p.RooflineTime)
	}
	row("together", s.RooflineTime)
	writeTable(w, table)
	fmt.Fprintf(w, "\nWhere log-probs recorded while sampling are not those of training, scoring the policy's own "+
		"tokens again adds %s.\n",
		seconds(s.Old))
}

func (r *Roofline) printMemory(w io.Writer) {
	fmt.Fprintln(w)
	table := [][]string{{"memory of", "use", "GiB", "detail"}}
	for _, l := range r.Memory.Lines {
		table = append(table, []string{l.Model, l.What, fmt.Sprintf("%.2f", float64(l.Bytes)/(1<<30)), l.Detail})
	}
	table = append(table, []string{"together", "", fmt.Sprintf("%.2f", float64(r.Memory.Total)/(1<<30)), ""})
	writeTable(w, table)
	switch {
	case !r.Fits:
		fmt.Fprintf(w, "\nIt does not fit: %s.\n", r.Why)
	case r.On.Memory > 0:
		fmt.Fprintf(w, "\nIt fits into %.1f GiB.\n", float64(r.On.Memory)/(1<<30))
	}
}
