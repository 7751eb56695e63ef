#!/usr/bin/env bash
# Qwen2.5-Coder-0.5B-Instruct learns to search from a simulated engine: a simulator by SFT, a warm start that teaches the form, GRPO, and
# the measurements of docs/qwen25.md.
#
#   examples/qwen25/run.sh MODEL DATA OUT [GRPO-STEPS]
#
# MODEL  folder of Qwen2.5-Coder-0.5B-Instruct
# DATA   folder with contexts/{ctx_squad,ctx_nq_gold,corpus}.jsonl.gz
#
# Each part is skipped if its result is there, and goes on where it stopped. THREADS sets --threads, PARTS the parts to do.
set -euo pipefail
model=$1 data=$2 out=$3 steps=${4:-60}
here=$(cd "$(dirname "$0")/../.." && pwd)
parts=${PARTS:-"rows simulator measure warm baseline grpo reinforce shuffled evaluate"}
threads=${THREADS:-$(nproc)}
mkdir -p "$out"
out=$(cd "$out" && pwd) # programs are built from another folder
zs=${ZEROSEARCH:-$out/zerosearch}
[ -x "$zs" ] || (cd "$here" && go build -o "$zs" ./cmd/zerosearch)
has() { [[ " $parts " == *" $1 "* ]]; }

# 1. 600 held-out questions and 3,240 to train on, whose paragraphs are others; rows for the first fine-tunings.
rows() { "$out/warmstart" --model "$model" "$@"; }
if has rows && [ ! -s "$out/warm.jsonl" ]; then
  "$zs" eval --suite closed --suite-data "$data" --write-split "$out"
  (cd "$here" && go build -o "$out/warmstart" ./examples/warmstart)
  rows --data "$out/train.jsonl" --part simulator --n 520 --seed 7 --out "$out/sim1.jsonl"
  rows --data "$out/train.jsonl" --part policy --words 60 --n 130 --seed 3 --out "$out/warm.jsonl"
fi

# 2. The simulator, an adapter, in two rounds. The first learns the style of an encyclopedia from passages. The second learns to contain the
#    answer, or not to: from the first one's documents, with a sentence that the model itself wrote about the answer.
simulator() { # FLAGS...
  "$zs" simulate --model "$model" --search-mode simulate_sft --topk 3 --simulation-max-tokens 200 --threads "$threads" "$@"
}
if has simulator && [ ! -d "$out/sim1/checkpoints/step-65" ]; then
  "$zs" sft --model "$model" --data "$out/sim1.jsonl" --lora-r 16 --lora-alpha 32 --lr 6e-4 --lr-schedule cosine --warmup-ratio 0.05 \
    --batch-size 8 --steps 65 --save-every 20 --threads "$threads" --out "$out/sim1" --resume auto
fi
if has simulator && [ ! -d "$out/sim/checkpoints/step-50" ]; then
  rows --data "$out/train.jsonl" --part questions --n 560 --seed 11 --out "$out"
  simulator --adapter "$out/sim1/checkpoints/step-65" --data "$out/requests.jsonl" >"$out/documents.jsonl"
  "$zs" generate --model "$model" --data "$out/sentences.jsonl" --max-tokens 70 --temperature 0.7 --threads "$threads" >"$out/written.jsonl"
  rows --data "$out" --part distilled --out "$out/sim.jsonl"
  "$zs" sft --model "$model" --adapter "$out/sim1/checkpoints/step-65" --data "$out/sim.jsonl" --lr 5e-4 --lr-schedule cosine \
    --warmup-ratio 0.05 --batch-size 8 --steps 50 --save-every 25 --threads "$threads" --out "$out/sim" --resume auto
fi

# 3. Is it fit? Both kinds of results for held-out questions.
if has measure && [ ! -s "$out/measure.txt" ]; then
  head -n 60 "$out/heldout.jsonl" >"$out/queries.jsonl"
  for noise in 0 1; do
    simulator --adapter "$out/sim/checkpoints/step-50" --data "$out/queries.jsonl" --noise-rate "$noise" >"$out/measured-$noise.jsonl"
    "$zs" simulate --measure "$out/measured-$noise.jsonl" --data "$out/queries.jsonl" --topk 3
  done | tee "$out/measure.txt"
fi

# 4. The warm start: about 110 episodes made from passages.
if has warm && [ ! -d "$out/warm/checkpoints/step-14" ]; then
  "$zs" sft --model "$model" --data "$out/warm.jsonl" --lora-r 4 --lora-alpha 8 --lr 1e-3 --lr-schedule cosine --warmup-ratio 0.1 \
    --batch-size 8 --steps 14 --threads "$threads" --out "$out/warm" --resume auto
fi

# 5. GRPO and REINFORCE++ against the simulator; as a control, GRPO with each answer scored against another question's.
train() { # NAME FLAGS...
  local name=$1
  shift
  [ -d "$out/$name/checkpoints/step-$steps" ] ||
    "$zs" train --model "$model" --adapter "$out/warm/checkpoints/step-14" --simulation-llm "$out/sim/checkpoints/step-50" \
      --search-mode simulate_sft --data "$out/train.jsonl" --max-answer-words 6 \
      --topk 3 --max-turns 2 --max-response-length 80 --max-context 1536 --max-obs-length 300 \
      --simulation-max-tokens 200 --start-threshold 0 --end-threshold 0.3 --train-batch-size 4 --n 8 --total-steps "$steps" \
      --lr 2e-4 --kl-coef 0 --micro-batch-tokens 2048 --save-every 5 --keep-last 1 --threads "$threads" --out "$out/$name" --resume auto "$@"
}
if has grpo; then train grpo; fi
if has reinforce; then train reinforce --algo reinforce++; fi
if has shuffled; then train shuffled --reward shuffled; fi

# 6. On held-out questions, greedily, with BM25 over a closed corpus.
evaluate() { # NAME ADAPTER FLAGS...
  local name=$1 adapter=$2
  shift 2
  [ -s "$out/eval/$name/eval.json" ] ||
    "$zs" eval --model "$model" ${adapter:+--adapter "$adapter"} --data "$out/heldout.jsonl" --per-source "${QUESTIONS:-300}" --search-mode bm25 \
      --corpus "$data/contexts/corpus.jsonl.gz" \
      --topk 3 --max-turns 2 --max-response-length 80 --max-context 1536 --max-obs-length 700 \
      --threads "$threads" --out "$out/eval/$name" "$@"
}
if has baseline; then evaluate base "" --method direct,rag,agent; fi
if has evaluate; then
  evaluate before "$out/warm/checkpoints/step-14" --method agent
  for name in grpo reinforce shuffled; do
    trained=$out/$name/checkpoints/step-$steps
    [ -d "$trained" ] || continue # left out by PARTS
    evaluate "$name" "$trained" --method agent
    "$zs" eval --compare "$out/eval/before" "$out/eval/$name"
    "$zs" eval --compare "$out/eval/base:rag" "$out/eval/$name:agent"
  done
  if [ -d "$out/grpo/checkpoints/step-$steps" ]; then evaluate off "$out/grpo/checkpoints/step-$steps" --method agent --search-mode none; fi
fi
