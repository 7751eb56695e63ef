package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// signals sends interrupts to this process while the GPU works. Libraries of CUDA have been seen to replace the
// handlers of Go's runtime: an interrupt would then end the program in the middle of a step, or not be seen at all.
func signals(j *job) error {
	if runtime.GOOS == "windows" {
		return skip("Windows has no such signals")
	}
	d, err := j.open()
	if err != nil {
		return err
	}
	defer d.Close()
	work := func() error {
		for range 3 {
			if _, err := product(d); err != nil {
				return err
			}
		}
		return nil
	}
	if err := work(); err != nil {
		return err
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	got := make(chan os.Signal, 64)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(got)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		const times = 20
		for i := range times {
			if err := self.Signal(s); err != nil {
				return fmt.Errorf("sending %v: %w", s, err)
			}
			if err := work(); err != nil {
				return err
			}
			select {
			case <-got:
			case <-time.After(2 * time.Second):
				return fmt.Errorf("%v number %d did not reach the program in 2 s", s, i+1)
			}
		}
		j.say("%v: %d of %d reached the program", s, times, times)
	}
	sent, err := eachThread(syscall.SIGINT)
	if err != nil {
		return fmt.Errorf("sending SIGINT to every thread: %w", err)
	}
	time.Sleep(200 * time.Millisecond)
	j.say("%d threads, the driver's included, were sent SIGINT, and the program lives", sent)
	if err := dereference(); err != nil {
		return err
	}
	j.say("a wrong access of the host's memory is still an error that Go sees")
	return d.Sync()
}

// dereference reads through a pointer that is nil and takes the panic.
func dereference() (err error) {
	defer func() {
		if r := recover(); r == nil {
			err = errors.New("reading through a nil pointer was no panic")
		}
	}()
	var nothing *job
	runtime.KeepAlive(nothing.lines)
	return nil
}
