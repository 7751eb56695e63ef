package rl

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Of the ranks of a group the last may only serve the simulator: they load nothing else, and the others, which train,
// ask them by TCP. The documents, and so the episodes, are those of a simulator in the ranks that train: they depend on
// the messages and the random stream of a request only.

// simulatorOffer is what the ranks tell each other before they begin.
type simulatorOffer struct {
	At    search.GeneratorAt
	Parts fingerprint.Parts // of the simulator's model
}

// simulatorParts tell the simulators of ranks apart.
func simulatorParts(c *Config) (fingerprint.Parts, error) {
	if err := c.Search.CheckServable(); err != nil {
		return nil, err
	}
	p := fingerprint.Parts{}
	return p, roles.ModelParts(p, "simulation-llm", c.Search.SimulationLLM)
}

// agreeOnSimulator gives what all ranks offer, or refuses ranks with another model.
func agreeOnSimulator(g dist.Group, c *Config, own simulatorOffer, err error) ([]simulatorOffer, error) {
	if err == nil {
		own.Parts, err = simulatorParts(c)
	}
	all, err := dist.Agree(g, own, err)
	for r, x := range all {
		if changed := fingerprint.Compare(all[0].Parts, x.Parts); len(changed) > 0 {
			return nil, fmt.Errorf("rank %d does not have the simulator of rank 0: %s", r, fingerprint.Sentence(changed))
		}
	}
	return all, err
}

// DistantSimulator connects a rank of g, which trains, to those behind the first trainers ranks, which call
// ServeSimulator meanwhile. What it returns is Config.Search.Generator; close it after the Trainer.
func DistantSimulator(ctx context.Context, c Config, g dist.Group, trainers int) (*search.Distant, error) {
	all, err := agreeOnSimulator(g, &c, simulatorOffer{}, nil)
	if err != nil {
		return nil, err
	}
	var at []search.GeneratorAt
	for _, x := range all[trainers:] {
		at = append(at, x.At)
	}
	return search.Reach(ctx, at)
}

// ServeSimulator writes the documents of the simulator of c, on its device, or else dev, for the ranks of g that train.
// It returns when these call g.Barrier, or one has failed.
func ServeSimulator(ctx context.Context, dev kernels.Device, c Config, g dist.Group) error {
	own, end, err := serveSimulator(ctx, dev, c)
	if err == nil {
		defer end()
	}
	if _, err := agreeOnSimulator(g, &c, own, err); err != nil {
		return err
	}
	return g.Barrier()
}

// serveSimulator begins to answer.
func serveSimulator(ctx context.Context, dev kernels.Device, c Config) (own simulatorOffer, end func(), err error) {
	t := &Trainer{Config: c}
	var served *engine.Engine
	var l net.Listener
	closeAll := func() {
		if l != nil {
			l.Close()
		}
		if served != nil {
			served.Close()
		}
		t.models.Close()
	}
	defer func() {
		if err != nil {
			closeAll()
			err = config.Error(err)
		}
	}()
	role, kv, err := t.simulatorAlone(&c)
	if err != nil {
		return own, nil, err
	}
	on := c.Search.On(dev)
	t.models.Devices = map[string]kernels.Device{role.Device: on}
	p, err := t.models.Open(ctx, role)
	if err != nil {
		return own, nil, err
	}
	served = engine.New(on, engine.Options{})
	if err := t.addModel(served, simulatorName, p.Model, kv, roles.SimulatedLength(&c.Search)); err != nil {
		return own, nil, err
	}
	writes, err := roles.EngineSimulator(served, simulatorName, p, p.Adapter, c.Search.SimThinking)
	if err != nil {
		return own, nil, err
	}
	if l, err = net.Listen("tcp", ":0"); err != nil {
		return own, nil, fmt.Errorf("waiting for the ranks that search: %w", err)
	}
	own.At.Token = rand.Text()
	own.At.Addresses, err = addresses(l)
	go search.ServeGenerator(context.WithoutCancel(ctx), l, writes, own.At.Token)
	return own, closeAll, err
}

// simulatorAlone is the role of the simulator beside no policy, and the type of keys and values.
func (t *Trainer) simulatorAlone(c *Config) (role *roles.Role, kv kernels.DType, err error) {
	if _, err := t.check(); err != nil {
		return nil, 0, err
	}
	dtype, err := config.WeightType("--dtype", c.Policy.DType)
	if err != nil {
		return nil, 0, err
	}
	if kv, err = config.KVType(c.Policy.KVDType, dtype); err != nil {
		return nil, 0, err
	}
	r := roles.Resolver{Trains: true, Device: "policy", SimDevice: "simulator"}
	cast, err := r.Resolve(c)
	if err == nil && (cast.Simulator == nil || cast.Simulator.Source != roles.Own) { // such as the policy's base
		err = config.ErrNoOwnSimulator
	}
	if err != nil {
		return nil, 0, err
	}
	return cast.Simulator, kv, nil
}

// addresses are those at which l may be reached: on this machine, and from others.
func addresses(l net.Listener) (out []string, err error) {
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, err
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("asking for this host's addresses: %w", err)
	}
	out = []string{net.JoinHostPort("127.0.0.1", port)}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			out = append(out, net.JoinHostPort(n.IP.String(), port))
		}
	}
	return out, nil
}
