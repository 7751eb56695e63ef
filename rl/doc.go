// Package rl is what is learned: it puts engine, search engines, rewards and algorithms together into a training run.
//
// # A step
//
//	questions ── Sampler draws BatchSize of them, a function of seed and step
//	    │
//	episodes ─── Roller: N per question, a goroutine each (package episode): think, search, read, answer
//	    │            policy.Generate ─┐                       ┌─ search.Search ── simulator.Generate ─┐
//	    │                             └── one engine.Engine batches whatever is pending of all models ┘
//	rewards ──── token F1 of the answer (package reward); a group with a failed search is rolled out again
//	    │
//	advantages ─ over the rollouts of a question (package algo)
//	    │
//	reference ── log-probs of a frozen copy, one packed pass, if a KL term asks for them
//	    │
//	update ───── mini-batch by mini-batch: engine/train runs model forward, hands log-probs to algo.Policy.Loss, walks back, AdamW
//	    │
//	record ───── metrics.jsonl, episodes.jsonl, checkpoints/step-N (package rundir)
//
// Trainer.Step is this picture in code.
//
// # Words
//
//   - Policy: the model that learns. Simulator: the model that writes search results. Reference: what the policy is kept near to.
//   - Episode or trajectory: one attempt at a question. Turn: what the policy says in one go, and what it gets to read for it.
//   - Group: the N episodes of one question. Rollout: the running of episodes.
//   - tau: the probability that a search returns noise; it rises during training (the curriculum).
//   - Observation: text of the environment inside an episode. It is never trained on.
//   - Mask: true for ids that the policy sampled itself.
package rl
