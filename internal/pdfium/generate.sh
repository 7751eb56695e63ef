#!/usr/bin/env bash
# Writes pdfium.wasm.zst: the WebAssembly module of go-pdfium, whose checksum Go verifies. It needs a network and zstd.
set -euo pipefail
cd "$(dirname "$0")"
version=v1.21.4
module=$(cd "$(mktemp -d)" && go mod download -json github.com/klippa-app/go-pdfium@$version | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
zstd -q -f --ultra -22 "$module/internal/pdfium_wasm/pdfium.wasm" -o pdfium.wasm.zst
