//go:build !nogpu && windows

package cuda

import (
	"errors"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

func findNCCL() (gpu.Joiner, error) { return nil, errors.New("there is no NCCL for Windows") }
