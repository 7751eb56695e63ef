package bench

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

//go:embed peers/server.py
var serverSource string

// server is a process of peers/server.py.
type server struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	version string
}

// request is a request to peers/server.py.
type request struct {
	Do        string  `json:"do"`
	DType     string  `json:"dtype,omitempty"`
	M         int     `json:"m,omitempty"`
	K         int     `json:"k,omitempty"`
	N         int     `json:"n,omitempty"`
	Least     float64 `json:"least,omitempty"`
	Model     string  `json:"model,omitempty"`
	Sequences int     `json:"sequences,omitempty"`
	Length    int     `json:"length,omitempty"`
}

// startServer runs the interpreter.
func startServer(ctx context.Context, python string, threads int) (*server, error) {
	s := &server{cmd: exec.CommandContext(ctx, python, "-c", serverSource, strconv.Itoa(threads))}
	s.cmd.Env = torchEnv()
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		s.in, err = s.cmd.StdinPipe()
	}
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w: give --python an interpreter with torch", python, err)
	}
	s.out = bufio.NewScanner(out)
	hello, err := s.answer()
	if err != nil {
		s.close()
		return nil, fmt.Errorf("starting %s: %w: give --python an interpreter with torch", python, err)
	}
	s.version = hello.Version
	return s, nil
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// ask sends a request and returns the seconds in the answer.
func (s *server) ask(r request) (float64, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	if _, err := s.in.Write(append(line, '\n')); err != nil {
		return 0, fmt.Errorf("asking torch: %w", err)
	}
	a, err := s.answer()
	if err != nil {
		return 0, fmt.Errorf("asking torch: %w", err)
	}
	if !(a.Seconds > 0) {
		return 0, fmt.Errorf("asking torch: it says that %s took %v seconds", r.Do, a.Seconds)
	}
	return a.Seconds, nil
}

// reply is a line of peers/server.py's output.
type reply struct {
	Version, Error string
	Seconds        float64
}

func (s *server) answer() (reply, error) {
	if !s.out.Scan() {
		if err := s.out.Err(); err != nil {
			return reply{}, err
		}
		return reply{}, errors.New("it ended without an answer")
	}
	return parseReply(s.out.Bytes())
}

func parseReply(line []byte) (a reply, err error) {
	if err = json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("its answer is not JSON: %w", err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// close ends the process.
func (s *server) close() {
	s.in.Close()
	_ = s.cmd.Wait()
}

// modelWork is work of transformers' model that is compared with PyTorch: eager attention on its side, which is the
// quicker one here.
type modelWork struct {
	do, dtype, peer string // do and dtype are what server.py calls them
	shape           TrainShape
	// open prepares ours and returns a function that takes the tokens per second once.
	open func(o PeerOptions, threads int, s TrainShape) (rate func(context.Context) (float64, error), done func(),
		err error)
}

// scoreShape is the batch whose log-probabilities are computed.
var scoreShape = TrainShape{Sequences: 8, Length: 512}

// modelWorks are steps of training, on f32 weights with fused AdamW on their side, and log-probabilities. PyTorch
// computes in bf16 and in f32, whatever ours is: on CPUs without bf16 instructions f32 is faster.
func modelWorks(shapes []TrainShape) (works []modelWork) {
	for _, s := range shapes {
		works = append(works, modelWork{"train", "bf16", "PyTorch, bf16 autocast", s, ourTraining},
			modelWork{"train", "f32", "PyTorch, f32", s, ourTraining})
	}
	return append(works, modelWork{"score", "bf16", "PyTorch, bf16", scoreShape, ourScoring},
		modelWork{"score", "f32", "PyTorch, f32", scoreShape, ourScoring})
}

// modelPeers compares with PyTorch on the model.
func modelPeers(ctx context.Context, o PeerOptions, threads int, run func(contest) error) error {
	if o.Python == "" || o.Model == "" {
		return nil
	}
	var s *server // started when first needed: a filter may leave nothing to do
	defer func() {
		if s != nil {
			s.close()
		}
	}()
	for _, w := range modelWorks(o.Shapes) {
		var ours func(context.Context) (float64, error)
		var done func()
		c := contest{name: fmt.Sprintf("%s%dx%d", w.do, w.shape.Sequences, w.shape.Length), peer: w.peer,
			dtype: o.DType.String(), unit: "t/s",
			ours: func(ctx context.Context) (_ float64, err error) {
				if ours == nil {
					if ours, done, err = w.open(o, threads, w.shape); err != nil {
						return 0, err
					}
				}
				return ours(ctx)
			},
			theirs: func(context.Context) (_ float64, err error) {
				if s == nil {
					if s, err = startServer(ctx, o.Python, threads); err != nil {
						return 0, err
					}
				}
				sec, err := s.ask(request{Do: w.do, DType: w.dtype, Model: o.Model, Sequences: w.shape.Sequences,
					Length: w.shape.Length})
				return float64(w.shape.Sequences*w.shape.Length) / sec, err
			}}
		c.live = func() []int {
			if s == nil {
				return nil
			}
			return []int{s.pid()}
		}
		err := run(c)
		if done != nil {
			done()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ourTraining takes steps of a trainer.
func ourTraining(o PeerOptions, threads int, s TrainShape) (rate func(context.Context) (float64, error), done func(),
	err error) {
	d, m, closeModel, err := o.openAlone(threads, true)
	if err != nil {
		return nil, nil, err
	}
	tr, err := train.New(d, m, nil, train.Options{MaxGradNorm: 1, WeightDecay: 0.01,
		MicroBatchTokens: s.Sequences * s.Length, KVType: kernels.BF16})
	if err != nil {
		closeModel()
		return nil, nil, err
	}
	batch := randomBatch(m.Config.Vocab, s, o.Seed)
	return func(ctx context.Context) (float64, error) {
		x, err := once(ctx, func() error {
			_, err := tr.Step(batch, nll(s.Sequences*(s.Length-1)), 1e-6)
			return err
		})
		return float64(s.Sequences*s.Length) / x, err
	}, func() { tr.Close(); closeModel() }, nil
}

// ourScoring computes log-probabilities and entropies as a reference model's are, half the batch at a time as the peer
// does.
func ourScoring(o PeerOptions, threads int, s TrainShape) (rate func(context.Context) (float64, error), done func(),
	err error) {
	d, m, closeModel, err := o.openAlone(threads, false)
	if err != nil {
		return nil, nil, err
	}
	sc, err := train.NewScorer(d, m, nil, train.Options{MicroBatchTokens: s.Sequences * s.Length / 2,
		KVType: kernels.BF16})
	if err != nil {
		closeModel()
		return nil, nil, err
	}
	batch := randomBatch(m.Config.Vocab, s, o.Seed)
	return func(ctx context.Context) (float64, error) {
		x, err := once(ctx, func() error {
			_, _, err := sc.Score(batch)
			return err
		})
		return float64(s.Sequences*s.Length) / x, err
	}, func() { sc.Close(); closeModel() }, nil
}

// openAlone opens the model on a new device.
func (o PeerOptions) openAlone(threads int, trainable bool) (kernels.Device, *model.Model, func(), error) {
	d, _, _, err := o.open(threads)
	if err != nil {
		return nil, nil, nil, err
	}
	m, _, err := o.openModel(d, trainable)
	if err != nil {
		d.Close()
		return nil, nil, nil, err
	}
	return d, m, func() { m.Close(); d.Close() }, nil
}
