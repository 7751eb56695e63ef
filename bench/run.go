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

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
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
		last := time.Now()
		for i, c := range cases {
			if time.Since(last) > 10*time.Second { // the machine's load changes: keep the best limits
				if err := l.measure(d); err != nil {
					return rows, err
				}
				last = time.Now()
			}
			o.Say("%d/%d %s %v %v", i+1, len(cases), c.op, c.shape, c.dtype)
			r, err := c.measure(ctx, d, o)
			if err != nil {
				return rows, fmt.Errorf("measuring %s of %v in %v: %w", c.op, c.shape, c.dtype, err)
			}
			rows = append(rows, r)
		}
		return rows, nil
	})
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
		w := newWatch()
		if err = l.measure(d); err == nil {
			var rows []Row
			if rows, err = f(d, &l); err == nil {
				err = l.measure(d)
			}
			load := max(0, w.foreign())
			for i := range rows {
				rows[i].Path, rows[i].Threads = path, n
				if rows[i].Foreign == unknown {
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
func (o Options) choose() ([]opCase, error) {
	op, err := regexp.Compile(o.Op)
	if err != nil {
		return nil, fmt.Errorf("reading --op: %w: give a regular expression for the operation's name", err)
	}
	var models []string
	var products []opCase
	for _, s := range o.Shapes {
		if m, k, n, ok := parseProduct(s); ok {
			products = append(products, productCases(m, k, n)...)
			continue
		}
		named, err := findShape(s)
		if err != nil {
			return nil, fmt.Errorf("reading --shape: %w, or MxKxN", err)
		}
		models = append(models, named.Name)
	}
	if len(o.Shapes) == 0 {
		for _, s := range Shapes {
			if s.Micro {
				models = append(models, s.Name)
			}
		}
	}
	var out []opCase
	for _, c := range append(opCases(models), products...) {
		if op.MatchString(c.op) && (len(o.DTypes) == 0 || slices.Contains(o.DTypes, c.dtype.String())) {
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
func productCases(m, k, n int) (out []opCase) {
	for _, t := range []kernels.DType{kernels.F32, kernels.BF16, kernels.Q8} {
		out = append(out, matmul(matrix{n, k, ""}, m, t))
	}
	return out
}

func opNames() (out []string) {
	for _, c := range opCases([]string{"tiny"}) {
		if !slices.Contains(out, c.op) {
			out = append(out, c.op)
		}
	}
	return out
}

// measure times a case; finish has still to be called.
func (c opCase) measure(ctx context.Context, d kernels.Device, o Options) (r Row, err error) {
	b := &bed{d: d}
	defer b.close()
	defer func() {
		if p := recover(); p != nil {
			e, ok := p.(bedError)
			if !ok {
				panic(p)
			}
			err = e.error
		}
	}()
	r = Row{Op: c.op, Of: c.of, Shape: c.shape, DType: c.dtype.String(), cost: c.cost}
	call := c.make(b)
	w := newWatch()
	r.samples, err = looped(ctx, o.Reps, o.Least, call, d.Sync)
	r.Foreign = w.foreign()
	return r, err
}
