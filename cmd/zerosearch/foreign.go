package main

import "github.com/zerosearch-go/zerosearch/internal/commandline"

// foreignNames are names of options of other programs and what they are here.
var foreignNames = []commandline.Foreign{
	// Hugging Face's TRL and Transformers
	{"num-generations num-return-sequences n-samples-per-prompt", "n", ""},
	{"max-completion-length", "max-response-length max-tokens", ""},
	{"max-prompt-length", "max-start-length", ""},
	{"max-new-tokens", "max-tokens max-response-length", ""},
	{"per-device-train-batch-size", "train-batch-size batch-size", ""},
	{"gradient-accumulation-steps", "", "a batch is divided by itself: --micro-batch-tokens is how many tokens are " +
		"forwarded together"},
	{"learning-rate", "lr", ""}, {"num-train-epochs", "epochs total-steps", ""}, {"max-steps", "total-steps steps", ""},
	{"beta", "kl-coef", ""}, {"epsilon", "clip-low", ""}, {"epsilon-high", "clip-high", ""},
	{"loss-type advantage-estimator", "algo", ""}, {"num-iterations", "ppo-epochs", ""},
	{"scale-rewards", "", "--algo dr_grpo does not divide advantages by the standard deviation"},
	{"reward-funcs", "reward", ""}, {"model-name-or-path model-name pretrained-model-name-or-path model-id model-path",
		"model", ""},
	{"dataset-name dataset-path train-file train-files data-path", "data", ""},
	{"eval-dataset validation-file eval-file val-files", "eval-data", ""},
	{"output-dir", "out", ""}, {"save-steps save-freq", "save-every", ""}, {"eval-steps test-freq", "eval-every", ""},
	{"save-total-limit", "keep-last", ""}, {"load-best-model-at-end", "keep-best", ""},
	{"warmup-steps", "warmup-ratio", ""}, {"lr-scheduler-type", "lr-schedule", ""},
	{"resume-from-checkpoint resume-mode", "resume", ""}, {"gradient-checkpointing", "recompute", ""},
	{"bf16 fp16 torch-dtype load-in-8bit quantization model-dtype", "dtype", ""},
	{"use-peft lora-rank", "lora-r", ""}, {"lora-target-modules", "lora-targets", ""},
	{"adam-beta1 adam-beta2", "betas", ""}, {"adam-epsilon", "eps", ""}, {"do-sample", "temperature", ""},
	{"packing padding-free use-liger-kernel use-remove-padding", "", "sequences are never padded"},
	{"use-vllm vllm-mode vllm-server-host", "", "rollouts are made in this process: no vLLM is needed"},
	{"assistant-only-loss completion-only-loss", "", "only what the assistant writes is trained on"},
	{"report-to logging-steps log-completions", "",
		"every step is in metrics.jsonl and in TensorBoard's events of the " +
			"run directory, and train --ui shows a run live"},
	{"trust-remote-code", "", "no code of a checkpoint is ever run: the architectures are built in"},
	// vLLM and SGLang
	{"max-model-len context-length max-seq-length max-length", "max-context", ""},
	{"gpu-memory-utilization mem-fraction-static", "kv-memory", ""}, {"max-num-seqs", "concurrency max-queue", ""},
	{"kv-cache-dtype cache-type-k cache-type-v", "kv-dtype", ""}, {"enable-lora lora-modules", "adapter", ""},
	{"allowed-origins", "allow-origin", ""},
	{"tensor-parallel-size pipeline-parallel-size data-parallel-size tensor-model-parallel-size tp-size tp " +
		"n-gpus-per-node nnodes", "",
		"a model is on one device, which --device names; --sim-device gives the simulator another"},
	{"download-dir", "", "models lie in Hugging Face's cache, which HF_HOME names"},
	// llama.cpp
	{"ctx-size", "max-context", ""}, {"n-predict predict", "max-tokens", ""}, {"temp", "temperature", ""},
	{"repeat-penalty", "repetition-penalty", ""}, {"system-prompt", "system", ""}, {"lora", "adapter", ""},
	{"alias", "served-model-name", ""}, {"file", "data", ""},
	{"n-gpu-layers gpu-layers", "", "--device cuda computes all layers on the GPU"},
	{"hf-repo hf", "", "zerosearch pull ORG/NAME downloads a model, then --model ORG/NAME takes it"},
	{"conversation", "", "zerosearch chat DIR talks with a model"},
	{"flash-attn mmap no-mmap mlock enforce-eager attn-implementation", "", "there is no choice here: leave it out"},
	// verl, Search-R1, ZeroSearch
	{"actor-rollout-ref.model.path", "model", ""}, {"critic.model.path", "critic-model", ""},
	{"actor.optim.lr", "lr", ""}, {"critic.optim.lr", "critic-lr", ""},
	{"critic.optim.lr-warmup-steps-ratio", "critic-lr-warmup-ratio", ""},
	{"lr-warmup-steps-ratio", "warmup-ratio", ""}, {"rollout.n n-agent", "n", ""},
	{"data.train-batch-size", "train-batch-size", ""}, {"clip-ratio clip-ratio-low", "clip-low", ""},
	{"clip-ratio-high", "clip-high", ""}, {"clip-ratio-c", "dual-clip", ""}, {"entropy-coeff", "entropy-coef", ""},
	{"grad-clip", "max-grad-norm", ""}, {"target-modules", "lora-targets", ""},
	{"use-kl-loss use-kl-in-reward", "kl-in", ""}, {"kl-loss-coef", "kl-coef", ""},
	{"kl-loss-type kl-penalty", "kl-type", ""},
	{"adv-estimator", "algo", ""}, {"enable-gradient-checkpointing", "recompute", ""},
	{"norm-adv-by-std-in-grpo", "", "--algo dr_grpo does not divide advantages by the standard deviation"},
	{"ppo-micro-batch-size ppo-micro-batch-size-per-gpu ppo-max-token-len-per-gpu log-prob-micro-batch-size " +
		"log-prob-micro-batch-size-per-gpu", "micro-batch-tokens", ""},
	{"total-training-steps total-epochs", "total-steps", ""},
	{"default-local-dir experiment-name project-name", "out", ""},
	{"logger", "", "every step is in metrics.jsonl and in TensorBoard's events of the run directory"},
	{"data.shuffle", "no-shuffle", ""}, {"state-masking", "", "search results are never trained on"},
	{"max-actor-ckpt-to-keep", "keep-last", ""}, {"retriever.url", "remote-url", ""}, {"do-search", "search-mode", ""},
	{"simulate-llm llm-name retriever.simulate-llm", "simulation-llm", ""},
	{"llm-ip retriever.llm-ip", "remote-url", ""},
	{"param-offload optimizer-offload grad-offload fsdp-config", "",
		"all is in this process: plan says what memory it takes"},
}

// shortNames are llama.cpp's options with one dash.
var shortNames = map[string]string{"-m": "model", "-c": "ctx-size", "-n": "n-predict", "-ngl": "n-gpu-layers",
	"-hf": "hf-repo", "-cnv": "conversation", "-sys": "system-prompt", "-fa": "flash-attn", "-t": "threads",
	"-f": "file", "-ctk": "cache-type-k", "-ctv": "cache-type-v", "-s": "seed", "-a": "alias"}
