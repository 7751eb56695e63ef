//go:build !nogpu && linux

package cuda

import (
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/nccl"
)

func findNCCL() (gpu.Joiner, error) {
	l, err := nccl.Load()
	if err != nil {
		return nil, err
	}
	return l, nil
}
