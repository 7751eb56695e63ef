package search

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"sync"
	"sync/atomic"
	"time"
)

// GeneratorAt is where a generator of another process answers (ServeGenerator).
type GeneratorAt struct {
	Addresses []string // HOST:PORT of one process, of which some may not be reached from here
	Token     string   // that requests carry
}

// DistantRequest is a request for ServeGenerator, as net/rpc sends it.
type DistantRequest struct {
	Token    string
	Messages []Message
	Options  GenerateOptions
}

// DistantAnswer is its answer.
type DistantAnswer struct {
	Generation
	Lost string // the generator cannot be used any more, and why
}

// generatorService is a generator as net/rpc calls it.
type generatorService struct {
	ctx   context.Context
	g     Generator
	token string
}

var errToken = errors.New("another run's")

// Hello accepts who has the token.
func (s *generatorService) Hello(token string, _ *bool) error {
	if subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) == 0 {
		return errToken
	}
	return nil
}

// Generate is the generator's.
func (s *generatorService) Generate(r *DistantRequest, out *DistantAnswer) (err error) {
	if err := s.Hello(r.Token, nil); err != nil {
		return err
	}
	out.Generation, err = s.g.Generate(s.ctx, r.Messages, r.Options)
	if gone := new(Unavailable); errors.As(err, &gone) {
		out.Lost, err = gone.Err.Error(), nil
	}
	return err
}

// ServeGenerator answers requests for g that carry the token until l is closed. A request runs until ctx ends.
func ServeGenerator(ctx context.Context, l net.Listener, g Generator, token string) error {
	s := rpc.NewServer()
	if err := s.RegisterName("Generator", &generatorService{ctx, g, token}); err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("waiting for the ranks that search: %w", err)
		}
		go s.ServeConn(c)
	}
}

// Distant is a generator that is played by others, each of which gives the same text for the same request.
type Distant struct {
	all []*distant
}

// distant is one of them.
type distant struct {
	host    string
	token   string
	client  *rpc.Client
	waiting atomic.Int64 // requests under way
}

// reachWithin is how long a connection may take.
const reachWithin = 5 * time.Second

// Reach connects to generators of other processes.
func Reach(ctx context.Context, at []GeneratorAt) (*Distant, error) {
	d := &Distant{}
	for _, a := range at {
		x, err := reach(ctx, a)
		if err != nil {
			d.Close()
			return nil, err
		}
		d.all = append(d.all, x)
	}
	return d, nil
}

func reach(ctx context.Context, a GeneratorAt) (*distant, error) {
	var failed error
	for _, address := range a.Addresses {
		dialer := net.Dialer{Timeout: reachWithin}
		c, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			failed = cmp.Or(failed, err)
			continue
		}
		client := rpc.NewClient(c)
		if err = client.Call("Generator.Hello", a.Token, new(bool)); err == nil {
			return &distant{host: address, token: a.Token, client: client}, nil
		}
		client.Close()
		failed = cmp.Or(failed, fmt.Errorf("what answers at %s: %w", address, err))
	}
	return nil, fmt.Errorf("a rank that serves the simulator is not reached at %v: %w", a.Addresses, failed)
}

// Generate asks the one with the fewest requests under way.
func (d *Distant) Generate(ctx context.Context, messages []Message, o GenerateOptions) (Generation, error) {
	x := d.all[0]
	for _, y := range d.all[1:] {
		if y.waiting.Load() < x.waiting.Load() {
			x = y
		}
	}
	x.waiting.Add(1)
	defer x.waiting.Add(-1)
	var out DistantAnswer
	call := x.client.Go("Generator.Generate", &DistantRequest{x.token, messages, o}, &out, make(chan *rpc.Call, 1))
	select {
	case <-ctx.Done():
		return Generation{}, ctx.Err()
	case <-call.Done:
	}
	err := call.Error
	if answered := rpc.ServerError(""); errors.As(err, &answered) {
		return Generation{}, errors.New("the simulator: " + err.Error())
	}
	if out.Lost != "" {
		err = errors.New(out.Lost)
	}
	if err != nil {
		return Generation{}, &Unavailable{Engine: "the simulator", Host: x.host, Tries: 1, Err: err}
	}
	return out.Generation, nil
}

// Close ends the connections.
func (d *Distant) Close() {
	var all sync.WaitGroup
	for _, x := range d.all {
		all.Go(func() { x.client.Close() })
	}
	all.Wait()
}
