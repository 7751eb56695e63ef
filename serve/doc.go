// Package serve is an HTTP server that speaks OpenAI's API and generates with the engine. ZeroSearch's scripts, which
// expect a simulated search engine on port 6001, and any OpenAI client work with it unchanged.
//
//	s, err := serve.New(eng, []serve.Model{{ID: "simulator", Engine: "model", Config: m.Config, Tokenizer: tok, Template: tmpl, EOS: eos}}, serve.Options{})
//	l, err := net.Listen("tcp", serve.DefaultAddress)
//	err = s.Serve(ctx, l) // until ctx ends; requests in flight are finished first
//
// A request becomes one sequence of the engine for each prompt and choice. The engine batches all pending sequences.
// Choice i of a request with seed s takes its random numbers from engine.Stream(s, i), so a response depends only on
// its request.
//
// Options limit every client: the size of a request body and the time to send it, the number of sequences in flight
// (beyond it the status is 429), and the time that a client may take to read. When a client disconnects, its sequences
// are cancelled and their KV pages are freed at the engine's next step.
//
// Endpoints: POST /v1/chat/completions, /v1/completions, /v1/embeddings, /tokenize, /detokenize; GET /v1/models,
// /v1/models/ID, /tokenizer_info, /version, /health, /ping, /metrics, and / for a page to talk to the models on
// (package page). parameters.go and endpoints.go have the tables of OpenAI's and vLLM's request parameters. A parameter
// is either supported, or accepted only with values that have no effect. Other values and unknown names are refused.
// docs/serve.md shows the tables.
//
// Log-probabilities are computed over the whole vocabulary, after temperature, before penalties and truncation.
package serve
