// Package kerneltest is the conformance suite for kernels.Device. It compares each operation with package ref and with
// float64 formulas, tests that rows do not depend on their batch, checks every backward by finite differences, and puts
// canaries around every tensor.
//
//	func TestConformance(t *testing.T) {
//		kerneltest.Run(t, func() (kernels.Device, error) { return cpu.New(2) }, kerneltest.CPU)
//	}
//
// A failing case says which rule of package kernels it broke.
package kerneltest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// Tolerances are the largest allowed differences from ref. Relative ones are fractions of the largest element of the
// compared tensor.
type Tolerances struct {
	// Chain is for matmuls, relative. 0: bit for bit as the chain, zeros of either sign being equal.
	Chain float64
	// AMX says that BF16 matmuls sum in the order of num.DotAMX instead of by the chain.
	AMX bool
	// F32 is for everything else that is computed in F32, relative.
	F32 float64
	// BF16 is for attention over a BF16 cache, relative: probabilities close to a tie round differently.
	BF16 float64
	// LogProb is for log-probs and entropies, absolute.
	LogProb float64
	// Draw is a probability: a sampled id is accepted if some random number within Draw of the given one would give it.
	Draw float64
	// BatchDependent allows results of a row to depend on other rows, for devices whose matmul kernel depends on the
	// shape.
	BatchDependent bool
	// Break makes the next queued work of d, a device that Run's open returned, fail after its call has returned, as on
	// a lost GPU. nil: d queues no work.
	Break func(d kernels.Device)
	// NoQ4 says that the device has no weights of type Q4.
	NoQ4 bool
	// Slow says that the device is an interpreter or plain Go, or is emulated. Such a device is deterministic, so cases
	// run once instead of twice, and the longest cases are shortened.
	Slow bool
}

// Exact asks for equality, as for ref itself.
var Exact = Tolerances{Slow: true}

// CPU suits a device that follows the chains and computes the rest in F32 with a few roundings.
var CPU = Tolerances{F32: 3e-6, BF16: 8e-3, LogProb: 2e-5, Draw: 1e-5}

// AMX is CPU with BF16 matmuls on AMX.
var AMX = Tolerances{AMX: true, F32: CPU.F32, BF16: CPU.BF16, LogProb: CPU.LogProb, Draw: CPU.Draw}

// CUDA suits a device that sums in another order and rounds operands for tensor cores.
var CUDA = Tolerances{NoQ4: true, Chain: 3e-6, F32: 3e-6, BF16: 8e-3, LogProb: 3e-5, Draw: 1e-5}

// weights are the types of weights that the device has.
func (tol Tolerances) weights() []kernels.DType {
	if tol.NoQ4 {
		return types
	}
	return append(types[:len(types):len(types)], kernels.Q4)
}

// env holds the device under test and the reference.
type env struct {
	open   func() (kernels.Device, error)
	d, ref kernels.Device
	tol    Tolerances
}

// testCase is one body that runs on any device; the outputs that it declares are compared.
type testCase struct {
	name string
	rule string // the rule that is broken if the case fails
	body func(s *caseRun)
}

// Run tests the device that open returns. Tensors, weights and caches are freed at the end of each case, so that a
// device may also count them.
func Run(t *testing.T, open func() (kernels.Device, error), tol Tolerances) {
	e := &env{open: open, d: mustOpen(t, open), ref: ref.New(), tol: tol}
	if tol.AMX {
		e.ref = ref.NewAMX()
	}
	for _, g := range groups {
		if g.name == narrowGroup && e.d.Operand(kernels.BF16) != kernels.BF16 {
			continue // this device wants its operands in F32
		}
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.cases(tol) {
				t.Run(c.name, func(t *testing.T) { e.compare(t, g.name, c) })
			}
		})
	}
	for _, p := range properties {
		t.Run(p.name, func(t *testing.T) { p.test(t, e) })
	}
	mustClose(t, e.d)
	mustClose(t, e.ref)
}

// Same tests that several devices, for example with 1, 2 and 3 threads, give the same bits in every case.
func Same(t *testing.T, open func() (kernels.Device, error), others ...func() (kernels.Device, error)) {
	same(t, "devices of one kind give the same bits, whatever their number of threads",
		func(testCase) bool { return true }, open, others)
}

// Agree is Same for the instruction sets of a device. It leaves out denormal sums of BF16 products, which some
// processors flush to zero.
func Agree(t *testing.T, open func() (kernels.Device, error), others ...func() (kernels.Device, error)) {
	same(t, "every instruction set gives the same bits", func(c testCase) bool { return c.name != "denormals/bf16" },
		open, others)
}

func same(t *testing.T, rule string, wanted func(testCase) bool, open func() (kernels.Device, error),
	others []func() (kernels.Device, error)) {
	devices := []kernels.Device{mustOpen(t, open)}
	for _, o := range others {
		devices = append(devices, mustOpen(t, o))
	}
	for _, g := range groups {
		if g.name == narrowGroup && devices[0].Operand(kernels.BF16) != kernels.BF16 {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.cases(CPU) {
				if !wanted(c) {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					want := execute(t, devices[0], layouts[2], c.body)
					for _, d := range devices[1:] {
						sameBits(t, rule, want, execute(t, d, layouts[2], c.body))
					}
				})
			}
		})
	}
	for _, d := range devices {
		mustClose(t, d)
	}
}

// narrowGroup is the group of cases on operands in BF16.
const narrowGroup = "narrow"

// groups are the cases of each family of operations.
var groups = []struct {
	name  string
	cases func(tol Tolerances) []testCase
}{
	{"embed", embedCases}, {"norm", normCases}, {"matmul", matmulCases}, {"rope", ropeCases},
	{"attention", attentionCases},
	{"swiglu", swigluCases}, {"gather", gatherCases}, {"logprob", logprobCases}, {"sample", sampleCases},
	{"optimizer", optimizerCases},
	{"special", specialCases}, {narrowGroup, narrowCases},
}

// properties are the tests that are not one comparison with ref.
var properties = []struct {
	name string
	test func(t *testing.T, e *env)
}{
	{"memory", testMemory}, {"sizes", testSizes}, {"weights", testWeights}, {"update", testUpdate},
	{"cache", testCache}, {"empty", testEmpty},
	{"lists", testLists}, {"tickets", testTickets}, {"threads", testThreads}, {"errors", testErrors},
	{"batch", testBatch},
	{"columns", testColumns}, {"transfers", testTransfers}, {"many", testMany}, {"segments", testManySegments},
	{"vocabulary", testVocabulary}, {"draws", testDrawsOfMany}, {"far", testFar}, {"record", testRecord},
	{"formula/matmul", testMatMulFormula}, {"formula/attention", testAttentionFormula},
	{"formula/logprob", testLogProbFormula},
	{"chain/rows", testRowsAlone}, {"chain/dw", testDWChain}, {"chain/attention", testAttentionChunks},
	{"chain/logprob", testLogProbIsSample},
	{"chain/stale", testStaleSlots}, {"gradient", testGradients},
	{"sampler/distribution", testSamplerDistribution}, {"sampler/truncation", testTruncation},
	{"sampler/wide", testTruncationWide}, {"golden/adamw", testAdamWGolden}, {"golden/logprob", testLogProbGolden},
}

func mustOpen(t *testing.T, open func() (kernels.Device, error)) kernels.Device {
	t.Helper()
	d, err := open()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return d
}

func mustClose(t *testing.T, d kernels.Device) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Errorf("rule: what an operation allocates it frees; Close returns the first error of queued work: %v", err)
	}
}

// answers caches the results of ref by summation order, group and case, because one process tests several devices or
// paths.
var answers sync.Map

// answer returns ref's outputs for c.
func (e *env) answer(t *testing.T, group string, c testCase) []output {
	key := fmt.Sprint(e.tol.AMX, "/", group, "/", c.name)
	answer, ok := answers.Load(key)
	if !ok {
		answer = execute(t, e.ref, layouts[0], c.body)
		answers.Store(key, answer)
	}
	return answer.([]output)
}

// once runs the cases of a group on ref and, in one layout only, on the device: for what is large.
func (e *env) once(t *testing.T, group string, cases []testCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want, got := e.answer(t, group, c), execute(t, e.d, layouts[2], c.body)
			for i := range want {
				near(t, c.rule, want[i], got[i])
			}
		})
	}
}

// compare runs c on ref, and on the device twice and in every layout; once in two layouts if the device is slow.
func (e *env) compare(t *testing.T, group string, c testCase) {
	want, got := e.answer(t, group, c), execute(t, e.d, layouts[0], c.body)
	for i := range want {
		near(t, c.rule, want[i], got[i])
	}
	if !e.tol.Slow {
		sameBits(t, "the same call gives the same bits every time", got, execute(t, e.d, layouts[0], c.body))
	}
	others := layouts[1:]
	if e.tol.Slow { // one or the other
		others = others[source(c.name).IntN(2):][:1]
	}
	for _, l := range others {
		other := execute(t, e.d, l, c.body)
		if e.tol.BatchDependent {
			for i := range want {
				near(t, l.name+" tensors: "+c.rule, want[i], other[i])
			}
			continue
		}
		sameBits(t, "where a tensor begins and how its rows are spaced changes no bit: "+l.name, got, other)
	}
}
