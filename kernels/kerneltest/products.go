package kerneltest

import (
	"strings"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// Products is the part of Run on products of BF16 operands, for a device that passes Run and makes them in a second
// way. It leaves out that dW goes on with one chain across calls.
func Products(t *testing.T, open func() (kernels.Device, error), tol Tolerances) {
	e := &env{d: mustOpen(t, open), ref: ref.New(), tol: tol}
	if tol.AMX {
		e.ref = ref.NewAMX()
	}
	for _, g := range groups {
		if g.name != "matmul" && g.name != narrowGroup {
			continue
		}
		for _, c := range g.cases(tol) {
			bf16 := strings.Contains(c.name, "/"+kernels.BF16.String()) && !strings.Contains(c.name, "+f32")
			if g.name == narrowGroup || bf16 {
				t.Run(g.name+"/"+c.name, func(t *testing.T) { e.compare(t, g.name, c) })
			}
		}
	}
	for _, p := range properties {
		if p.name == "chain/rows" || p.name == "chain/logprob" {
			t.Run(p.name, func(t *testing.T) { p.test(t, e) })
		}
	}
	mustClose(t, e.d)
	mustClose(t, e.ref)
}
