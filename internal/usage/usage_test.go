package usage

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Work takes processor time, and memory that is written to is resident.
func TestUsage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux says both")
	}
	before, memory := CPU(), Memory()
	for began := time.Now(); CPU() < before+20*time.Millisecond; {
		require.Less(t, time.Since(began), time.Minute)
	}
	block := make([]byte, 64<<20)
	for i := range block {
		block[i] = 1
	}
	require.Greater(t, Memory(), memory+32<<20)
	runtime.KeepAlive(block)
	require.EqualValues(t, 7, pages([]byte("12 7 3 0 0 5 0\n")))
	require.Zero(t, pages([]byte("12")))
}
