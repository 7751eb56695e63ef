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
// Beyond OpenAI's parameters: top_k, min_p, ignore_eos, return_token_ids, and prompts as ids. Parameters that would change the result
// and are not implemented (tools, penalties, logit_bias, response_format, echo, suffix, best_of) are refused with 400, not ignored.
//
// Log-probabilities are those of the distribution that was sampled from before truncation: the whole vocabulary, after temperature.
package serve
