//go:build noasm || !amd64

package cpu

func (g *gemmState) choose(isa) {}
