// Package ptx holds the kernels of kernels/cuda: their source in CUDA C++ and what clang made of it, PTX for compute
// capability 8.0, which the driver compiles for the GPU at hand. generate.sh makes it again.
package ptx

import (
	"embed"
	"fmt"
	"regexp"
)

//go:embed *.ptx
var files embed.FS

var entry = regexp.MustCompile(`(?m)^\.visible \.entry (\w+)\(`)

// Module is one file: its text, and the names of the kernels in it.
type Module struct {
	Name    string
	Text    string
	Kernels []string
}

// Modules are all files.
func Modules() []Module {
	list, err := files.ReadDir(".")
	if err != nil {
		panic(fmt.Sprintf("ptx: %v", err))
	}
	var all []Module
	for _, f := range list {
		text, err := files.ReadFile(f.Name())
		if err != nil {
			panic(fmt.Sprintf("ptx: %v", err))
		}
		m := Module{Name: f.Name(), Text: string(text)}
		for _, e := range entry.FindAllStringSubmatch(m.Text, -1) {
			m.Kernels = append(m.Kernels, e[1])
		}
		all = append(all, m)
	}
	return all
}
