package main

import (
	"github.com/alecthomas/kong"

	"github.com/zerosearch-go/zerosearch/internal/commandline"
)

type helpCmd struct {
	Verb []string `arg:"" optional:"" help:"The verb; none: all verbs."`
}

// verbGroups are the headings of the verbs, in the order in which verbs has their first ones.
var verbGroups = []kong.Group{{Key: "train", Title: "Train and measure:"},
	{Key: "simulator", Title: "Simulate a search engine:"}, {Key: "use", Title: "Use a model:"},
	{Key: "models", Title: "Get, look at and convert models:"}, {Key: "machine", Title: "This machine:"},
	{Key: "help", Title: "Help:"}}

// flagGroups say under which heading a flag stands. The flags that matter most (verbHelps) stand before all of them.
var flagGroups = []commandline.Group{
	{"model", "Model:",
		"model system shape sim-shape served-model-name adapter dtype kv-dtype chat-template enable-thinking " +
			"lora-r lora-alpha lora-targets ref-model reference ref-dtype critic-model critic-train"},
	{"data", "Data:", "data measure reader reader-rows shard-rows shard-format raw suite suite-data write-split sources docs prompt shapes " +
		"limit per-source " +
		"max-answer-words filter-overlong-prompts " +
		"no-shuffle eval-data eval-split eval-every eval-limit"},
	{"rollout", "Rollout and sampling:", "train-batch-size questions n turns max-turns max-tokens min-tokens " +
		"max-response-length max-start-length max-obs-length max-context prompt-length observation-length " +
		"given-results greedy temperature top-p top-k min-p concurrency kv-memory max-attempts dynamic-sampling " +
		"drop-zero-variance max-gen-batches"},
	{"stop", "End of a continuation:",
		"stop stop-token-ids ignore-eos include-stop-str-in-output skip-special-tokens"},
	{"penalties", "Penalties:", "logit-bias repetition-penalty presence-penalty frequency-penalty"},
	{"rows", "Rows:", "propose-questions propose-queries propose-model keep-known questions-only correct threshold document-words strict hold-out form"},
	{"filter", "Filters:", "min-words max-words complete check-answers no-copies language near-duplicates " +
		"filter-tries"},
	{"search", "Search:", "search-mode topk corpus index embedding-model embedding-device search-engine simulation-llm sim-ranks sim-device sim-dtype " +
		"sim-enable-thinking simulation-temperature simulation-max-tokens start-threshold end-threshold curriculum " +
		"curriculum-goal noise-rate remote-url remote-model remote-prompt google-url wiki-url search-cache " +
		"search-tries search-timeout search-concurrency search-episodes google-price machine-price remote-price"},
	{"algorithm", "Algorithm:", "algo reward format-weight no-search-penalty no-answer-penalty " +
		"search-penalty retrieval-bonus info-gain reward-workers reward-timeout ppo-mini-batch-size " +
		"ppo-epochs clip-low clip-high dual-clip loss-agg-mode kl-coef kl-in kl-type kl-target kl-horizon " +
		"no-reference entropy-coef llds-coef rollout-is rollout-is-threshold gamma lam cliprange-value critic-warmup " +
		"overlong-buffer overlong-penalty overlong-limit"},
	{"optimizer", "Optimizer:", "lr lr-schedule warmup-ratio weight-decay betas eps max-grad-norm batch-size epochs " +
		"steps critic-lr critic-lr-warmup-ratio micro-batch-tokens recompute"},
	{"measure", "Measurement:", "method style bootstrap confidence compare gpu data-sheet cpu context sequences " +
		"repetitions python llama ik-llama only peer pairs no-warmup"},
	{"server", "Server:", "host port api-key allow-origin max-queue max-body drain-timeout embeddings"},
	{"run", "Run:", "out episodes output with-model program for memory ranks total-steps save-every keep-last keep-best " +
		"stop-when save-dtype resume force replay dry-run ui seed device threads cpuprofile config json verbose help version"},
}

var verbHelps = map[string]commandline.VerbHelp{
	"demo": {"", []string{"demo", "demo --small --seed 2", "demo --noise-rate 1 --json"}},
	"train": {"model data out search-mode simulation-llm algo lr total-steps train-batch-size n", []string{
		"train --model SmolLM2-135M-Instruct --data questions.parquet --out runs/first",
		"train --config recipes/zerosearch-3b.yaml --dry-run",
		"train --config runs/first/config.yaml --resume auto",
		"train --model DIR --data q.jsonl --out runs/lora --lora-r 16 --lr 1e-4 --search-mode bm25 --corpus docs/"}},
	"sft": {"model data out lr epochs steps batch-size lora-r max-grad-norm save-every", []string{
		"sft --model DIR --data rows.jsonl --out runs/warm --lr 1e-5 --epochs 2",
		"sft --model DIR --data rows.jsonl --out runs/adapter --lora-r 16 --lr 1e-4 --steps 500"}},
	"simulate": {"model data out topk noise-rate simulation-temperature simulation-max-tokens search-mode seed", []string{
		"simulate --model SIMULATOR --data queries.jsonl --noise-rate 0.25",
		"simulate --search-mode remote --remote-url http://127.0.0.1:6001 --data queries.jsonl",
		"simulate --model SIMULATOR --data questions.parquet --out documents --end-threshold 0.5 --check-answers",
		"simulate --measure documents.jsonl --data queries.jsonl"}},
	"harvest": {"model data corpus out propose-questions n correct threshold document-words strict hold-out form episodes", []string{
		"harvest --model POLICY --data questions.jsonl --corpus docs/ --out rows",
		"harvest --model POLICY --corpus docs/ --propose-questions 1000 --out rows",
		"harvest --episodes episodes.jsonl --out rows",
		"harvest --episodes runs/a/episodes.jsonl,runs/b/episodes.jsonl --out rows --correct f1 --threshold 0.8"}},
	"eval": {"model data search-mode corpus topk method limit max-turns out output", []string{
		"eval --model runs/first --data test.jsonl --search-mode bm25 --corpus corpus.jsonl",
		"eval --model runs/first --data test.jsonl --method all --out evals/first",
		"eval --compare evals/base evals/first"}},
	"ask": {"model docs method style corpus search-mode topk max-turns temperature data json", []string{
		"ask --model runs/first --docs notes/ Who designed the bridge?",
		"ask --model DIR --docs notes/ --style report What was decided about the bridge?",
		"ask --model runs/first --corpus corpus.jsonl --json --data questions.jsonl"}},
	"chat": {"model system max-tokens temperature top-p seed json", []string{
		"chat SmolLM2-135M-Instruct", "chat runs/first --system 'Answer in one sentence.' --temperature 0"}},
	"generate": {"model data prompt max-tokens temperature top-p top-k stop seed json", []string{
		"generate DIR 'Once upon a time' --max-tokens 40",
		"generate --model DIR --data requests.jsonl --temperature 0"}},
	"score":    {"", []string{"score --model DIR --data texts.jsonl --top 10"}},
	"tokenize": {"", []string{"tokenize --tokenizer tokenizer.json --data texts.jsonl"}},
	"inspect":  {"", []string{"inspect DIR", "inspect model.safetensors --json"}},
	"pull": {"", []string{"pull Qwen/Qwen2.5-0.5B-Instruct", "pull org/name@v1.0 --include '*.json'",
		"pull org/questions --dataset"}},
	"list":     {"", []string{"list", "list --revisions"}},
	"rm":       {"", []string{"rm org/name", "rm org/name@v1.0 --dry-run"}},
	"verify":   {"", []string{"verify runs/first"}},
	"report":   {"", []string{"report runs/first"}},
	"quantize": {"", []string{"quantize --model SIMULATOR --out simulator-q8"}},
	"serve": {"model docs host port served-model-name api-key max-context kv-memory dtype device", []string{
		"serve SIMULATOR", "serve runs/first --host 0.0.0.0 --port 8000 --api-key SECRET",
		"serve --model DIR --adapter first=runs/first --model small=SmolLM2-135M-Instruct",
		"serve runs/first --docs notes/"}},
	"plan": {"model for memory ranks sim-ranks dtype lora-r train-batch-size n max-context micro-batch-tokens kv-memory", []string{
		"plan --model DIR", "plan --model DIR --lora-r 16 --memory 24GiB", "plan --model DIR --for serve",
		"plan --model DIR --ranks 4"}},
	"bundle": {"config output with-model program model data simulation-llm search-mode total-steps out", []string{
		"bundle --config recipes/demo.yaml -o mytrain",
		"bundle --config run.yaml --program zerosearch-arm64 -o mytrain"}},
	"bench kernels": {"", []string{"bench kernels --op matmul --dtype bf16"}},
	"bench model":   {"", []string{"bench model --model DIR -p 512 -n 128 -b 1,8,64 -t 1,2"}},
	"bench train":   {"", []string{"bench train --shape smollm2-135m --shapes 4x512,8x256"}},
	"bench grpo": {"model shape questions n max-response-length turns lora-r", []string{
		"bench grpo --model DIR --questions 8 --n 5"}},
	"bench peers": {"", []string{"bench peers --model DIR --python venv/bin/python --llama llama.cpp/build"}},
	"bench roofline": {"gpu shape model dtype", []string{
		"bench roofline --gpu h200 --shape qwen2.5-3b"}},
	"completion": {"", []string{"completion bash > ~/.local/share/bash-completion/completions/zerosearch",
		"completion zsh > ~/.zfunc/_zerosearch", "completion fish > ~/.config/fish/completions/zerosearch.fish"}},
}
