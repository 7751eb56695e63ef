// Package zerosearch trains language models to search, without a search engine and without Python.
//
// A policy learns by reinforcement to think, to search and to answer over several turns; a second language model plays
// the search engine and writes useful or noisy documents, noisier as training goes on (ZeroSearch, arXiv 2505.04588).
// Both models, the rollouts, the rewards, the gradients and the optimizer live in one process. The program is
// cmd/zerosearch; this module is the library it is a thin caller of.
//
// # Rooms
//
// Imports point down only:
//
//	demo                the whole idea in miniature: an invented world, two tiny models
//	rl                  what is learned: episodes, search engines, rewards, algorithms, the trainer loop
//	engine              who runs when: batching, KV pages, sampling; engine/train: gradients, AdamW, checkpoints
//	model               what a Llama, a Mistral, a Qwen2, a Qwen3 is, forward and backward
//	kernels             what a chip does: kernels/cpu, and kernels/ref, the specification
//	tokenizer           text and ids, chat templates
//	safetensors         files and tensors
package zerosearch
