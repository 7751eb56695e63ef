package cuda

// Proven reports whether Device has passed its tests on a GPU and not only in the interpreter.
const Proven = false

// System is what there is of NVIDIA's on this machine.
type System struct {
	Library string // the driver's, as it was found
	Version string // of CUDA that the driver knows, "13.0"
	GPUs    []Info
	Why     string // empty, or why there is nothing to use and what to do
}

// CUBLAS is NVIDIA's library of products, as it was found.
type CUBLAS struct {
	Library string // its file
	Version string // "13.10.0"
	Why     string // empty, or why the program's own kernels make all products, and what to do
}

// Info is one GPU.
type Info struct {
	Index        int
	Name, UUID   string
	Major, Minor int    // compute capability
	SMs          int    // multiprocessors
	Memory, Free int64  // bytes; Free is -1 where it is not known
	Why          string // empty, or why it cannot be used and what to do
}
