//go:build !nogpu && linux

package dist_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/engine/dist/disttest"
)

// scenario is the environment variable with which this test's program is a rank, and what it does.
const scenario = "ZEROSEARCH_TEST_RANK"

func TestMain(m *testing.M) {
	if s := os.Getenv(scenario); s != "" {
		os.Exit(rankMain(s))
	}
	os.Exit(m.Run())
}

func rankMain(scenario string) int {
	g, err := dist.Open(dist.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	last := g.Rank() == g.Size()-1
	switch scenario {
	case "conform":
		if err = disttest.Conform(g); err == nil {
			err = disttest.Fail(g)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "error: rank %d: %v\n", g.Rank(), err)
			g.Abort(1)
		}
		if g.Rank() == 0 {
			fmt.Println("conforms:", g)
		}
	case "die", "hang", "abort":
		g.Barrier()
		if last {
			time.Sleep(200 * time.Millisecond)
			switch scenario {
			case "die":
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
			case "hang":
				syscall.Kill(os.Getpid(), syscall.SIGSTOP)
			case "abort":
				g.Abort(7)
			}
		}
		g.Barrier()
		fmt.Println("this rank goes on")
	case "stop": // for less than the timeout: a machine that slept
		g.Barrier()
		if last {
			exec.Command("sh", "-c", fmt.Sprintf("sleep 2; kill -CONT %d", os.Getpid())).Start()
			syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		}
		if err := g.Barrier(); err == nil && last {
			fmt.Println("went on")
		}
	case "open":
	}
	if err := g.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

// launchers are the mpiruns of this machine, by the MPI that they belong to.
func launchers(t *testing.T) map[dist.Kind]string {
	out := map[dist.Kind]string{}
	for _, name := range []string{"mpirun.openmpi", "mpirun.mpich", "mpirun", "mpiexec"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		version, _ := exec.Command(path, "--version").CombinedOutput()
		k := dist.OpenMPI
		if !bytes.Contains(version, []byte("Open MPI")) && !bytes.Contains(version, []byte("OpenRTE")) {
			k = dist.MPICH
		}
		if out[k] == "" {
			out[k] = path
		}
	}
	if len(out) == 0 {
		t.Skip("no mpirun is installed (Debian: apt install openmpi-bin, or mpich)")
	}
	return out
}

// start runs a scenario by a launcher.
func start(t *testing.T, mpirun string, ranks int, what string, env ...string) (out string,
	took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, mpirun, "-n", strconv.Itoa(ranks), os.Args[0])
	c.Env = append(os.Environ(), append([]string{scenario + "=" + what, "OMPI_ALLOW_RUN_AS_ROOT=1",
		"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "OMPI_MCA_rmaps_base_oversubscribe=1",
		"OMPI_MCA_hwloc_base_binding_policy=none"}, env...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	began := time.Now()
	text, err := c.CombinedOutput()
	require.NoError(t, ctx.Err(), "the ranks hang: %s", text)
	return string(text), time.Since(began), err
}

func TestMPIConforms(t *testing.T) {
	for k, mpirun := range launchers(t) {
		for _, n := range []int{2, 3} {
			out, _, err := start(t, mpirun, n, "conform")
			require.NoError(t, err, out)
			require.Contains(t, out, fmt.Sprintf("conforms: %d ranks by %s", n, k))
		}
	}
}

// A rank that dies, hangs or aborts ends all of them.
func TestMPIEnds(t *testing.T) {
	for k, mpirun := range launchers(t) {
		for _, how := range []string{"die", "hang", "abort"} {
			out, took, err := start(t, mpirun, 3, how, dist.TimeoutVariable+"=3s")
			require.Error(t, err, out)
			require.Less(t, took, 20*time.Second, "%s, %s: %s", k, how, out)
			if how == "hang" { // mpirun wakes the rank before it ends it
				require.Contains(t, out, "error: rank 2 has given no sign of life for 3s: all ranks are ended")
			} else {
				require.NotContains(t, out, "goes on", "%s, %s", k, how)
			}
		}
		out, _, err := start(t, mpirun, 2, "stop", dist.TimeoutVariable+"=6s")
		require.NoError(t, err, out)
		require.Contains(t, out, "went on")
	}
}

// A launcher and the library of another MPI are an error that says what to do, in every rank.
func TestMPIMismatch(t *testing.T) {
	all := launchers(t)
	if len(all) < 2 {
		t.Skip("only one MPI is installed")
	}
	for k, mpirun := range all {
		other := dist.MPICH
		if k == dist.MPICH {
			other = dist.OpenMPI
		}
		files := dist.Files(other)
		for _, path := range files[:min(2, len(files))] {
			out, _, err := start(t, mpirun, 2, "open", dist.Variable+"="+path)
			require.Error(t, err, out)
			require.Contains(t, out, "started 2 processes, and", path)
			require.Contains(t, out, dist.Variable)
		}
		out, _, err := start(t, mpirun, 2, "conform", dist.Variable+"=off")
		require.NoError(t, err, out)
		require.Contains(t, out, "conforms: 1 rank")
	}
}
