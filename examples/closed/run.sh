#!/usr/bin/env bash
# The closed suite with a model: direct, rag and agent on held-out questions of SQuAD and NQ, with bm25 over one corpus. It fetches
# nothing, and writes its table into docs/evaluation.md, between the lines <!-- table: closed --> and <!-- end of table -->.
#
#   examples/closed/run.sh MODEL DATA OUT [FLAGS...]
#
# MODEL  folder of a model, or a run
# DATA   folder with contexts/ctx_squad.jsonl.gz, contexts/ctx_nq_gold.jsonl.gz and contexts/corpus.jsonl.gz
# OUT    folder of the evaluation; one that was interrupted goes on there
# FLAGS  of eval, as --adapter DIR or --per-source 20; the flags below are those of the table in docs
set -euo pipefail
mkdir -p "$3"
model=${1%/} data=$(realpath "$2") out=$(realpath "$3")
shift 3
here=$(cd "$(dirname "$0")/../.." && pwd)
zs=${ZEROSEARCH:-$out/zerosearch}
[ -x "$zs" ] || (cd "$here" && go build -o "$zs" ./cmd/zerosearch)
cd "$(dirname "$model")" # the table names the model without its path
"$zs" eval --suite closed --suite-data "$data" --model "$(basename "$model")" --topk 5 --max-turns 3 --max-response-length 96 --max-obs-length 900 \
  --max-context 4096 --out "$out/eval" -o md "$@"
page=$here/docs/evaluation.md
awk -v table="$out/eval/table.md" '
  /^<!-- table: closed -->$/ { print; print ""; while ((getline line < table) > 0) print line; print ""; skip = 1; next }
  /^<!-- end of table -->$/ { skip = 0 }
  !skip { print }
' "$page" >"$out/page.md"
cp "$out/page.md" "$page"
