package safetensors

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkOpen opens a file with the header of a 7B model: 291 tensors.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "x.safetensors")
	var specs []Spec
	for i := range 291 {
		specs = append(specs, Spec{fmt.Sprintf("model.layers.%d.self_attn.q_proj.weight", i), BF16, []int{16, 16}})
	}
	w, err := Create(path, specs, nil)
	for _, s := range specs {
		if err == nil {
			err = w.Write(s.Name, make([]byte, 512))
		}
	}
	if err == nil {
		err = w.Close()
	}
	for b.Loop() {
		f, e := Open(path)
		if err != nil || e != nil {
			b.Fatal(err, e)
		}
		f.Close()
	}
}

// BenchmarkFloat32 converts a million elements, the pages being in memory.
func BenchmarkFloat32(b *testing.B) {
	const n = 1 << 20
	for _, d := range []DType{F32, BF16, F16, F8E4M3, F64} {
		for _, skew := range []int{0, 1} {
			b.Run(fmt.Sprintf("%s/skew=%d", d, skew), func(b *testing.B) {
				size := n * d.Bits() / 8
				head := fmt.Sprintf(`{"x":{"dtype":"%s","shape":[%d],"data_offsets":[0,%d]}}`, d, n, size)
				head += strings.Repeat(" ", -len(head)&7+skew)
				f, err := FromBytes("x", fileOf(head, string(make([]byte, size))))
				if err != nil {
					b.Fatal(err)
				}
				dst := make([]float32, n)
				b.SetBytes(4 * n)
				for b.Loop() {
					if err := f.tensors[0].Float32(dst); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
