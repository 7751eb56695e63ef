// Package ptx holds the kernels of kernels/cuda: their source in CUDA C++, and the PTX for compute capability 8.0 that
// clang compiles it to. The driver compiles this PTX for the machine's GPU. generate.sh makes the PTX and modules.zip
// again.
package ptx

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"regexp"
	"sync"
)

//go:generate go run ./_gen

// modulesZip holds the .ptx files of this folder, compressed to a sixth of their size.
//
//go:embed modules.zip
var modulesZip []byte

var entry = regexp.MustCompile(`(?m)^\.visible \.entry (\w+)\(`)

// Module is one file: its text, and the names of the kernels in it.
type Module struct {
	Name    string
	Text    string
	Kernels []string
}

// Modules returns all modules.
func Modules() []Module { return modules() }

var modules = sync.OnceValue(func() []Module {
	all, err := unpack()
	if err != nil {
		panic(fmt.Sprintf("ptx: %v", err))
	}
	return all
})

func unpack() (all []Module, err error) {
	archive, err := zip.NewReader(bytes.NewReader(modulesZip), int64(len(modulesZip)))
	if err != nil {
		return nil, err
	}
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		m := Module{Name: f.Name, Text: string(text)}
		for _, e := range entry.FindAllStringSubmatch(m.Text, -1) {
			m.Kernels = append(m.Kernels, e[1])
		}
		all = append(all, m)
	}
	return all, nil
}
