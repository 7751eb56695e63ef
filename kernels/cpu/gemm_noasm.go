//go:build noasm || !(amd64 || arm64)

package cpu

func (g *gemmState) choose(isa) {}
