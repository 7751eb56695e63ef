package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl"
)

// together does the work of a verb as one of the ranks that mpirun or srun has started, or alone. Rank 0 alone prints;
// an error of one rank ends all of them, and is its to print.
func (w *world) together(work func(g dist.Group) error) error {
	g, err := dist.Open(dist.Options{})
	if err != nil {
		return err
	}
	w.ranks = g
	if g.Rank() > 0 {
		w.log, w.out = newProgress(io.Discard), io.Discard
	}
	err = work(g)
	var other *dist.RankError
	switch {
	case !w.stoppedTogether(err):
		g.Fail(err)
	case errors.As(err, &other):
		err = context.Canceled // all were told to stop
	}
	closed := g.Close()
	if g.Rank() > 0 {
		return nil
	}
	return cmp.Or(err, closed)
}

// alone refuses to be one of several processes that would do the same work.
func (w *world) alone() error {
	if by, n := dist.Launched(); n > 1 && w.ranks == nil {
		return fmt.Errorf("%s started %d processes, and this verb is one process: start it without, or train with ranks "+
			"by the verb train", by, n)
	}
	return nil
}

// shareCores divides the cores of this host among its ranks, where the user did not say how many threads each has.
func (c *common) shareCores(w *world, g dist.Group) error {
	if g.Size() == 1 {
		return nil
	}
	w.log.line("%v", g)
	host, _ := os.Hostname()
	all, err := dist.Share(g, host)
	if err != nil {
		return err
	}
	here := 0
	for _, h := range all {
		if h == host {
			here++
		}
	}
	cores, usable := onlineCores(), runtime.NumCPU()
	switch {
	case c.Threads > 0:
	case usable == cores:
		c.Threads = max(1, cores/here)
	case usable == 1 && cores > here:
		w.log.line("note: each rank is bound to one of %d cores: give mpirun --bind-to none, or --threads", cores)
	}
	return nil
}

// onlineCores is how many cores the machine has, whatever this process is bound to.
func onlineCores() int {
	text, err := os.ReadFile("/sys/devices/system/cpu/online")
	n := 0
	for _, part := range strings.Split(strings.TrimSpace(string(text)), ",") {
		first, last, ok := strings.Cut(part, "-")
		a, bad := strconv.Atoi(first)
		b := a
		if ok && bad == nil {
			b, bad = strconv.Atoi(last)
		}
		if err = errors.Join(err, bad); err != nil {
			return runtime.NumCPU()
		}
		n += b - a + 1
	}
	return n
}

// follow trains as a rank that is not the first.
func (c *trainCmd) follow(w *world, dev kernels.Device, g dist.Group) error {
	t, err := rl.New(w.ctx, dev, c.Options, rl.WithZeros(), rl.WithRanks(g))
	if err != nil {
		return err
	}
	defer t.Close()
	_, err = t.Run(w.ctx)
	var stopped *rl.Stopped
	switch {
	case errors.Is(err, context.Canceled):
		return errInterrupted
	case errors.As(err, &stopped):
		return errStopped
	}
	return err
}
