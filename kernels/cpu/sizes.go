package cpu

import (
	"runtime"

	"github.com/zerosearch-go/zerosearch/kernels"
)

func init() {
	kernels.RegisterSizes("cpu", func(threads int) kernels.Sizes { return newSizes(threads) })
}

// sizes computes the sizes for a Device with so many threads on the path that Paths has in use. d has neither workers
// nor memory.
type sizes struct{ d *Device }

func newSizes(threads int) sizes {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	d := &Device{isa: isaNamed(Paths.Used()), pool: &pool{threads: min(threads, maxThreads)}}
	d.gemm.init(d)
	d.amxAttn = attnAMXOf(d.isa)
	return sizes{d}
}

func (s sizes) Weight(n, k int, t kernels.DType) int64 {
	w, err := newWeight(n, k, t)
	if err != nil {
		panic(err)
	}
	return w.size()
}

func (s sizes) KV(spec kernels.KVSpec) int64               { return newKVLayout(spec).size() }
func (s sizes) Batch(spec kernels.BatchSpec, _ bool) int64 { return kernels.HostBatchBytes(spec) }
func (s sizes) Operand(t kernels.DType) kernels.DType      { return s.d.Operand(t) }

// Scratch is the sum over the slots. Each slot grows to its largest need plus a quarter.
func (s sizes) Scratch(all []kernels.Work) (n int64) {
	var need scratchNeeds
	for i := range all {
		need.work(s.d, &all[i])
	}
	for _, bytes := range need {
		n += int64(bytes + bytes/4)
	}
	return n
}

// scratchNeeds are the largest requests for each slot, in bytes.
type scratchNeeds [slots]int

func (n *scratchNeeds) add(slot, bytes int) { n[slot] = max(n[slot], bytes) }

func (n *scratchNeeds) work(d *Device, w *kernels.Work) {
	for _, group := range w.Products {
		n.forward(d, w, w.Rows, group)
		if w.Backward {
			n.backward(d, w, w.Rows, group)
		}
	}
	if w.Rows > 0 && w.Heads > 0 {
		n.attention(d, w)
	}
	n.losses(d, w)
	if w.Backward { // partial sums of the gradients of norms and biases: a row for each block of rows
		n.add(slotRows, 4*((w.Rows+sumRows-1)/sumRows)*max(w.Head.K, w.Heads*w.KV.HeadDim))
	}
	n.add(slotRows, 8*((w.Squares+squaresBlock-1)/squaresBlock))
}

// forward adds the needs of MatMuls for weights that share an input, and for their adapters.
func (n *scratchNeeds) forward(d *Device, w *kernels.Work, rows int, group []kernels.Shape) {
	k := d.gemm.forward(w.Type, rows)
	p := &product{m: rows, steps: k.steps(group[0].K), kernels: k}
	lora := d.gemm.of(w.LoRAType)
	for _, s := range group {
		r := rhs{n: s.N, panel: noPanel, epilogue: kernels.Epilogue{Add: true}}
		if w.Rank > 0 {
			down := rhs{n: w.Rank, panel: noPanel, epilogue: kernels.Epilogue{Scale: 2}}
			p.before = append(p.before, down)
			r.adapter = adapterOf(lora, w.Rank)
		}
		p.rhs = append(p.rhs, r)
	}
	if w.Rank > 0 && lora != k { // the adapters' first product is computed separately
		n.product(d, &product{m: rows, steps: lora.steps(group[0].K), kernels: lora, rhs: p.before})
		p.before = nil
	}
	n.product(d, p)
}

// backward adds the needs of MatMulDXLoRA and MatMulDWs.
func (n *scratchNeeds) backward(d *Device, w *kernels.Work, rows int, group []kernels.Shape) {
	k, op := d.gemm.of(w.Type), w.Type
	if w.Type.Quantised() {
		k, op = &d.gemm.bf16, kernels.BF16
	}
	for _, s := range group {
		p := &product{m: rows, steps: k.steps(s.N), kernels: k,
			rhs: []rhs{{n: s.K, epilogue: kernels.Epilogue{Add: true}}}}
		if w.Rank > 0 {
			lora := d.gemm.of(w.LoRAType)
			p.before = []rhs{{n: w.Rank, epilogue: kernels.Epilogue{Scale: 2}}}
			p.rhs[0].adapter = adapterOf(lora, w.Rank)
			made := (s.K + panelCols - 1) / panelCols * madeWords(lora.steps(w.Rank))
			n.add(slotAdapterB, 4*made)
			n.outer(d, w.LoRAType, rows, s.N, w.Rank) // dB, transposed
			n.add(slotAdapters, 4*w.Rank*max(s.N, len(group)*s.K))
			n.outer(d, w.LoRAType, rows, len(group)*w.Rank, s.K)
		}
		n.product(d, p)
		if w.Weights {
			n.outer(d, op, rows, s.N, s.K)
		}
	}
}

// outer adds the needs of MatMulDW for a dw [rowsDW, colsDW], computed as it is or transposed.
func (n *scratchNeeds) outer(d *Device, op kernels.DType, rows, rowsDW, colsDW int) {
	k := d.gemm.of(op)
	steps := k.steps(min(rows, d.gemm.bounds.dw))
	for _, s := range [2]kernels.Shape{{N: rowsDW, K: colsDW}, {N: colsDW, K: rowsDW}} {
		n.product(d, &product{m: s.N, steps: steps, kernels: k, chain: true, rhs: []rhs{{n: s.K}}})
	}
}

func noPanel(int) []uint32 { return nil }

func adapterOf(k *gemmKernels, r int) *adapter { return &adapter{kernels: k, r: r, steps: k.steps(r)} }

// product adds the needs of multiply for p. Its first chunk of rows is the largest.
func (n *scratchNeeds) product(d *Device, p *product) {
	if p.m == 0 {
		return
	}
	c := chunk{product: p}
	c.takeRows(&d.gemm.bounds)
	n.add(slotA, 4*c.stride*c.nt)
	for _, side := range [][]rhs{p.before, p.rhs} {
		if c.rhs = side; len(side) == 0 {
			continue
		}
		_, panels, made, chains := c.planPanels(&d.gemm.bounds, d.pool.threads)
		n.add(slotChains, 4*chains)
		if made {
			n.add(slotB, 4*c.panelWords*panels)
		}
		words, _ := c.layoutAdapters()
		n.add(slotAdapters, 4*words)
	}
	if p.kernels.panel != nil {
		n.add(slotPanels, p.kernels.readyBytes(c.steps)*d.pool.threads)
	}
}

// losses adds the needs of LogProb and its backward: a block of logits, and the products that compute and use it.
func (n *scratchNeeds) losses(d *Device, w *kernels.Work) {
	head := w.Type
	if w.HeadType != 0 {
		head = w.HeadType
	}
	if w.Sampled > 0 {
		n.forward(d, &kernels.Work{Type: head}, w.Sampled, []kernels.Shape{w.Head})
	}
	if w.Scored == 0 {
		return
	}
	rows, cols := logitBlock(w.Scored, w.Head.N)
	blocks := 1
	if w.Backward {
		blocks = blocksInMemory(w.Scored, w.Head.N, d.gemm.bounds.keptBlocks(w.Scored, w.Head.N))
	}
	n.add(slotLoss, 4*rows*cols*blocks)
	part := []kernels.Shape{{N: min(cols, w.Head.N), K: w.Head.K}}
	n.forward(d, &kernels.Work{Type: head}, rows, part)
	if w.Backward {
		n.backward(d, &kernels.Work{Type: head, Weights: w.Weights}, rows, part)
	}
}

// attention adds the needs of attention: the scratch of every worker, forward and backward, and the results of
// partitions that are computed in parallel when there are few rows.
func (n *scratchNeeds) attention(d *Device, w *kernels.Work) {
	a := d.attention(newKVLayout(w.KV), w.Heads)
	threads := d.pool.threads
	bytes := a.scratch() * threads
	if threads > 1 {
		jobs := min(4*threads-1, w.Segments*w.KV.KVHeads)
		bytes += 4 * jobs * (w.Longest/partition + 1) * a.maxJob() * (2 + a.width)
	}
	n.add(slotAttn, bytes)
	if w.Backward {
		b := attnBack{attend: a, gemm: d.gemm.attention(w.KV.Type)}
		n.add(slotAttn, threads*b.carve(nil, (w.Longest+pageSize-1)/pageSize))
	}
}
