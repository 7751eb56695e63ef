package safetensors_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/safetensors"
)

func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	specs := []safetensors.Spec{{Name: "norm.weight", DType: safetensors.BF16, Shape: []int{2, 2}}}
	w, err := safetensors.Create(filepath.Join(dir, safetensors.SingleFile), specs, map[string]string{"format": "pt"})
	if err != nil {
		panic(err)
	}
	defer w.Abort()
	if err := w.WriteFloat32("norm.weight", []float32{1, 2, 3, 3.14159}); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}

	set, err := safetensors.OpenDir(dir)
	if err != nil {
		panic(err)
	}
	defer set.Close()
	for _, name := range set.Names() {
		t, _ := set.Tensor(name)
		row := make([]float32, 2)
		if err := t.Float32Rows(row, 1, 1); err != nil {
			panic(err)
		}
		fmt.Println(name, t.DType, t.Shape, row)
	}
	_, err = safetensors.Open("absent.safetensors")
	fmt.Println(err != nil)
	// Output:
	// norm.weight BF16 [2 2] [3 3.140625]
	// true
}
