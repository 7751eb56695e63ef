// Package ref is the specification of the operations of package kernels in plain scalar Go: one file a family, forward
// and backward together under their formula, never optimized.
//
// Results that the specification fixes bit for bit (the chains of matmul and attention) are computed exactly so. Other
// operations (norms, softmax, rotations, the optimizer) are computed in float64 and rounded once.
//
// It is also the strictest device: a program that runs on it obeys the rules of all devices. It panics,
// naming the operation and the shapes, on a tensor outside its buffer, a wrong shape or type, an output that overlaps
// an input, an id, slot or page out of range, use after Free, a second Free, memory of another device, and use by two
// goroutines at once. Close fails while anything is still allocated, and says where it was.
package ref
