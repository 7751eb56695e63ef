//go:build !nogpu && linux

package dist

import (
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/foreign"
)

// table are MPI's functions, by their names without MPI_.
type table struct {
	InitThread        uintptr `name:"MPI_Init_thread"`
	Finalize          uintptr
	Abort             uintptr
	CommRank          uintptr `name:"MPI_Comm_rank"`
	CommSize          uintptr `name:"MPI_Comm_size"`
	CommDup           uintptr `name:"MPI_Comm_dup"`
	CommSplit         uintptr `name:"MPI_Comm_split"`
	CommSetErrhandler uintptr `name:"MPI_Comm_set_errhandler"`
	GetLibraryVersion uintptr `name:"MPI_Get_library_version"`
	ErrorString       uintptr `name:"MPI_Error_string"`

	Iallgather  uintptr
	Iallgatherv uintptr
	Ialltoallv  uintptr
	Ibcast      uintptr
	Test        uintptr

	Isend       uintptr
	Iprobe      uintptr
	Recv        uintptr
	RequestFree uintptr `name:"MPI_Request_free"`
}

// abi is an MPI library with the values of its handles and constants. They are addresses of variables in Open MPI
// (mpi.h of 4 and 5) and numbers in MPICH (mpi.h of 4, the same since the common ABI of 2013).
type abi struct {
	table
	world, bytes, errorsReturn uintptr
	ignore                     uintptr // MPI_STATUS_IGNORE
	version                    string
}

const (
	threadFunneled   = 1    // MPI_THREAD_FUNNELED: one thread calls MPI
	maxLibraryString = 8192 // MPI_MAX_LIBRARY_VERSION_STRING of MPICH, the longer one
	maxErrorString   = 1024
)

// bind finds the functions and constants of a library.
func bind(l *library) (*abi, error) {
	a := &abi{}
	if missing := foreign.Resolve(&a.table, "MPI_", l.symbol); missing != "" {
		return nil, fmt.Errorf("%s has no function %s: Open MPI 4 or 5, or MPICH 4, is needed", l.path, missing)
	}
	a.world, a.bytes, a.errorsReturn, a.ignore = 0x44000000, 0x4c00010d, 0x54000001, 1
	if l.kind == openMPI {
		a.ignore = 0
		for name, p := range map[string]*uintptr{"ompi_mpi_comm_world": &a.world, "ompi_mpi_byte": &a.bytes,
			"ompi_mpi_errors_return": &a.errorsReturn} {
			var err error
			if *p, err = l.symbol(name); err != nil {
				return nil, fmt.Errorf("%s has no %s: Open MPI 4 or 5 is needed", l.path, name)
			}
		}
	}
	text, n := make([]byte, maxLibraryString), int32(0)
	foreign.Call(a.GetLibraryVersion, address(text), addressOf(&n))
	a.version = shortVersion(l.kind, string(text[:max(0, min(int(n), len(text)))]))
	return a, nil
}

// shortVersion is the first words of what MPI_Get_library_version says: "Open MPI 4.1.4", "MPICH 4.0.2".
func shortVersion(k kind, text string) string {
	first, _, _ := strings.Cut(text, "\n")
	words := strings.Fields(strings.NewReplacer(",", " ", "Version:", " ").Replace(first))
	for _, w := range words {
		if w = strings.TrimPrefix(w, "v"); w != "" && w[0] >= '0' && w[0] <= '9' {
			return string(k) + " " + w
		}
	}
	return string(k)
}

// check makes an error of the result code of an MPI function.
func (a *abi) check(doing string, result uintptr) error {
	if int32(result) == 0 {
		return nil
	}
	text, n := make([]byte, maxErrorString), int32(0)
	foreign.Call(a.ErrorString, result, address(text), addressOf(&n))
	return fmt.Errorf("%s by %s: %s", doing, a.version, text[:max(0, min(int(n), len(text)))])
}
