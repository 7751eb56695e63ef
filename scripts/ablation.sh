#!/usr/bin/env bash
# What each option of reward, loss and credit does to the demo: a table in Markdown, for docs/rewards.md.
#   scripts/ablation.sh [FOLDER] [SEEDS]      FOLDER is made anew; SEEDS is "1 2 3 4 5"
# Each seed has a world of its own: the demo's models are trained on it for 8 steps of 8 questions x 8 rollouts
# with one option each, and answer 100 held-out questions at temperature 1, on the simulated engine
# with a quarter of the results noisy and on a BM25 index. ZEROSEARCH names the program; without it, it is built.
set -euo pipefail
case ${1:-} in "" | /*) ;; *) set -- "$PWD/$1" "${@:2}" ;; esac
cd "$(dirname "$0")/.."
out=${1:-runs/ablation}
seeds=${2:-1 2 3 4 5}
mkdir -p "$out"
zs=${ZEROSEARCH:-$out/zerosearch}
[ -n "${ZEROSEARCH:-}" ] || go build -o "$out/zerosearch" ./cmd/zerosearch

limits=(--topk 3 --max-turns 4 --max-response-length 64 --max-start-length 64 --max-obs-length 96 --max-context 512)
small=(--total-steps 8 --train-batch-size 8 --n 8)
two=(--ppo-mini-batch-size 32) # two optimizer steps an update: with one, LLDS does nothing
names=() flags=()
option() { names+=("$1"); flags+=("$2"); }
option "base: F1, GRPO" ""
option "\`--reward em\`" "--reward em"
option "\`--reward format+f1\`" "--reward format+f1"
option "F1+: \`--no-search-penalty 0.1 --no-answer-penalty 0.1\`" "--no-search-penalty 0.1 --no-answer-penalty 0.1"
option "\`--search-penalty 0.05\`" "--search-penalty 0.05"
option "\`--retrieval-bonus 0.2\`" "--retrieval-bonus 0.2"
option "\`--info-gain 0.5\`" "--info-gain 0.5"
option "two optimizer steps: \`${two[*]}\`" "${two[*]}"
option "the same with \`--llds-coef 0.2\`" "${two[*]} --llds-coef 0.2"
option "\`--lora-r 16 --lr 2e-3\`: ten times the rate" "--lora-r 16 --lr 2e-3"
option "\`--lora-r 16 --lr 2e-4\`: the same rate" "--lora-r 16 --lr 2e-4"
option "\`--simulation-llm policy\`: self-search" "--simulation-llm policy"

limits+=(--temperature 1 --bootstrap 0 --json)

# scores reads the JSON of an evaluation and prints F1 and searches a question, over all questions.
scores() { sed 's/.*"source":"all"//' | sed -E 's/.*"f1":([^,]*),.*"searches_per_question":([^,]*),.*/\1 \2/'; }

# both MODEL WORLD: F1 on the simulated engine, F1 and searches on the index.
both() {
  local model=$1 world=$2 simulated index
  simulated=$("$zs" eval --model "$model" --data "$world/heldout.jsonl" "${limits[@]}" --search-mode simulate_sft \
    --simulation-llm "$world/models/simulator" --simulation-temperature 0.1 --simulation-max-tokens 96 --noise-rate 0.25 \
    2> "$out/log" | scores)
  index=$("$zs" eval --model "$model" --data "$world/heldout.jsonl" "${limits[@]}" --search-mode bm25 \
    --corpus "$world/corpus.jsonl" 2> "$out/log" | scores)
  echo "${simulated% *} $index"
}

: > "$out/results"
for seed in $seeds; do
  world=$out/world-$seed
  rm -rf "$world"
  "$zs" demo --steps 1 --seed "$seed" --out "$world" --json > "$out/log" 2>&1 # models, questions and corpus
  echo "start $seed $(both "$world/models/policy" "$world")" >> "$out/results"
  for i in "${!names[@]}"; do
    run=$out/run-$seed-$i
    rm -rf "$run"
    # shellcheck disable=SC2086 # flags are words
    "$zs" train --config recipes/demo.yaml --model "$world/models/policy" --simulation-llm "$world/models/simulator" \
      --data "$world/questions.jsonl" --out "$run" --seed "$seed" "${small[@]}" ${flags[$i]} > "$out/log" 2>&1 ||
      { tail -1 "$out/log" >&2; exit 1; }
    echo "$i $seed $(both "$run" "$world")" >> "$out/results"
    rm -rf "$run"
  done
done

# row LABEL KEY: means over the seeds, and the standard deviation of the F1 on the index.
row() {
  awk -v label="$1" -v key="$2" '$1 == key { n++; a += $3; b += $4; bb += $4 * $4; s += $5 }
    END { m = b / n; v = n > 1 ? (bb - n * m * m) / (n - 1) : 0; if (v < 0) v = 0
      printf "| %s | %.2f | %.2f ± %.2f | %.1f |\n", label, a / n, m, sqrt(v), s / n }' "$out/results"
}
echo "| | simulated engine | BM25 index | searches |"
echo "|---|---|---|---|"
row "before training" start
for i in "${!names[@]}"; do
  row "${names[$i]}" "$i"
done
