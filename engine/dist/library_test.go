package dist

import (
	"errors"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What launchers set, and what it means.
func TestLaunched(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want launch
	}{
		{nil, launch{size: 1}},
		{map[string]string{"OMPI_COMM_WORLD_SIZE": "4", "PMIX_RANK": "1"}, launch{by: "mpirun of Open MPI", size: 4,
			first: openMPI}},
		{map[string]string{"PMI_SIZE": "3", "PMI_RANK": "0"}, launch{by: "mpirun of MPICH", size: 3, first: mpich}},
		{map[string]string{"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, launch{size: 1}}, // a batch script
		{map[string]string{"SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "PMIX_RANK": "1"},
			launch{by: "srun with PMIx", size: 2, first: openMPI}},
		{map[string]string{"SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "PMI_SIZE": "2"},
			launch{by: "srun with PMI2", size: 2, first: mpich}},
		{map[string]string{"OMPI_COMM_WORLD_SIZE": "many"}, launch{size: 1}},
	} {
		require.Equal(t, c.want, launched(func(name string) string { return c.env[name] }), "%v", c.env)
	}
	for what, env := range map[string]map[string]string{
		"add --mpi=pmix": {"SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2",
			"SLURM_STEP_LAUNCHER_PORT": "1"},
		"use mpirun -n 4": {"RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "a"},
	} {
		require.Contains(t, launched(func(name string) string { return env[name] }).cannot, what)
	}
}

var errNone = errors.New("not found")

// computer has libraries at these paths, with these functions.
func computer(libraries map[string]string, set string) machine {
	return machine{
		env: func(name string) string { return map[string]string{Variable: set}[name] },
		glob: func(pattern string) (out []string, err error) {
			for p := range libraries {
				if ok, _ := path.Match(pattern, p); ok {
					out = append(out, p)
				}
			}
			return out, nil
		},
		isDir: func(p string) bool { return strings.HasSuffix(p, "lib") },
		open: func(p string) (string, func(string) (uintptr, error), error) {
			functions, ok := libraries[p]
			if !ok {
				return p, nil, errNone
			}
			return p, func(name string) (uintptr, error) {
				if strings.Contains(functions, name) {
					return 1, nil
				}
				return 0, errNone
			}, nil
		},
		absent: errNone,
	}
}

func TestFindLibrary(t *testing.T) {
	const open, other = "MPI_Init_thread ompi_mpi_comm_world", "MPI_Init_thread"
	l := launch{by: "mpirun of Open MPI", size: 4, first: openMPI}
	find := func(l launch, set string, libraries map[string]string) (string, string) {
		x, err := computer(libraries, set).find(l)
		if err != nil {
			return "", err.Error()
		}
		return x.path + " " + string(x.kind), ""
	}
	both := map[string]string{"libmpi.so.40": open, "libmpich.so.12": other}
	got, _ := find(l, "", both)
	require.Equal(t, "libmpi.so.40 Open MPI", got)
	got, _ = find(launch{by: "mpirun of MPICH", size: 2, first: mpich}, "", both)
	require.Equal(t, "libmpich.so.12 MPICH", got)
	got, _ = find(l, "", map[string]string{"/usr/lib64/openmpi/lib/libmpi.so.40": open})
	require.Equal(t, "/usr/lib64/openmpi/lib/libmpi.so.40 Open MPI", got)
	got, _ = find(launch{by: "srun with PMIx", size: 2, first: openMPI}, "", map[string]string{"libmpi.so.12": other})
	require.Equal(t, "libmpi.so.12 MPICH", got, "srun knows no MPI of its own")
	got, _ = find(l, "/opt/mine/lib", map[string]string{"/opt/mine/lib/libmpi.so.40": open, "libmpi.so.40": open})
	require.Equal(t, "/opt/mine/lib/libmpi.so.40 Open MPI", got)

	_, why := find(l, "", nil)
	require.Equal(t, "mpirun of Open MPI started 4 processes, and the library of Open MPI, libmpi.so.40, is not found: "+
		"install it on every host (Debian: apt install openmpi-bin), or name its file in ZEROSEARCH_MPI "+
		"(ZEROSEARCH_MPI=off lets each run alone)", why)
	_, why = find(l, "", map[string]string{"/opt/mpich-4/lib/libmpi.so.12": other})
	require.Contains(t, why, "/opt/mpich-4/lib/libmpi.so.12 is MPICH's and needs its own mpirun")
	_, why = find(l, "/x/libc.so", map[string]string{"/x/libc.so": "malloc"})
	require.Contains(t, why, "and /x/libc.so, which ZEROSEARCH_MPI names, is of no use: /x/libc.so is no MPI")
	_, why = find(l, "/x/none.so", nil)
	require.Contains(t, why, "is of no use: not found")
	_, why = find(l, "/empty/lib", nil)
	require.Contains(t, why, "no library of an MPI is there")
}
