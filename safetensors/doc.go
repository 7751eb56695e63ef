// Package safetensors reads and writes tensors in Hugging Face's safetensors format.
//
// A file is an 8-byte little-endian length n, n bytes of JSON with each tensor's type, shape and offsets, and the data:
//
//	{"__metadata__":{"format":"pt"},"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}
//
// Reading maps the file into memory: [Open] touches the header only, so a file of any size opens in milliseconds and
// its pages are read when a tensor is used. [OpenDir] opens a model folder, one file or the shards that an index lists,
// as one [Set].
//
//	set, err := safetensors.OpenDir("models/SmolLM2-135M-Instruct")
//	...
//	defer set.Close()
//	t, ok := set.Tensor("model.norm.weight")
//	w := make([]float32, t.Elements())
//	err = t.Float32(w)
//
// Headers are not trusted. Everything that the reference library refuses is refused, in one line that names file,
// tensor and fault: tensors must cover the data exactly, without gaps, overlaps or trailing bytes. Beyond that a name
// given twice is an error here, where the library lets the last one win, and so is a tensor described by an array
// instead of an object.
//
// Writing goes to a temporary file that replaces the old one when it is complete and on disk: see [Writer] and
// [WriteSharded].
//
// Files, sets and tensors may be used by many goroutines at once, Close excepted; a Writer belongs to one.
//
// Format: https://github.com/huggingface/safetensors#format
package safetensors
