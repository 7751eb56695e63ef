package dist

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// kind is a binary interface (ABI) of MPI. MVAPICH and Intel MPI have that of MPICH.
type kind string

const (
	openMPI kind = "Open MPI"
	mpich   kind = "MPICH"
)

// fileNames are the names of an MPI's library, without and with its version in front.
var fileNames = map[kind][]string{openMPI: {"libmpi.so.40"}, mpich: {"libmpich.so.12", "libmpi.so.12"}}

// places are patterns of folders in which distributions install an MPI and the loader does not look.
var places = map[kind][]string{
	openMPI: {"/usr/lib64/openmpi/lib", "/usr/lib/*/openmpi/lib", "/opt/openmpi*/lib", "/usr/local/openmpi*/lib"},
	mpich:   {"/usr/lib64/mpich*/lib", "/usr/lib/*/mpich*/lib", "/opt/mpich*/lib", "/usr/local/mpich*/lib"},
}

// machine holds the functions that look for a library; tests replace them.
type machine struct {
	env    func(name string) string
	glob   func(pattern string) (files []string, err error)
	isDir  func(path string) bool
	open   func(path string) (real string, symbol func(name string) (uintptr, error), err error)
	absent error // the error of open if the loader does not find the name
}

// candidate is a file that may be an MPI library.
type candidate struct {
	path string
	kind kind // that it has by its name
}

// candidates returns the files to try, in order: only what the environment variable names or, if it is not set, the MPI
// that belongs to the launcher, then the other one.
func (m machine) candidates(first kind) (out []candidate) {
	kinds := []kind{openMPI, mpich}
	if first == mpich {
		kinds = []kind{mpich, openMPI}
	}
	set := m.env(Variable)
	if set != "" && !m.isDir(set) {
		return []candidate{{set, ""}}
	}
	for _, k := range kinds {
		for _, name := range fileNames[k] {
			if set != "" {
				for _, f := range m.exist(filepath.Join(set, name)) {
					out = append(out, candidate{f, k})
				}
				continue
			}
			out = append(out, candidate{name, k})
			for _, folder := range places[k] {
				for _, f := range m.exist(filepath.Join(folder, name)) {
					out = append(out, candidate{f, k})
				}
			}
		}
	}
	return out
}

// exist returns the files that match a pattern.
func (m machine) exist(pattern string) []string {
	files, err := m.glob(pattern)
	if err != nil { // a folder's name that is not a valid pattern
		return nil
	}
	return files
}

// library is a loaded MPI library.
type library struct {
	path   string
	kind   kind
	symbol func(name string) (uintptr, error)
}

// find loads the MPI of a launch. An MPI other than the launcher's is used only if the variable names it, because its
// processes would not find each other.
func (m machine) find(l launch) (*library, error) {
	var why []string
	for _, c := range m.candidates(l.first) {
		if c.kind != "" && c.kind != l.first && m.env(Variable) == "" && !strings.HasPrefix(l.by, "srun") {
			why = append(why, m.other(c)...)
			continue
		}
		real, symbol, err := m.open(c.path)
		if err == nil {
			var k kind
			if k, err = kindOf(real, symbol); err == nil {
				return &library{real, k, symbol}, nil
			}
		}
		if !errors.Is(err, m.absent) || c.kind == "" {
			why = append(why, err.Error())
		}
	}
	if set := m.env(Variable); set != "" {
		if len(why) == 0 {
			why = []string{"no library of an MPI is there"}
		}
		return nil, l.err(fmt.Sprintf("and %s, which %s names, is of no use: %s", set, Variable, strings.Join(why, "; ")))
	}
	text := fmt.Sprintf("and the library of %s, %s, is not found: install it on every host (Debian: %s), or name its "+
		"file in %s", l.first, fileNames[l.first][0], packages[l.first], Variable)
	if len(why) > 0 {
		text += ": " + strings.Join(why, "; ")
	}
	return nil, l.err(text)
}

// packages are Debian's packages with the library and the launcher.
var packages = map[kind]string{openMPI: "apt install openmpi-bin", mpich: "apt install mpich"}

// other returns the note that the MPI of another launcher was found.
func (m machine) other(c candidate) []string {
	if !filepath.IsAbs(c.path) {
		return nil
	}
	return []string{fmt.Sprintf("%s is %s's and needs its own mpirun", c.path, c.kind)}
}

// kindOf tells the binary interfaces apart by a symbol that only one of them has.
func kindOf(path string, symbol func(name string) (uintptr, error)) (kind, error) {
	if p, err := symbol("ompi_mpi_comm_world"); err == nil && p != 0 {
		return openMPI, nil
	}
	if p, err := symbol("MPI_Init_thread"); err != nil || p == 0 {
		return "", fmt.Errorf("%s is no MPI: it has no function MPI_Init_thread", path)
	}
	return mpich, nil
}
