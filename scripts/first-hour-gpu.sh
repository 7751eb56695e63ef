#!/usr/bin/env bash
# The first hour of the CUDA backend on a GPU: two commands of at most ten minutes each.
#
#   scripts/first-hour-gpu.sh build DIR     on any machine with Go: everything that the other two need, under 64 MiB
#   DIR/first-hour-gpu.sh right REPORT      on the machine with the GPU: are the results right?
#   DIR/first-hour-gpu.sh fast REPORT       there, after that: how fast do they come?
#
# The machine with the GPU needs NVIDIA's driver (and for products at full speed cuBLAS: pip install nvidia-cublas). REPORT is a folder of
# small text and JSON files, which holds all that was found out until then when a command is stopped early.
set -uo pipefail

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }

limit=570 # seconds of a command
left() { echo $((limit - SECONDS)); }

# within SECONDS COMMAND...: runs it if so many seconds are left, for no longer than what is left.
within() {
	local least=$1 rest
	shift
	rest=$(left)
	if [ "$rest" -lt "$least" ]; then
		echo "left out, $rest s are left: $*"
		return 0
	fi
	timeout --kill-after=10 "$rest" "$@"
}

# checks NAME REGEXP [FLAG...]: checks of zerosearch-gputest into NAME.txt and NAME.json.
checks() {
	local name=$1 run=$2
	shift 2
	within 20 "$here/zerosearch-gputest" --device "$device" --run "$run" --json "$report/$name.json" "$@" 2>&1 | tee "$report/$name.txt"
	[ "${PIPESTATUS[0]}" -eq 0 ] || failed="$failed $name"
}

build() {
	local dir=$1
	cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
	mkdir -p "$dir" || exit 1
	export CGO_ENABLED=0 GOOS="${GOOS:-linux}" GOARCH="${GOARCH:-amd64}"
	for command in zerosearch-gputest zerosearch; do
		go build -trimpath -tags nopdf -ldflags='-s -w' -o "$dir/$command" "./cmd/$command" || exit 1
	done
	cp scripts/first-hour-gpu.sh "$dir/" || exit 1
	local bytes
	bytes=$(du -cb "$dir/zerosearch-gputest" "$dir/zerosearch" "$dir/first-hour-gpu.sh" | tail -1 | cut -f1)
	echo "$dir: $bytes bytes"
	if [ "$bytes" -gt $((64 << 20)) ]; then
		echo "error: building the first hour: $bytes bytes are more than 64 MiB: leave $dir/zerosearch out" >&2
		exit 1
	fi
}

# describe writes what the machine is, before anything else can fail.
describe() {
	{
		date -u
		uname -a
		nvidia-smi 2>&1
		nvidia-smi --query-gpu=name,uuid,driver_version,memory.total,memory.used,compute_mode,mig.mode.current --format=csv 2>&1
		[ ! -x "$here/zerosearch" ] || "$here/zerosearch" devices 2>&1
	} | tee "$report/machine.txt"
}

right() {
	describe
	checks right '^(discovery|jit|conformance|bits|parity|grpo|leaks|faults|signals|graphs)$'
	checks own '^own$'
	if command -v compute-sanitizer >/dev/null; then
		for tool in memcheck racecheck; do
			within 60 compute-sanitizer --target-processes all --tool "$tool" "$here/zerosearch-gputest" --device "$device" --quick --limit 9m \
				--run '^conformance$' --cases '^(norm|rope|swiglu|narrow|optimizer|gradient)$' >"$report/$tool.txt" 2>&1
			tail -3 "$report/$tool.txt"
		done
	fi
}

fast() {
	checks decode '^(bandwidth|decode)$'
	checks step '^step$'
	checks products '^products'
	if [ -x "$here/zerosearch" ]; then
		rm -rf "$report/demo" # a run directory is new
		within 90 "$here/zerosearch" demo --small --device "$device" --out "$report/demo" 2>&1 | tee "$report/demo.txt"
		rm -rf "$report/demo" # its checkpoints are not small
	fi
}

[ $# -eq 2 ] || usage
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
device=${ZEROSEARCH_DEVICE:-cuda}
failed=
# Where the driver keeps compiled kernels between processes; its own place in the home folder may not be writable.
export CUDA_CACHE_PATH=${CUDA_CACHE_PATH:-${TMPDIR:-/tmp}/first-hour-gpu-cache}
case $1 in
build) build "$2" ;;
right | fast)
	report=$2
	mkdir -p "$report" || exit 1
	"$1"
	echo "$1: $SECONDS s; the report is in $report"
	if [ -n "$failed" ]; then
		echo "error: the first hour on a GPU: not everything passed:$failed: the texts in $report say what" >&2
		exit 1
	fi
	;;
*) usage ;;
esac
