package ref_test

import (
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/kerneltest"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

func TestConformance(t *testing.T) {
	kerneltest.Run(t, func() (kernels.Device, error) { return ref.NewNarrow(), nil }, kerneltest.Exact)
}
