package main

import (
	"fmt"
	"io"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
)

type devicesCmd struct {
	JSON    bool `name:"json" help:"Print the result as JSON on stdout, and nothing else."`
	Measure bool `name:"measure" help:"Measure what the processor can do at most; takes a second."`
	Threads int  `name:"threads" help:"Threads to compute with; 0: all usable cores." default:"0"`
}

func (c *devicesCmd) Run(w *world) error {
	var memory *devices.Memory
	if m := engine.MachineMemory(); m != nil {
		memory = &devices.Memory{Total: m.Total, Available: m.Available}
	}
	processor, err := devices.DescribeCPU(c.Threads, c.Measure, memory)
	if err != nil {
		return err
	}
	list := devices.List()
	d := list.Describe(processor)
	if c.JSON {
		return writeJSON(w, d)
	}
	if _, err := io.WriteString(w.out, d.String()); err != nil {
		return fmt.Errorf("writing the list: %w", err)
	}
	return nil
}
