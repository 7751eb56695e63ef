package bench

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
	"github.com/zerosearch-go/zerosearch/num"
)

// Options are options of all measurements.
type Options struct {
	Device  string // as devices.Open takes it; "": the cpu
	Threads []int  // numbers of threads to measure with; empty: all usable cores
	Reps    int    // timed repetitions; 0: 5
	Say     func(format string, args ...any)

	// Kernels only.
	Op     string        // regular expression for the operation; "": all
	Shapes []string      // names of models with these shapes, or products MxKxN; empty: the models marked Micro
	DTypes []string      // f32, bf16, q8; none: all
	Least  time.Duration // minimal time of a repetition; 0: 40 ms

	// Models only.
	Model  string // folder; or
	Shape  string // a named shape with random weights
	DType  kernels.DType
	KVType kernels.DType // 0: as the engine chooses
	Seed   uint64
}

func (o Options) withDefaults() Options {
	if o.Reps <= 0 {
		o.Reps = 5
	}
	if len(o.Threads) == 0 {
		o.Threads = []int{0}
	}
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	if o.Least == 0 {
		o.Least = 40 * time.Millisecond
	}
	if o.DType == 0 {
		o.DType = kernels.BF16
	}
	return o
}

// open opens the device with a number of threads and returns that number and the kernel path.
func (o Options) open(threads int) (d kernels.Device, n int, path string, err error) {
	if d, err = devices.Open(cmp.Or(o.Device, devices.CPU), devices.Options{Threads: threads}); err != nil {
		return nil, 0, "", err
	}
	if c, ok := d.(*cpu.Device); ok {
		return c, c.Threads(), c.Path(), nil
	}
	return d, 1, d.Name(), nil
}

// Kernels measures operations of kernels.Ops, each on several shapes of real models, and returns a row a case and
// thread count.
func Kernels(ctx context.Context, o Options) (*Report, error) {
	o = o.withDefaults()
	cases, err := o.choose()
	if err != nil {
		return nil, err
	}
	return o.eachDevice(func(d kernels.Device, l *Limits) ([]Row, error) {
		var rows []Row
		last, q4 := time.Now(), holdsQ4(d)
		for i, c := range cases {
			if c.DType == kernels.Q4 && !q4 {
				o.Say("%s of q4 is left out: %s has no weights of that type", c.Op, d.Name())
				continue
			}
			if time.Since(last) > 10*time.Second { // the machine's load changes: keep the best limits
				if err := l.measure(d); err != nil {
					return rows, err
				}
				last = time.Now()
			}
			o.Say("%d/%d %s %v %v", i+1, len(cases), c.Op, c.Shape, c.DType)
			r, err := measureCase(ctx, c, d, o)
			if err != nil {
				return rows, fmt.Errorf("measuring %s of %v in %v: %w", c.Op, c.Shape, c.DType, err)
			}
			rows = append(rows, r)
		}
		return rows, nil
	})
}

// holdsQ4 reports whether d has weights of Q4; not all devices do.
func holdsQ4(d kernels.Device) bool {
	w, err := d.NewWeight(1, num.Q4Group, kernels.Q4)
	if err == nil {
		w.Free()
	}
	return err == nil
}

// eachDevice measures with every number of threads. f's rows get the best limits measured before, during and after f.
func (o Options) eachDevice(f func(d kernels.Device, l *Limits) ([]Row, error)) (*Report, error) {
	limits := map[int]Limits{}
	var all []Row
	for _, threads := range o.Threads {
		d, n, path, err := o.open(threads)
		if err != nil {
			return nil, err
		}
		var l Limits
		w := measure.NewWatch()
		if err = l.measure(d); err == nil {
			var rows []Row
			if rows, err = f(d, &l); err == nil {
				err = l.measure(d)
			}
			load := max(0, w.Foreign())
			for i := range rows {
				rows[i].Path, rows[i].Threads = path, n
				if rows[i].Foreign == measure.Unknown {
					rows[i].Foreign = load
				}
				rows[i].finish(l)
			}
			all = append(all, rows...)
		}
		limits[n] = l
		if cerr := d.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return nil, err
		}
	}
	return NewReport(all, limits), nil
}

// choose applies the filters.
func (o Options) choose() ([]ops.Case, error) {
	op, err := regexp.Compile(o.Op)
	if err != nil {
		return nil, fmt.Errorf("reading --op: %w: give a regular expression for the operation's name", err)
	}
	var models []string
	var products []ops.Case
	for _, s := range o.Shapes {
		if m, k, n, ok := parseProduct(s); ok {
			products = append(products, productCases(m, k, n)...)
			continue
		}
		named, err := ops.FindModel(s)
		if err != nil {
			return nil, fmt.Errorf("reading --shape: %w, or MxKxN", err)
		}
		models = append(models, named.Name)
	}
	if len(o.Shapes) == 0 {
		for _, s := range ops.Models {
			if s.Micro {
				models = append(models, s.Name)
			}
		}
	}
	var out []ops.Case
	for _, c := range append(ops.Cases(models), products...) {
		if op.MatchString(c.Op) && (len(o.DTypes) == 0 || slices.Contains(o.DTypes, c.DType.String())) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no operation matches --op %q and --dtype %s: the operations are %s", o.Op,
			strings.Join(o.DTypes, ","), strings.Join(opNames(), ", "))
	}
	return out, nil
}

// parseProduct reads MxKxN.
func parseProduct(s string) (m, k, n int, ok bool) {
	parts := strings.Split(s, "x")
	if len(parts) != 3 {
		return 0, 0, 0, false
	}
	for i, p := range []*int{&m, &k, &n} {
		if *p, _ = strconv.Atoi(parts[i]); *p < 1 || *p > 1<<20 {
			return 0, 0, 0, false
		}
	}
	return m, k, n, true
}

// productCases are the matmul of one shape in all types.
func productCases(m, k, n int) (out []ops.Case) {
	for _, t := range ops.WeightTypes {
		out = append(out, ops.Matmul(ops.Matrix{N: n, K: k}, m, t))
	}
	return out
}

func opNames() (out []string) {
	for _, c := range ops.Cases([]string{"tiny"}) {
		if !slices.Contains(out, c.Op) {
			out = append(out, c.Op)
		}
	}
	return out
}

// measureCase times a case; finish has still to be called.
func measureCase(ctx context.Context, c ops.Case, d kernels.Device, o Options) (r Row, err error) {
	r = Row{Op: c.Op, Of: c.Of, Shape: c.Shape, DType: c.DType.String(), cost: c.Cost}
	call, free, err := c.Prepare(d)
	if err != nil {
		return r, err
	}
	defer free()
	w := measure.NewWatch()
	r.samples, err = measure.Looped(ctx, o.Reps, o.Least, call, d.Sync)
	r.Foreign = w.Foreign()
	return r, err
}
