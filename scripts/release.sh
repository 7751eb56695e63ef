#!/usr/bin/env bash
# Builds the archives of a release, their bills of materials and their checksums.
#
#   scripts/release.sh OUT [GOOS/GOARCH ...]
#
# Without platforms: Linux, macOS and Windows on amd64 and arm64. It needs nothing but Go. The same commit and the same Go give the same
# bytes. The version is the one in cmd/zerosearch/version.go.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."
version=$(sed -n 's/^const release = "\(.*\)"$/\1/p' cmd/zerosearch/version.go)
[ -n "$version" ] || { echo "error: cmd/zerosearch/version.go names no release" >&2; exit 1; }
[ $# -gt 0 ] || set -- linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
go build -o "$build/release" ./scripts/release
for target; do
	echo "$target"
	CGO_ENABLED=0 GOOS=${target%/*} GOARCH=${target#*/} go build -trimpath -ldflags='-s -w' -o "$build/zerosearch" ./cmd/zerosearch
	"$build/release" "$build/zerosearch" "$version" "$out"
done
cd "$out"
sum() { if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }
sum "zerosearch-$version-"* >SHA256SUMS
echo "$out/SHA256SUMS"
