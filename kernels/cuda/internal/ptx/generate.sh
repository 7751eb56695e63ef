#!/bin/sh
# Compiles each .cu of this folder to a .ptx beside it, with clang 22 (apt install clang-22; nothing of CUDA is needed).
#
#	./generate.sh [NAME...]    all, or the named ones
#	CLANG=clang-22 OUT=DIR     another compiler, another folder
#
# ptx71: without it clang writes shuffles that ptxas refuses. ffp-contract=off: without it multiplications and additions that
# the source keeps apart are fused, and prefill and decode would round differently.
set -eu
cd "$(dirname "$0")"
: "${CLANG:=clang-22}" "${OUT:=.}"
[ $# -gt 0 ] || set -- $(basename -s .cu -a ./*.cu)
for name; do
	"$CLANG" -x cuda --cuda-device-only -nocudainc -nocudalib --cuda-gpu-arch=sm_80 -Xclang -target-feature -Xclang +ptx71 \
		-std=c++17 -O3 -ffp-contract=off -Wall -Werror -S "$name.cu" -o "$OUT/$name.ptx"
done
[ "$OUT" != . ] || go run ./_gen # modules.zip, which is linked into the program
