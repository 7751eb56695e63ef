//go:build !nogpu && linux

package train

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/engine/dist/disttest"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/cudatest"
	"github.com/zerosearch-go/zerosearch/model"
)

// gpus gives each rank of tests a simulated GPU until the end of the test.
func gpus(t *testing.T, n int) (*cudatest.Machine, []*cudatest.GPU) {
	var all []*cudatest.GPU
	for range n {
		all = append(all, cudatest.A100())
	}
	m := cudatest.Install(t, all...)
	open, shape := openRank, rankShape
	groups, prompt, longest := rankGroups, rankPrompt, rankLongest
	openRank = func(g dist.Group) (kernels.Device, error) { return cuda.New(g.Rank()) }
	rankShape = func() *model.Config {
		return &model.Config{Arch: "qwen2", Vocab: 67, Hidden: 16, Inter: 24, Layers: 1, Heads: 2, KVHeads: 1,
			HeadDim: 8, MaxPos: 64, Eps: 1e-6, RopeTheta: 1e4, QKVBias: true}
	}
	elements := exchangeElements
	rankGroups, rankPrompt, rankLongest, exchangeElements = 3, 3, 12, 700
	t.Cleanup(func() {
		openRank, rankShape, rankGroups, rankPrompt, rankLongest = open, shape, groups, prompt, longest
		exchangeElements = elements
	})
	return m, all
}

// linkedRank opens the device of a rank and links it to the others.
func linkedRank(g dist.Group) (kernels.Device, error) {
	dev, err := cuda.New(g.Rank())
	if err == nil {
		_, err = Link(dev, g)
	}
	return dev, err
}

// byDevice is a group whose bytes go from device to device; who is there, and who has failed, g knows.
type byDevice struct {
	dist.Group
	dev kernels.Device
}

// words are n bytes in F32 of a device.
func words(n int) int { return (n + 3) / 4 }

// move sends the parts of send to the ranks and receives parts of these lengths, in bytes.
func (b byDevice) move(send [][]byte, received []int) (parts [][]byte, err error) {
	total := 0
	for r := range send {
		total += words(len(send[r])) + words(received[r])
	}
	x, err := kernels.NewTensor(b.dev, kernels.F32, 1, max(1, total))
	if err != nil {
		return nil, err
	}
	defer x.Buf.Free()
	to, from, at := make([]kernels.Tensor, len(send)), make([]kernels.Tensor, len(send)), 0
	part := func(n int) (t kernels.Tensor) {
		if n > 0 {
			t = x.ColRange(at, words(n))
		}
		at += words(n)
		return t
	}
	for r, s := range send {
		if from[r], to[r] = part(len(s)), part(received[r]); len(s) > 0 {
			b.dev.Upload(from[r], append(append([]byte(nil), s...), make([]byte, 4*words(len(s))-len(s))...))
		}
	}
	b.dev.(kernels.Linker).Linked().AllToAll(to, from)
	if err := together(b.Group, b.dev.Sync, b.dev.(kernels.Linker).Linked().Abort); err != nil {
		return nil, err
	}
	for r, n := range received {
		host := make([]byte, 4*words(n))
		if n > 0 {
			if err := b.dev.Fetch(host, to[r]).Wait(); err != nil {
				return nil, err
			}
		}
		parts = append(parts, host[:n])
	}
	return parts, nil
}

func (b byDevice) AllToAll(recv []byte, received []int, send []byte, sent []int) error {
	var to [][]byte
	for _, n := range sent {
		to, send = append(to, send[:n]), send[n:]
	}
	parts, err := b.move(to, received)
	for _, p := range parts {
		recv = recv[copy(recv, p):]
	}
	return err
}

// AllGather is that of the link, of parts as long as the longest.
func (b byDevice) AllGather(_, own []byte) ([][]byte, error) {
	sizes, err := dist.Share(b.Group, len(own))
	if err != nil {
		return nil, err
	}
	most := 1
	for _, n := range sizes {
		most = max(most, words(n))
	}
	x, err := kernels.NewTensor(b.dev, kernels.F32, len(sizes)+1, most)
	if err != nil {
		return nil, err
	}
	defer x.Buf.Free()
	b.dev.Upload(x.RowRange(len(sizes), 1), append(append([]byte(nil), own...), make([]byte, 4*most-len(own))...))
	l := b.dev.(kernels.Linker).Linked()
	l.AllGather(x.RowRange(0, len(sizes)), x.RowRange(len(sizes), 1))
	if err := together(b.Group, b.dev.Sync, l.Abort); err != nil {
		return nil, err
	}
	var out [][]byte
	for r, n := range sizes {
		host := make([]byte, 4*most)
		if err := b.dev.Fetch(host, x.RowRange(r, 1)).Wait(); err != nil {
			return nil, err
		}
		out = append(out, host[:n])
	}
	return out, nil
}

func (b byDevice) Broadcast(from int, data []byte) error {
	send, received := make([][]byte, b.Size()), make([]int, b.Size())
	if b.Rank() == from {
		for r := range send {
			send[r] = data
		}
	}
	received[from] = len(data)
	parts, err := b.move(send, received)
	if err == nil {
		copy(data, parts[from])
	}
	return err
}

// Devices that are linked by NCCL move bytes as every group does.
func TestLinkConforms(t *testing.T) {
	for _, size := range []int{2, 3} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			m, _ := gpus(t, size)
			inRanks(t, size, func(g dist.Group) error {
				dev, err := openRank(g)
				if err != nil {
					return err
				}
				note, err := Link(dev, g)
				if err == nil && note != "the GPUs exchange gradients and weights by NCCL 2.21.5" {
					err = fmt.Errorf("the note is %q", note)
				}
				if err == nil {
					err = disttest.Conform(byDevice{g, dev})
				}
				return errors.Join(err, dev.Close())
			})
			require.Greater(t, m.NCCL.Bytes, int64(1<<20))
		})
	}
}

// GPUs that exchange by NCCL learn bit for bit what they learn when all passes through the host: the model and an
// adapter, critic and average.
func TestLinkedLearnTheSame(t *testing.T) {
	for _, lora := range []bool{false, true} {
		for _, size := range []int{2, 3} {
			t.Run(fmt.Sprint(size, " ranks, adapter ", lora), func(t *testing.T) {
				m, _ := gpus(t, size)
				want := trainRanks(t, size, lora, t.TempDir(), 0, 2)
				require.Zero(t, m.NCCL.Bytes)
				openRank = linkedRank
				require.Equal(t, want, trainRanks(t, size, lora, t.TempDir(), 0, 2))
				require.NotZero(t, m.NCCL.Bytes)
			})
		}
	}
}

// Why GPUs are not linked is said, and they go on through the host; a library that fails is an error of all ranks.
func TestLinkRefused(t *testing.T) {
	try := func(t *testing.T, open func(g dist.Group) (kernels.Device, error)) (notes, errs []string) {
		t.Helper()
		type outcome struct{ note, err string }
		all := make([]outcome, 2)
		inRanks(t, 2, func(g dist.Group) error {
			dev, err := open(g)
			if err != nil {
				return err
			}
			note, err := Link(dev, g)
			all[g.Rank()].note = note
			if err != nil {
				all[g.Rank()].err = err.Error()
			}
			return dev.Close()
		})
		return []string{all[0].note, all[1].note}, []string{all[0].err, all[1].err}
	}
	m, _ := gpus(t, 2)
	m.NCCL.Without = "Send"
	notes, errs := try(t, openRank)
	require.Equal(t, []string{"", ""}, errs)
	for _, n := range notes {
		require.Equal(t, "gradients and weights pass through the host's memory: rank 0: libnccl.fake, NCCL 2.21.5, "+
			"is too old, 2.7 or later is needed: install it by pip install nvidia-nccl-cu12 (CUDA 13: "+
			"nvidia-nccl-cu13) or apt install libnccl2", n)
	}
	m.NCCL.Without = ""
	notes, errs = try(t, func(dist.Group) (kernels.Device, error) { return cuda.New(0) }) // both the same
	require.Equal(t, []string{"", ""}, notes)
	require.Contains(t, strings.Join(errs, " "),
		"do two ranks use the same GPU? Give each its own by CUDA_VISIBLE_DEVICES")
	require.NotContains(t, errs, "")
	m.NCCL.Fail = func(function string, _ int) int {
		if function == "GetUniqueId" {
			return 2
		}
		return 0
	}
	_, errs = try(t, openRank)
	require.Contains(t, errs[0], "making an id: NCCL error 2, ")
	require.Contains(t, errs[0], "(ZEROSEARCH_NCCL=off goes on without it; NCCL_DEBUG=WARN prints more)")
	require.Equal(t, "rank 0: "+errs[0], errs[1])
}

// Wherever NCCL fails in one rank, or the GPU of one is lost in the middle of a step, all ranks have an error, and none
// waits for ever for a GPU that does not come.
func TestLinkedFailTogether(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(m *cudatest.Machine, gpu *cudatest.GPU)
	}{
		{"send", func(m *cudatest.Machine, _ *cudatest.GPU) {
			m.NCCL.Fail = failAt("Send", 21)
		}},
		{"group", func(m *cudatest.Machine, _ *cudatest.GPU) {
			m.NCCL.Fail = failAt("GroupEnd", 9)
		}},
		{"gather", func(m *cudatest.Machine, _ *cudatest.GPU) {
			m.NCCL.Fail = failAt("AllGather", 8)
		}},
		{"lost", func(m *cudatest.Machine, gpu *cudatest.GPU) {
			m.NCCL.Fail = func(function string, n int) int {
				if function == "GroupEnd" && n == 12 {
					gpu.Lose()
				}
				return 0
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, all := gpus(t, 2)
			openRank = linkedRank
			c.set(m, all[1])
			errs := make(chan error, 2)
			for _, g := range dist.Local(2) {
				go func() {
					err := learn(g, true, func(l *learner) error {
						err := l.steps(g, 0, 3)
						if err != nil {
							g.Fail(err)
						}
						return err
					})
					errs <- err
				}()
			}
			for range 2 {
				select {
				case err := <-errs:
					require.Error(t, err)
				case <-time.After(2 * time.Minute):
					t.Fatal("a rank waits for ever")
				}
			}
		})
	}
}

// failAt lets call n of a function of NCCL fail.
func failAt(name string, n int) func(string, int) int {
	return func(function string, i int) int {
		if function == name && i == n {
			return 3
		}
		return 0
	}
}
