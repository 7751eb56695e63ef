//go:build nogpu || !linux

// Package nccl would be NVIDIA's library of communication: this build has none.
package nccl
