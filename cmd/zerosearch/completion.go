package main

import (
	"embed"
	"fmt"

	"github.com/zerosearch-go/zerosearch/internal/commandline"
)

// completeVerb is what the completion scripts call: the words behind the program's name follow, the last one
// unfinished.
const completeVerb = "__complete"

//go:embed completion
var completionScripts embed.FS

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

func (c *completionCmd) Run(w *world) error {
	text, err := completionScripts.ReadFile("completion/" + c.Shell)
	if err == nil {
		_, err = w.out.Write(text)
	}
	if err != nil {
		return fmt.Errorf("writing the completion script: %w", err)
	}
	return nil
}

// completed are the words that flags take where the parser does not check them.
var completed = commandline.Completion{Types: map[string]string{"device": "auto cpu cuda ref"},
	Folders: []string{"simulation-llm"}, Words: flagWords}

// flagWords are the words of flags. A flag takes those that stand in its help.
var flagWords = map[string]string{
	"algo":       "grpo dr_grpo dapo gspo cispo sapo rloo opo gpg reinforce reinforce++ reinforce++-baseline ppo",
	"curriculum": "zerosearch linear constant adaptive", "critic-train": "all lora head",
	"dtype": "f32 bf16 q8 q4", "kv-dtype": "f32 bf16", "ref-dtype": "f32 bf16 q8 q4", "sim-dtype": "f32 bf16 q8 q4",
	"kl-in": "loss reward", "kl-type": "k1 k2 k3 abs",
	"loss-agg-mode": "token-mean seq-mean-token-sum seq-mean-token-mean seq-mean-token-sum-limit " +
		"seq-mean-token-sum-norm",
	"lora-targets": "all-linear", "lr-schedule": "constant linear cosine", "method": "agent direct cot rag all",
	"rollout-is": "token off", "reference": "frozen adapters-off none", "remote-prompt": "simulate_prompt simulate_sft",
	"resume":         "auto",
	"reward":         "f1 em sub_em format shuffled constant",
	"search-mode":    "simulate_prompt simulate_sft remote google wiki bm25 replay none",
	"simulation-llm": "same policy",
}
