//go:build !noasm

package cpu

func (g *gemmState) choose(isa) {}
