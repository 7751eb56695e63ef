#!/usr/bin/env bash
# The demo's runs over seeds, algorithms and controls: a table in Markdown, for docs/demo.md.
#   scripts/demo-table.sh [FOLDER]      FOLDER keeps the JSON of every run; a run that is there is not repeated
# ZEROSEARCH names the program; without it, it is built. Needs jq.
set -euo pipefail
case ${1:-} in "" | /*) ;; *) set -- "$PWD/$1" "${@:2}" ;; esac
cd "$(dirname "$0")/.."
out=${1:-runs/demo-table}
mkdir -p "$out"
zs=${ZEROSEARCH:-$out/zerosearch}
[ -n "${ZEROSEARCH:-}" ] || go build -o "$out/zerosearch" ./cmd/zerosearch

# row FLAGS: the line of `demo FLAGS`. The function run is called with the name of the run's folder.
row() {
  local name
  name=$out/$(tr -cd 'a-z0-9+' <<< "$*")
  if [ ! -s "$name.json" ]; then
    rm -rf "$name"
    run "$name" > "$name.tmp" 2> "$name.log"
    mv "$name.tmp" "$name.json"
    rm -rf "$name"
  fi
  jq -r --arg row "$*" 'def f: . * 100 | round / 100 | tostring | if length == 1 then . + ".00" elif length == 3
      then . + "0" else . end;
    "| `\($row)` | \(.f1_greedy_before | f) to \(.f1_greedy_after | f) | \(.f1_before | f) to \(.f1_after | f)" +
    " | \(.f1_bm25_greedy_before | f) to \(.f1_bm25_greedy | f) | \(.f1_bm25_before | f) to \(.f1_bm25 | f)" +
    " | \(.f1_no_search | f) |"' "$name.json"
}

echo "| run | simulated, greedy | simulated, sampled | index, greedy | index, sampled | search off |"
echo "|---|---|---|---|---|---|"
for seed in 1 2 3 4 5; do
  run() { "$zs" demo --seed "$seed" --out "$1" --json; }
  row --seed "$seed"
done
for algo in reinforce reinforce++ ppo; do
  for seed in 1 2 3; do
    run() { "$zs" demo --seed "$seed" --algo "$algo" --out "$1" --json; }
    row --seed "$seed" --algo "$algo"
  done
done
for seed in 1 2 3; do
  run() { "$zs" demo --seed "$seed" --reward shuffled --out "$1" --json; }
  row --seed "$seed" --reward shuffled
done
run() { "$zs" demo --seed 1 --noise-rate 1 --out "$1" --json; }
row --seed 1 --noise-rate 1
run() { "$zs" demo --seed 1 --search-off --out "$1" --json; }
row --seed 1 --search-off
run() { "$zs" demo --seed 1 --reward constant --out "$1" --json; }
row --seed 1 --reward constant
