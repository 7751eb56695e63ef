package dist

import (
	"fmt"
	"strconv"
)

// launch says how the program was started, according to the environment variables.
type launch struct {
	by    string // "" if it was started alone
	size  int
	first kind // the MPI that belongs to it, or is likely to
	// why ranks cannot join; "" if they can
	cannot string
}

// launched reads the variables that launchers set. SLURM_NTASKS alone does not say that srun started the program: it is
// set in a batch script of Slurm too.
func launched(env func(string) string) launch {
	number := func(name string) int {
		n, err := strconv.Atoi(env(name))
		if err != nil {
			return 0
		}
		return n
	}
	if n := number("OMPI_COMM_WORLD_SIZE"); n > 0 {
		return launch{by: "mpirun of Open MPI", size: n, first: openMPI}
	}
	inStep := env("SLURM_STEP_ID") != "" && env("SLURM_PROCID") != ""
	tasks := max(number("SLURM_STEP_NUM_TASKS"), 1)
	if n := number("PMI_SIZE"); n > 0 {
		if inStep {
			return launch{by: "srun with PMI2", size: n, first: mpich}
		}
		return launch{by: "mpirun of MPICH", size: n, first: mpich}
	}
	if env("PMIX_RANK") != "" && inStep {
		return launch{by: "srun with PMIx", size: tasks, first: openMPI}
	}
	if inStep && tasks > 1 && env("SLURM_STEP_LAUNCHER_PORT") != "" {
		return launch{by: "srun", size: tasks, cannot: "without PMI: add --mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH) to srun"}
	}
	if n := number("WORLD_SIZE"); n > 1 && env("RANK") != "" && env("MASTER_ADDR") != "" {
		return launch{by: "torchrun", size: n, cannot: "and ranks join by MPI here: use mpirun -n " + env("WORLD_SIZE") +
			" or srun --mpi=pmix"}
	}
	return launch{size: 1}
}

// err makes the error that the ranks of a launch cannot be connected; what is the reason.
func (l launch) err(what string) error {
	return fmt.Errorf("%s started %d processes, %s (%s=off lets each run alone)", l.by, l.size, what, Variable)
}

// Variable is the environment variable that names the library of MPI: a file or a folder, or "off", with which the
// program runs alone however it was started.
const Variable = "ZEROSEARCH_MPI"

// TimeoutVariable is the environment variable with the time, such as 30s, after which a rank without a heartbeat counts
// as lost.
const TimeoutVariable = "ZEROSEARCH_RANK_TIMEOUT"
