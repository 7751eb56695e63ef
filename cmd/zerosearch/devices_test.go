package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestListDevicesUnread: a listing that nobody takes is an error.
func TestListDevicesUnread(t *testing.T) {
	err := new(devicesCmd).Run(&world{out: failing{}})
	require.EqualError(t, err, "writing the list: nobody reads")
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("nobody reads") }

func TestDeviceLine(t *testing.T) {
	dir, err := taughtModel()
	require.NoError(t, err)
	for device, line := range map[string]string{"cpu": "device cpu: path ", "ref": "device ref\n", "auto": "(auto: "} {
		code, _, stderr := zs(`{"ids":[1,2]}`+"\n", "score", "--model", dir, "--dtype", "f32", "-v", "--device", device)
		require.Zero(t, code, stderr)
		require.Contains(t, stderr, line)
	}
	code, _, stderr := zs("", "score", "--model", dir, "--device", "cuda:9")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "error: opening device cuda:9: ")
}
