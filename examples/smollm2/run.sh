#!/usr/bin/env bash
# SmolLM2-135M learns to search: a warm start on trajectories made from passages, GRPO against itself as the search engine, and the
# measurements of docs/smollm2.md.
#
#   examples/smollm2/run.sh MODEL DATA OUT [GRPO-STEPS]
#
# MODEL  folder of SmolLM2-135M-Instruct
# DATA   folder with contexts/*.jsonl.gz (questions with passages), contexts/corpus.jsonl.gz, qa/r1searcher.train.jsonl.gz and
#        qa/2wikimultihopqa.dev500.jsonl.gz
# What is there already is not made again, so that a run that was stopped goes on.
set -euo pipefail
model=$1 data=$2 out=$3 steps=${4:-60}
here=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd) # programs are built from another folder
zs=${ZEROSEARCH:-$out/zerosearch}
[ -x "$zs" ] || (cd "$here" && go build -o "$zs" ./cmd/zerosearch)

# 1. Rows. The last 100 questions of NQ are held out: their passages are in the corpus.
if [ ! -s "$out/warm.jsonl" ]; then
  zcat "$data/contexts/ctx_nq_gold.jsonl.gz" | tail -n 100 >"$out/heldout-nq.jsonl"
  { zcat "$data/contexts/ctx_nq_gold.jsonl.gz" | head -n -100; zcat "$data"/contexts/ctx_{squad,ircot_multihop}.jsonl.gz; } >"$out/contexts.jsonl"
  (cd "$here" && go build -o "$out/warmstart" ./examples/warmstart)
  "$out/warmstart" --model "$model" --data "$out/contexts.jsonl" --out "$out/warm.jsonl"
fi

# 2. Warm start: both parts, the policy's and the search engine's, in the same weights.
[ -d "$out/warm/checkpoints/step-60" ] ||
  "$zs" sft --model "$model" --data "$out/warm.jsonl" --steps 60 --batch-size 16 --save-every 20 --lr 1e-4 --lr-schedule cosine --warmup-ratio 0.1 --out "$out/warm" --resume auto

# 3. GRPO, the warm start's weights as the simulator.
[ -d "$out/grpo/checkpoints/step-$steps" ] ||
  "$zs" train --model "$out/warm" --simulation-llm same --search-mode simulate_sft --data "$data/qa/r1searcher.train.jsonl.gz" \
    --total-steps "$steps" --train-batch-size 4 --n 4 --max-turns 3 --topk 3 --max-response-length 96 --max-obs-length 320 --max-context 1536 \
    --simulation-max-tokens 300 --lr 1e-5 --kl-coef 0.001 --save-every 20 --keep-last 1 --out "$out/grpo" --resume auto

# 4. Before and after, on held-out questions: simulated engine, and BM25 over a closed corpus; direct answer and retrieve-once beside it.
evaluate() { # NAME MODEL DATA FLAGS...
  local name=$1 m=$2 d=$3
  shift 3
  [ -s "$out/eval/$name/eval.json" ] || "$zs" eval --model "$m" --data "$d" --limit 100 --topk 3 --max-turns 3 --max-response-length 96 --max-obs-length 320 \
    --max-context 1536 --out "$out/eval/$name" "$@"
}
for when in before after; do
  [ $when = before ] && m=$out/warm || m=$out/grpo
  for set in nq:"$out/heldout-nq.jsonl" 2wiki:"$data/qa/2wikimultihopqa.dev500.jsonl.gz"; do
    evaluate "$when-simulated-${set%%:*}" "$m" "${set#*:}" --method agent --search-mode simulate_sft --simulation-llm "$out/warm" --simulation-max-tokens 300 --noise-rate 0.25
    evaluate "$when-bm25-${set%%:*}" "$m" "${set#*:}" --method agent,direct,rag --search-mode bm25 --corpus "$data/contexts/corpus.jsonl.gz"
  done
done
for kind in simulated bm25; do
  for set in nq 2wiki; do
    echo "== $kind engine, $set: before, after"
    "$zs" eval --compare "$out/eval/before-$kind-$set:agent" "$out/eval/after-$kind-$set:agent"
  done
done
