package main

import (
	"fmt"
	"time"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// graphs records operations of a decode pass and replays them over other values.
func graphs(j *job) error {
	d, err := j.open()
	if err != nil {
		return err
	}
	defer d.Close()
	recorder, ok := d.(kernels.Recorder)
	if !ok {
		return skip("this device records no passes")
	}
	m, c, f, layers := 64, 2048, 4096, 24
	if j.flags.Quick {
		m, c, f, layers = 3, 64, 96, 2
	}
	var r room
	defer r.free()
	x, h, norm := r.tensor(d, kernels.F32, m, c), r.tensor(d, kernels.F32, m, c), r.tensor(d, kernels.F32, 1, c)
	gate, up, act := r.tensor(d, kernels.F32, m, f), r.tensor(d, kernels.F32, m, f), r.tensor(d, kernels.F32, m, f)
	wg, wu, wd := r.weight(d, f, c, kernels.BF16), r.weight(d, f, c, kernels.BF16), r.weight(d, c, f, kernels.BF16)
	if r.err != nil {
		return r.err
	}
	kernels.Upload(d, norm, noise(c, 1))
	pass := func() {
		for range layers {
			d.RMSNorm(h, x, norm, 1e-6, kernels.Tensor{})
			d.MatMul(gate, h, wg, kernels.Epilogue{})
			d.MatMul(up, h, wu, kernels.Epilogue{})
			d.SwiGLU(act, gate, up)
			d.MatMul(x, act, wd, kernels.Epilogue{Add: true})
		}
	}
	run := func(seed uint64, f func()) ([]float32, error) {
		kernels.Upload(d, x, noise(m*c, seed))
		f()
		out := make([]float32, m*c)
		return out, kernels.Download(d, out, x)
	}
	if _, err := run(1, pass); err != nil {
		return err
	}
	recording, err := recorder.Record(pass)
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	defer recording.Free()
	for seed := range uint64(3) {
		want, err := run(seed, pass)
		if err != nil {
			return err
		}
		got, err := run(seed, recording.Replay)
		if err != nil {
			return fmt.Errorf("replaying: %w", err)
		}
		if n := different(want, got); n > 0 {
			return fmt.Errorf("%d of %d values of a replayed pass have other bits", n, len(got))
		}
	}
	if j.flags.Quick {
		return nil
	}
	for what, f := range map[string]func(){"queued": pass, "replayed": recording.Replay} {
		began := time.Now()
		for range 20 {
			f()
		}
		host := time.Since(began)
		if err := d.Sync(); err != nil {
			return err
		}
		j.say("%d operations %s: %.0f us, of which the host %.0f us", 5*layers, what,
			time.Since(began).Seconds()/20*1e6,
			host.Seconds()/20*1e6)
		j.values[what+" seconds"] = time.Since(began).Seconds() / 20
	}
	return nil
}
