package engine

import "os"

// MachineMemory is the memory that this process may have and could get now; nil where that is not known.
func MachineMemory() *Machine { return readMachine(os.DirFS("/")) }
