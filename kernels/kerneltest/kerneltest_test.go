package kerneltest

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/num"
)

// The suite is tested by devices with one fault each: in a process of its own, the part named must fail and say the
// rule.
var faults = map[string]fault{
	"writes behind y":   {part: "matmul", rule: "nothing between or around them"},
	"changes an input":  {part: "swiglu", rule: "inputs are only read"},
	"leaves an element": {part: "embed", rule: "y[t] = w[ids[t]]"},
	"a wrong bit":       {part: "matmul", rule: "one chain of fused multiply-adds over k"},
	"depends on the batch": {part: "chain/rows",
		rule: "a row's bits do not depend on the rows beside it"},
	"depends on the place": {part: "chain/rows", rule: "a row's bits do not depend on its place"},
	"depends on the address": {part: "norm",
		rule: "where a tensor begins and how its rows are spaced changes no bit"},
	"is never twice the same":    {part: "rope", rule: "the same call gives the same bits every time"},
	"adds dW apart":              {part: "chain/dw", rule: "dW goes on with one chain"},
	"decodes otherwise":          {part: "chain/attention", rule: "decode gives the bits of prefill"},
	"sees other pages":           {part: "chain/attention", rule: "in which pages"},
	"reads stale slots":          {part: "chain/stale", rule: "slots behind a query"},
	"scores otherwise":           {part: "chain/logprob", rule: "rollout and trainer agree exactly"},
	"scales attention":           {part: "formula/attention", rule: "attention is softmax"},
	"scales matmul":              {part: "formula/matmul", rule: "a matmul is the sum"},
	"tempers the log-prob":       {part: "formula/logprob", rule: "a log-prob is"},
	"loses NaN":                  {part: "special", rule: "never lost"},
	"flushes denormals":          {part: "special", rule: "F32 chains keep denormals"},
	"forgets to add dx":          {part: "norm", rule: "dx = (dx +)"},
	"wrong dX":                   {part: "gradient/matmul", rule: "central differences"},
	"wrong dembedding":           {part: "gradient/embedding", rule: "central differences"},
	"wrong dnorm":                {part: "gradient/rmsnorm", rule: "central differences"},
	"rotates forward only":       {part: "gradient/rope", rule: "central differences"},
	"wrong dk":                   {part: "gradient/attention", rule: "central differences"},
	"wrong dgate":                {part: "gradient/swiglu", rule: "central differences"},
	"wrong scatter":              {part: "gradient/gather", rule: "central differences"},
	"wrong dentropy":             {part: "gradient/logprob", rule: "central differences"},
	"negates dentropy":           {part: "golden/logprob", rule: "are torch's"},
	"draws low":                  {part: "sampler/distribution", rule: "ids are drawn by their probability"},
	"keeps one more":             {part: "sampler/truncation", rule: "which is not among those"},
	"ignores min-p":              {part: "sampler/truncation", rule: "which is not among those"},
	"draws a little low":         {part: "sampler/truncation", rule: "the id drawn is the first"},
	"takes the last of the ties": {part: "sample", rule: "lowest id on ties"},
	"scores what is adjusted": {part: "sample",
		rule: "adjustments decide what is drawn, not how it is scored"},
	"forgets to divide":                  {part: "sampler/truncation", rule: "the id drawn is the first"},
	"miscounts the steps":                {part: "golden/adamw", rule: "AdamW is torch's"},
	"keeps the gradient":                 {part: "update", rule: "the bits of AdamW, Pack and Zero"},
	"scales the squares":                 {part: "golden/adamw", rule: "SumSquares adds"},
	"leaves memory dirty":                {part: "memory", rule: "Alloc returns zeroed memory"},
	"packs one row further":              {part: "weights", rule: "PackHost writes its rows and no others"},
	"copies no pages":                    {part: "cache", rule: "KVCopy copies pages"},
	"works on nothing":                   {part: "empty", rule: "zero rows change nothing"},
	"fails to close":                     {part: "nothing", rule: "Close returns"},
	"other bits with more threads":       {part: "same", rule: "whatever their number of threads"},
	"reads an upload late":               {part: "memory", rule: "may be reused when the call returns"},
	"reads a checkpoint late":            {part: "lists", rule: listRule},
	"reads ids late":                     {part: "lists", rule: listRule},
	"reads rows late":                    {part: "lists", rule: listRule},
	"reads positions late":               {part: "lists", rule: listRule},
	"reads slots late":                   {part: "lists", rule: listRule},
	"reads pages late":                   {part: "lists", rule: listRule},
	"reads draws late":                   {part: "lists", rule: listRule},
	"reads fed rows late":                {part: "lists", rule: listRule},
	"copies pages late":                  {part: "lists", rule: listRule},
	"draws late":                         {part: "lists", rule: listRule},
	"multiplies late":                    {part: "lists", rule: listRule},
	"fetches when waited for":            {part: "tickets", rule: "Fetch copies what the work queued before it left"},
	"fetches through one buffer":         {part: "tickets", rule: "tickets may be waited for in any order"},
	"works in one goroutine":             {part: "threads", rule: "on whatever thread of the operating system"},
	"replays the batch of its recording": {part: "record/f32", rule: recordRule},
	"forgets a call":                     {part: "record/f32", rule: recordRule},
	"runs what it records":               {part: "record/f32", rule: "what is recorded does not run"},
	"shows no error":                     {part: "errors", rule: "an error of queued work appears"},
	"forgets its error":                  {part: "errors", rule: "an error of queued work appears"},
	"shows another error":                {part: "errors", rule: "the first error of queued work stays"},
	"panics when it is lost":             {part: "errors", rule: "a broken device returns errors"},
	"counts rows in 16 bits":             {"many/swiglu", "y = gate*sigmoid(gate)*up", true},
	"counts positions in 16 bits":        {"many/positions/f32", "y = softmax", true},
	"counts segments in 16 bits":         {"segments", "every segment is attended to", true},
	"counts pages in 16 bits":            {"segments", "every segment is attended to", true},
	"forgets a page behind a partition":  {"attention/y/f32/h4g1d96/edges", "y = softmax", true},
	"forgets a page":                     {"attention/y/f32/h4g1d96/edges", "y = softmax", true},
	"has heads of 64":                    {"attention/y/f32/h2g1d256/edges", "y = softmax", true},
	"has heads of 64 back":               {"attention/backward/bf16/h3g3d80/edges", "dk += ds q", true},
	"forgets what is fed":                {"batch", "with the ids that were fed", true},
	"keeps the draws of the first rows":  {"batch", "Sample draws by draws [first, first+B)", true},
	"uploads whole words":                {"transfers", "the bytes of the tensor and no others", true},
	"packs its columns":                  {"columns", "MatMuls into columns that follow each other", true},
	"sums 128k words":                    {"vocabulary/logprob/f32", "over the whole vocabulary", true},
	"draws from 128k words":              {"draws", "the id drawn is the first", true},
	"computes a row of none":             {"matmul/y/f32/0x33x7", "nothing between or around them", true},
}

// fault is the part of the suite that must fail, and what it says. small: the device is a small, not a faulty one.
type fault struct {
	part, rule string
	small      bool
}

const listRule = "read before the call returns"

// The committed goldens are those of the whole set.
func TestGoldensAreCurrent(t *testing.T) {
	for name, committed := range map[string][]byte{"adamw": adamw, "logprob_entropy": logprobs} {
		whole, err := os.ReadFile(goldens.Path(t, "rl/"+name+".jsonl"))
		require.NoError(t, err)
		require.Equal(t, string(whole), string(committed), name)
	}
}

const faultVariable = "KERNELTEST_FAULT"

func TestEveryFaultIsFound(t *testing.T) {
	if os.Getenv(faultVariable) != "" {
		t.Skip("this process is one of those that the test starts")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := "^TestFaulty$/^" + strings.ReplaceAll(f.part, "/", "$/^") + "$"
			if f.part == "same" {
				run = "^TestFaultySame$/^swiglu$"
			}
			cmd := exec.Command(self, "-test.failfast", "-test.run="+run)
			cmd.Env = append(os.Environ(), faultVariable+"="+name)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.True(t, errors.As(err, &exit), "a device that %s passed %s:\n%s", name, f.part, out)
			require.Contains(t, string(out), f.rule)
		})
	}
}

// TestFaulty is what the processes run.
func TestFaulty(t *testing.T) {
	name := os.Getenv(faultVariable)
	if name == "" {
		t.Skip("run by TestEveryFaultIsFound")
	}
	Run(t, func() (kernels.Device, error) { return faultyDevice(name), nil }, Tolerances{Break: breakFailing})
}

func TestFaultySame(t *testing.T) {
	name := os.Getenv(faultVariable)
	if name == "" {
		t.Skip("run by TestEveryFaultIsFound")
	}
	Same(t, func() (kernels.Device, error) { return ref.New(), nil },
		func() (kernels.Device, error) { return &faulty{Device: ref.New(), fault: name}, nil })
}

// faulty is ref with one fault.
type faulty struct {
	kernels.Device
	fault   string
	calls   int
	layouts map[kernels.Batch]*kernels.Layout
}

func (d *faulty) is(fault string) bool { return d.fault == fault }

// edit changes the elements of an F32 tensor.
func (d *faulty) edit(t kernels.Tensor, f func(r, c int, x float32) float32) {
	row := make([]float32, t.Cols)
	for r := range t.Rows {
		at := t.RowRange(r, 1)
		if err := kernels.Download(d.Device, row, at); err != nil {
			panic(err)
		}
		for c := range row {
			row[c] = f(r, c, row[c])
		}
		kernels.Upload(d.Device, at, row)
	}
}

func times(by float32) func(r, c int, x float32) float32 {
	return func(_, _ int, x float32) float32 { return x * by }
}

// ulp changes the last bits of every element.
var ulp = times(1 + 0x1p-22)

func (d *faulty) Alloc(bytes int64) (kernels.Buffer, error) {
	b, err := d.Device.Alloc(bytes)
	if err == nil && d.is("leaves memory dirty") && bytes > 0 {
		kernels.Upload(d.Device, kernels.Mat(b, kernels.U8, 0, 1, 1), []byte{1})
	}
	return b, err
}

func (d *faulty) Close() error {
	if d.is("fails to close") {
		return errors.New("no")
	}
	return d.Device.Close()
}

func (d *faulty) PackHost(w kernels.Weight, row0 int, data []byte, src kernels.DType) {
	d.Device.PackHost(w, row0, data, src)
	if !d.is("packs one row further") {
		return
	}
	n, k := w.Shape()
	row := map[kernels.DType]int{kernels.Q8: kernels.Q8RowBytes(k), kernels.Q4: kernels.Q4RowBytes(k)}[src]
	if row == 0 {
		row = k * src.Size()
	}
	if r := row0 + len(data)/row; r < n {
		d.Device.PackHost(w, r, data[:row], src)
	}
}

func (d *faulty) Embed(y kernels.Tensor, w kernels.Weight, b kernels.Batch) {
	if d.is("leaves an element") && y.Rows > 1 {
		fewer := d.batch(kernels.Layout{IDs: d.layouts[b].IDs[:y.Rows-1]}, nil)
		defer fewer.Free()
		d.Device.Embed(y.RowRange(0, y.Rows-1), w, fewer)
		return
	}
	d.Device.Embed(y, w, b)
}

func (d *faulty) EmbedBackward(dw, dy kernels.Tensor, b kernels.Batch) {
	d.Device.EmbedBackward(dw, dy, b)
	if d.is("wrong dembedding") {
		d.edit(dw, times(1.001))
	}
}

func (d *faulty) RMSNorm(y, x, w kernels.Tensor, eps float32, rstd kernels.Tensor) {
	d.Device.RMSNorm(y, x, w, eps, rstd)
	if d.is("depends on the address") && y.Off%16 != 0 {
		d.edit(y, ulp)
	}
}

func (d *faulty) RMSNormBackward(dx, dw, dy, x, w, rstd kernels.Tensor, add bool) {
	if d.is("forgets to add dx") {
		add = false
	}
	d.Device.RMSNormBackward(dx, dw, dy, x, w, rstd, add)
	if d.is("wrong dnorm") {
		d.edit(dx, times(1.001))
	}
}

func (d *faulty) MatMul(y, x kernels.Tensor, w kernels.Weight, e kernels.Epilogue) {
	d.Device.MatMul(y, x, w, e)
	switch {
	case d.is("writes behind y") && y.Off > 0 && y.Rows > 0:
		kernels.Upload(d.Device, kernels.Mat(y.Buf, kernels.F32, y.Off+(y.Rows-1)*y.Stride+y.Cols, 1, 1), []float32{0})
	case d.is("a wrong bit"):
		d.edit(y.RowRange(y.Rows/2, min(1, y.Rows)), ulp)
	case d.is("depends on the batch") && y.Rows < 8, d.is("other bits with more threads"):
		d.edit(y, ulp)
	case d.is("depends on the place") && y.Rows == 70:
		if d.calls++; d.calls == 2 { // the permutation comes after the whole
			d.edit(y, ulp)
		}
	case d.is("scales matmul"):
		d.edit(y, times(1.0001))
	case d.is("flushes denormals"):
		d.edit(y, func(_, _ int, x float32) float32 {
			if x < 0x1p-126 && x > -0x1p-126 {
				return 0
			}
			return x
		})
	}
}

func (d *faulty) MatMulDX(dx, dy kernels.Tensor, w kernels.Weight, add bool, scale float32) {
	d.Device.MatMulDX(dx, dy, w, add, scale)
	if d.is("wrong dX") {
		d.edit(dx, times(1.001))
	}
}

func (d *faulty) MatMulDW(dw, dy, x kernels.Tensor, op kernels.DType) {
	if !d.is("adds dW apart") {
		d.Device.MatMulDW(dw, dy, x, op)
		return
	}
	apart, err := kernels.NewTensor(d.Device, kernels.F32, dw.Rows, dw.Cols)
	if err != nil {
		panic(err)
	}
	d.Device.MatMulDW(apart, dy, x, op)
	d.Axpy(dw, 1, apart)
	apart.Buf.Free()
}

func (d *faulty) BiasBackward(db, dy kernels.Tensor) {
	d.Device.BiasBackward(db, dy)
	if d.is("works on nothing") && dy.Rows == 0 {
		d.edit(db, func(_, _ int, x float32) float32 { return x + 1 })
	}
}

func (d *faulty) RoPE(x kernels.Tensor, heads int, b kernels.Batch, table kernels.Tensor, inverse bool) {
	d.Device.RoPE(x, heads, b, table, inverse && !d.is("rotates forward only"))
	if d.calls++; d.is("is never twice the same") && d.calls > 1 {
		d.edit(x, ulp)
	}
}

func (d *faulty) KVCopy(kv kernels.KV, dst, src []int32) {
	if !d.is("copies no pages") {
		d.Device.KVCopy(kv, dst, src)
	}
}

func (d *faulty) Attention(y, q, lse kernels.Tensor, kv kernels.KV, layer int, b kernels.Batch, scale float32) {
	if d.is("scales attention") {
		scale *= 1.05
	}
	d.Device.Attention(y, q, lse, kv, layer, b, scale)
	for _, s := range d.layouts[b].Segs {
		switch {
		case d.is("decodes otherwise") && s.Len == 1 && s.Start == 400, // no chunk of the other cuts
			d.is("sees other pages") && slices.IsSorted(s.Pages[:2]):
			d.edit(y.RowRange(s.Row, s.Len), ulp)
		case d.is("reads stale slots") && s.Start+s.Len < len(s.Pages)*kernels.PageSize && s.Len > 0:
			// One more row sees the slot behind the last token.
			next := s
			next.Row, next.Start, next.Len = 0, s.Start+s.Len, 1
			more, err := kernels.NewTensor(d.Device, kernels.F32, 1, y.Cols)
			if err != nil {
				panic(err)
			}
			one := d.batch(kernels.Layout{Segs: []kernels.Segment{next}}, kv)
			d.Device.Attention(more, q.RowRange(s.Row, 1), kernels.Tensor{}, kv, layer, one, scale)
			one.Free()
			d.Axpy(y.RowRange(s.Row, 1), 0, more)
			more.Buf.Free()
		}
	}
}

func (d *faulty) AttentionBackward(dq, dk, dv, dy, y, q, lse kernels.Tensor, kv kernels.KV, layer int, b kernels.Batch,
	scale float32) {
	if d.is("wrong dk") { // what only one of the segments adds to a shared page
		d.Device.AttentionBackward(dq, dk, dv, dy, y, q, lse, kv, layer, b, scale)
		d.edit(dk.RowRange(3*kernels.PageSize, 1), times(0.99))
		return
	}
	d.Device.AttentionBackward(dq, dk, dv, dy, y, q, lse, kv, layer, b, scale)
}

func (d *faulty) SwiGLU(y, gate, up kernels.Tensor) {
	d.Device.SwiGLU(y, gate, up)
	switch {
	case d.is("changes an input"):
		d.edit(gate, ulp)
	case d.is("other bits with more threads"):
		d.edit(y, ulp)
	case d.is("loses NaN"):
		d.edit(y, func(_, _ int, x float32) float32 {
			if x != x {
				return 0
			}
			return x
		})
	}
}

func (d *faulty) SwiGLUBackward(dgate, dup, dy, gate, up kernels.Tensor) {
	d.Device.SwiGLUBackward(dgate, dup, dy, gate, up)
	if d.is("wrong dgate") {
		d.edit(dgate, times(1.001))
	}
}

func (d *faulty) ScatterAdd(dst, src, idx kernels.Tensor) {
	d.Device.ScatterAdd(dst, src, idx)
	if d.is("wrong scatter") {
		d.edit(dst, times(1.001))
	}
}

func (d *faulty) LogProb(out kernels.LogProbs, h kernels.Tensor, w kernels.Weight, targets kernels.Tensor,
	invTemp float32) {
	if d.is("tempers the log-prob") {
		invTemp *= 1.001
	}
	d.Device.LogProb(out, h, w, targets, invTemp)
	if d.is("scores otherwise") {
		d.edit(out.Logp, ulp)
	}
}

func (d *faulty) LogProbBackward(dh, dw, h kernels.Tensor, w kernels.Weight, targets kernels.Tensor,
	lp kernels.LogProbs, dlogp, dentropy kernels.Tensor, invTemp float32) {
	if (d.is("wrong dentropy") || d.is("negates dentropy")) && !dentropy.IsZero() {
		d.edit(dentropy, times(-1))
	}
	d.Device.LogProbBackward(dh, dw, h, w, targets, lp, dlogp, dentropy, invTemp)
	if (d.is("wrong dentropy") || d.is("negates dentropy")) && !dentropy.IsZero() {
		d.edit(dentropy, times(-1))
	}
}

// batch is one that is set over l.
func (d *faulty) batch(l kernels.Layout, kv kernels.KV) kernels.Batch {
	b, err := kernels.BatchOf(d.Device, l, kv)
	if err != nil {
		panic(err)
	}
	return b
}

func (d *faulty) SetBatch(b kernels.Batch, l *kernels.Layout, kv kernels.KV, ids kernels.Tensor,
	fed []kernels.SampledInput) {
	d.Device.SetBatch(b, l, kv, ids, fed)
	if d.layouts == nil {
		d.layouts = map[kernels.Batch]*kernels.Layout{}
	}
	d.layouts[b] = new(kernels.Layout)
	d.layouts[b].CopyFrom(l)
}

func (d *faulty) Sample(ids kernels.Tensor, out kernels.LogProbs, logits kernels.Tensor, b kernels.Batch, first int) {
	rules := slices.Clone(d.layouts[b].Draws[first : first+logits.Rows])
	lower := func(r *kernels.Sampling, by func(u float64) float64) {
		r.Stream, r.Pos = streamOf(by(num.Uniform(r.Stream, int(r.Pos)))), 0
	}
	for i := range rules {
		switch r := &rules[i]; {
		case d.is("draws low"):
			lower(r, func(u float64) float64 { return u * 0.9 })
		case d.is("draws a little low"):
			lower(r, func(u float64) float64 { return max(0, u-0.002) })
		case d.is("keeps one more") && r.TopK > 0:
			r.TopK++
		case d.is("ignores min-p"):
			r.MinP = 0
		case d.is("takes the last of the ties") && logits.Cols == 70:
			r.Greedy, r.TopK, r.Stream = false, 3, streamOf(0.999)
		case d.is("forgets to divide") && len(r.Adjust) > 0:
			r.Adjust = slices.Clone(r.Adjust)
			for k := range r.Adjust {
				r.Adjust[k].Scale = min(r.Adjust[k].Scale, 1)
			}
		case d.is("scores what is adjusted") && len(r.Adjust) > 0:
			row := make([]float32, logits.Cols)
			if err := kernels.Download(d.Device, row, logits.RowRange(i, 1)); err != nil {
				panic(err)
			}
			defer kernels.Upload(d.Device, logits.RowRange(i, 1), slices.Clone(row))
			for _, a := range r.Adjust {
				row[a.ID] = a.Apply(row[a.ID])
			}
			kernels.Upload(d.Device, logits.RowRange(i, 1), row)
			r.Adjust = nil
		}
	}
	own := d.batch(kernels.Layout{Draws: rules}, nil)
	defer own.Free()
	d.Device.Sample(ids, out, logits, own, 0)
}

func (d *faulty) SumSquares(dst, x kernels.Tensor, ranges []kernels.Range, add bool) {
	d.Device.SumSquares(dst, x, ranges, add && !d.is("scales the squares"))
}

func (d *faulty) Update(w kernels.Weight, p, g, m, v kernels.Tensor, s kernels.AdamWStep) {
	d.AdamW(p, g, m, v, s)
	d.Pack(w, 0, p)
	if !d.is("keeps the gradient") {
		d.Zero(g)
	}
}

func (d *faulty) AdamW(p, g, m, v kernels.Tensor, s kernels.AdamWStep) {
	if d.is("miscounts the steps") {
		s.Step++
	}
	d.Device.AdamW(p, g, m, v, s)
}
