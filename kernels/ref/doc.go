// Package ref is the specification of the operations of package kernels in plain scalar Go: one file a family, forward
// and backward together under their formula, never optimized.
//
// What the specification fixes bit for bit (the chains of matmul and attention) is computed so. Where it leaves freedom
// (norms, softmax, rotations, the optimizer) ref is the accurate one: float64 inside, rounded once.
//
// It is also the strictest device, so that a program which runs on it obeys the rules of the hardest one. It panics,
// naming the operation and the shapes, on a tensor outside its buffer, a wrong shape or type, an output that overlaps
// an input, an id, slot or page out of range, use after Free, a second Free, memory of another device, and use by two
// goroutines at once. Close fails while anything is still allocated, and says where it was.
package ref
