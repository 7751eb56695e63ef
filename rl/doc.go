// Package rl trains a policy: it puts engine, search engines, rewards and algorithms together into a training run.
//
//	c := rl.Defaults()
//	c.Policy.Model, c.Data.Data, c.Schedule.Out = "models/base", "questions.jsonl", "runs/first"
//	t, err := rl.New(ctx, device, c)
//	...
//	defer t.Close()
//	last, err := t.Run(ctx)
//
// # Rooms
//
//	config    every option, its default and its checks
//	roles     which model plays policy, reference, critic and simulator, on which weights and device
//	plan      the memory that these roles take, and what would make a run fit
//	rollout   the acting half of a step: questions, episodes, rewards, which groups can be trained on
//	update    the learning half: log-probs of the reference, values, advantages, optimizer steps
//	rundir    the run directory: logs, checkpoints, the state, what a run may go on from
//
// # A step
//
//	questions ── Sampler draws BatchSize of them, a function of seed and step
//	    │
//	episodes ─── rollout.Worker: N per question, a goroutine each (package episode): think, search, read, answer
//	    │            policy.Generate ─┐                       ┌─ search.Search ── simulator.Generate ─┐
//	    │                             └── one engine.Engine batches whatever is pending of all models ┘
//	rewards ──── token F1 of the answer (package reward); a group with a failed search is rolled out again
//	    │
//	advantages ─ over the rollouts of a question (package algo)
//	    │
//	reference ── log-probs of a frozen copy, one packed pass, if there is a KL term
//	    │
//	update ───── for each mini-batch: engine/train runs the forward pass, hands log-probs to algo.Policy.Loss, runs the
//	    │        backward pass and takes an AdamW step
//	record ───── metrics.jsonl, episodes.jsonl, checkpoints/step-N (package rundir)
//
// Trainer.Step is this picture in code.
//
// # Words
//
//   - Policy: the model that is trained. Simulator: the model that writes search results. Reference: the model that the
//     KL is measured from.
//   - Episode or trajectory: one attempt at a question. Turn: what the policy generates until it acts, and the
//     observation that answers it.
//   - Group: the N episodes of one question. Rollout: the running of episodes.
//   - tau: the probability that a search returns noise; it rises during training (the curriculum).
//   - Observation: text of the environment inside an episode. It is never trained on.
//   - Mask: true for ids that the policy sampled itself.
package rl
