// Package serve answers OpenAI's HTTP API from the engine: the simulated search engine of ZeroSearch's scripts (port 6001), and any
// OpenAI client, work with it unchanged.
//
//	s, err := serve.New(eng, []serve.Model{{ID: "simulator", Engine: "model", Config: m.Config, Tokenizer: tok, Template: tmpl, EOS: eos}}, serve.Options{})
//	l, err := net.Listen("tcp", serve.DefaultAddress)
//	err = s.Serve(ctx, l) // until ctx ends; what is under way is finished first
//
// A request becomes sequences of the engine, one for each prompt and choice, and the engine batches whatever is pending. Choice i of a
// request with seed s draws from engine.Stream(s, i), so that a response depends on its request alone.
//
// Everything a client can do is bounded: the body in bytes and in time, the sequences in flight (429 beyond them), the time a reader
// may let a stream wait. A client that is gone is noticed and its pages are free at the next step.
//
// Endpoints: POST /v1/chat/completions, POST /v1/completions, GET /v1/models, GET /v1/models/ID, GET /health, GET /metrics.
// What a request may say is one table (parameters.go): OpenAI's parameters and vLLM's, each done, or taken with the values that ask
// for nothing and refused with any other. Names that are not in it are refused. docs/serve.md has the table.
//
// Log-probabilities are those of the whole vocabulary, after temperature, before penalties and truncation.
package serve
