package gpu

// Inspector is a GPU that reports how the driver's compiler translated a kernel.
type Inspector interface {
	Attributes(f Func) (Attributes, error)
}

// Attributes are the resources that a kernel needs.
type Attributes struct {
	Registers  int // of a thread
	Local      int // bytes of a thread that lie in the GPU's memory because its registers do not suffice
	Shared     int // bytes of a block, without what a launch adds
	MaxThreads int // of a block
	Binary     int // compute capability it was compiled for, 80 for 8.0
}
