package bench

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
	"github.com/zerosearch-go/zerosearch/bench/ops"
)

// Report is a list of rows with a description of machine and run.
type Report struct {
	Date    time.Time
	CPU     string
	Cores   int
	Go      string
	Command string         // the command that repeats the measurement; may be empty
	Limits  map[int]Limits // by number of threads
	Rows    []Row
}

// NewReport makes a report of rows measured on this machine.
func NewReport(rows []Row, limits map[int]Limits) *Report {
	return &Report{Date: time.Now().UTC(), CPU: cpuName(), Cores: runtime.NumCPU(), Go: runtime.Version(),
		Limits: limits, Rows: rows}
}

// Formats are the formats of Write: the values of -o.
var Formats = []string{"md", "json", "csv", "bench"}

// Write prints r as format: md, a table as llama-bench prints it; json, an array of rows; csv; bench, lines as
// `go test -bench` prints them, one a repetition, for benchstat.
func Write(w io.Writer, format string, r *Report) error {
	return writeAs(w, "the results", format,
		view{"md", func(w io.Writer) error { writeMarkdown(w, r); return nil }},
		asJSON(append([]Row{}, r.Rows...)),
		view{"csv", func(w io.Writer) error { return writeCSV(w, r) }},
		view{"bench", func(w io.Writer) error { writeBench(w, r); return nil }})
}

// view is a format and what prints in it.
type view struct {
	format string
	print  func(w io.Writer) error
}

// asJSON prints x as indented JSON.
func asJSON(x any) view {
	return view{"json", func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(x)
	}}
}

// writeAs prints what by the view of format.
func writeAs(w io.Writer, what, format string, views ...view) error {
	var names []string
	for _, v := range views {
		if v.format != format {
			names = append(names, v.format)
			continue
		}
		b := bufio.NewWriter(w)
		err := v.print(b)
		if err == nil {
			err = b.Flush()
		}
		if err != nil {
			return fmt.Errorf("writing %s: %w", what, err)
		}
		return nil
	}
	return fmt.Errorf("writing %s: unknown format %q: use one of %s", what, format, strings.Join(names, ", "))
}

func writeMarkdown(w io.Writer, r *Report) {
	fmt.Fprintf(w, "%s, %d cores, %s, %s\n", r.CPU, r.Cores, r.Go, r.Date.Format(time.RFC3339))
	if r.Command != "" {
		fmt.Fprintf(w, "\n    %s\n", r.Command)
	}
	fmt.Fprintln(w)
	for _, t := range slices.Sorted(maps.Keys(r.Limits)) {
		if l := r.Limits[t]; l.Read > 0 {
			fmt.Fprintf(w,
				"limits, %d thread(s): f32 %.0f GFLOP/s, bf16 %.0f GFLOP/s, q8 %.0f GOP/s, read %.1f GB/s\n\n", t,
				l.F32/1e9, l.BF16/1e9, l.Q8/1e9, l.Read/1e9)
		}
	}
	table := [][]string{{"test", "of", "shape", "dtype", "path", "threads", "result", "unit", "limit", "share",
		"GFLOP/s", "GB/s"}}
	for _, x := range r.Rows {
		result := fmt.Sprintf("%s ± %s", short(x.Mean), short(x.StdDev))
		if x.Foreign > measure.Disturbed {
			result += fmt.Sprintf(" ! %.1f", x.Foreign)
		}
		limit, share := "?", "?"
		if x.Limit > 0 {
			limit, share = short(x.Limit), fmt.Sprintf("%.0f%%", 100*x.Share)
		}
		table = append(table, []string{x.Op, x.Of, x.Shape.String(), x.DType, x.Path, strconv.Itoa(x.Threads), result,
			x.Unit, limit, share, short(x.GFLOPS), short(x.GBS)})
	}
	writeTable(w, table)
	for _, x := range r.Rows {
		if x.PeakRSS > 0 {
			fmt.Fprintf(w, "\n%s, %d thread(s): peak %.0f MiB of anonymous memory, %s TFLOP, floor %s s (%.0f%%)", x.Op,
				x.Threads, float64(x.PeakAnonymous)/(1<<20), short(x.TFLOP), short(x.Floor), 100*x.Share)
			if x.Useful > 0 {
				fmt.Fprintf(w, ", %s useful tokens/s", short(x.Useful))
			}
			for _, part := range splitNames(x.Split) {
				fmt.Fprintf(w, ", %s %s s", part, short(x.Split[part]))
			}
			fmt.Fprintln(w)
		}
		if x.Ranks > 1 {
			fmt.Fprintf(w, "\n%d ranks: %.2f times as fast as one with the same threads, efficiency %.0f%%\n", x.Ranks,
				x.Speedup, 100*x.Efficiency)
		}
		if len(x.Peers) > 0 {
			fmt.Fprintln(w)
			_ = writePeers(w, x.Peers) // w keeps its error
		}
	}
	if slices.ContainsFunc(r.Rows, func(x Row) bool { return x.Foreign > measure.Disturbed }) {
		fmt.Fprintf(w, "\n! n: others kept n cores busy meanwhile, which slows the limits down as well: measure "+
			"again on a quiet machine.\n")
	}
}

// stepParts orders the parts of a step.
var stepParts = []string{"rollouts", "search", "reward", "reference", "update", "forward+backward", "optimizer"}

func splitNames(s map[string]float64) (out []string) {
	for _, p := range stepParts {
		if _, ok := s[p]; ok {
			out = append(out, p)
		}
	}
	return out
}

// writeTable prints a Markdown table whose columns are aligned; numbers stand to the right.
func writeTable(w io.Writer, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, c := range r {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	line := func(cells []string) {
		for i, c := range cells {
			pad := strings.Repeat(" ", width[i]-len([]rune(c)))
			if numeric(c) {
				c = pad + c
			} else {
				c += pad
			}
			fmt.Fprintf(w, "| %s ", c)
		}
		fmt.Fprintln(w, "|")
	}
	line(rows[0])
	rule := make([]string, len(width))
	for i, n := range width {
		rule[i] = strings.Repeat("-", n)
	}
	line(rule)
	for _, r := range rows[1:] {
		line(r)
	}
}

func numeric(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

// short formats x with three or four significant digits and no exponent.
func short(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x >= 1000 || x <= -1000:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case x >= 100:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case x >= 1:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

func writeCSV(w io.Writer, r *Report) error {
	c := csv.NewWriter(w)
	head := []string{"op", "model", "shape", "dtype", "path", "threads", "mean", "stddev", "median", "unit", "limit",
		"share", "reps", "seconds", "gflops", "gbs", "foreign_cores", "peak_rss_bytes"}
	if err := c.Write(head); err != nil {
		return err
	}
	num := func(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }
	for _, x := range r.Rows {
		if err := c.Write([]string{x.Op, x.Of, x.Shape.String(), x.DType, x.Path, strconv.Itoa(x.Threads), num(x.Mean),
			num(x.StdDev), num(x.Median), x.Unit,
			num(x.Limit), num(x.Share), strconv.Itoa(x.Reps), num(x.Seconds), num(x.GFLOPS), num(x.GBS), num(x.Foreign),
			strconv.FormatInt(x.PeakRSS, 10)}); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

func writeBench(w io.Writer, r *Report) {
	fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: github.com/zerosearch-go/zerosearch/bench\ncpu: %s\n", runtime.GOOS,
		runtime.GOARCH, r.CPU)
	for _, x := range r.Rows {
		name := "Benchmark" + benchName(x.Op)
		if x.Of != "" {
			name += "/" + benchName(x.Of)
		}
		for _, d := range ops.Dims {
			if v, ok := x.Shape[d]; ok {
				name += fmt.Sprintf("/%s=%d", d, v)
			}
		}
		name += fmt.Sprintf("/%s/%s-%d", x.DType, x.Path, x.Threads)
		for _, s := range x.samples {
			fmt.Fprintf(w, "%s\t1\t%.0f ns/op", name, s*1e9)
			if x.work > 0 {
				fmt.Fprintf(w, "\t%.4f t/s", x.work/s)
			}
			if x.cost.FLOPs > 0 {
				fmt.Fprintf(w, "\t%.4f GFLOP/s", x.cost.FLOPs/s/1e9)
			}
			if x.cost.Bytes > 0 {
				fmt.Fprintf(w, "\t%.4f GB/s", x.cost.Bytes/s/1e9)
			}
			if x.Limit > 0 {
				fmt.Fprintf(w, "\t%.2f %%limit", 100*x.least(r.Limits[x.Threads])/s)
			}
			fmt.Fprintln(w)
		}
	}
}

// benchName converts s to a benchmark's name, which has no spaces and begins with a capital letter after "Benchmark".
func benchName(s string) string {
	s = strings.Map(func(c rune) rune {
		if c == ' ' || c == '/' {
			return '_'
		}
		return c
	}, s)
	return strings.ToUpper(s[:1]) + s[1:]
}

// cpuName is the system's name of the processor.
func cpuName() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	return modelName(string(data))
}

// modelName reads /proc/cpuinfo. In virtual machines different processors have the same short name, with rates that
// differ by a factor of two, so family and model are added.
func modelName(cpuinfo string) string {
	fields := map[string]string{}
	for line := range strings.Lines(cpuinfo) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			if k = strings.TrimSpace(k); fields[k] == "" {
				fields[k] = strings.TrimSpace(v)
			}
		}
	}
	name := fields["model name"]
	if name == "" {
		return runtime.GOARCH
	}
	if fields["cpu family"] != "" {
		name += fmt.Sprintf(" (family %s, model %s)", fields["cpu family"], fields["model"])
	}
	return name
}
