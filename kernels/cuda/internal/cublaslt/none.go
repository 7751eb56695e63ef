//go:build nogpu || !(linux || windows)

// Package cublaslt would be NVIDIA's library of matrix products: this build has none.
package cublaslt
