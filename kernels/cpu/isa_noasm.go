//go:build noasm || !(amd64 || arm64)

package cpu

import "github.com/zerosearch-go/zerosearch/kernels"

func isaPaths() []kernels.Path { return []kernels.Path{{Name: "generic"}} }

//go:noinline
func pause() {}
