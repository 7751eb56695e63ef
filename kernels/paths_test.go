package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"
)

var threePaths = []Path{{Name: "best", Missing: "a better machine"}, {Name: "good"}, {Name: "plain"}}

func TestPathsTakesTheFirstThatRuns(t *testing.T) {
	p, err := NewPaths("ZEROSEARCH_TEST_PATH", threePaths...)
	require.NoError(t, err)
	require.Equal(t, "good", p.Used())
	require.Equal(t, threePaths, p.List())
}

func TestPathsUseAndUndo(t *testing.T) {
	p, err := NewPaths("ZEROSEARCH_TEST_PATH", threePaths...)
	require.NoError(t, err)
	undo, err := p.Use("plain")
	require.NoError(t, err)
	require.Equal(t, "plain", p.Used())
	undo()
	require.Equal(t, "good", p.Used())
	_, err = p.Use("best")
	require.EqualError(t, err, `path "best" needs a better machine: use one of good, plain`)
	_, err = p.Use("worst")
	require.EqualError(t, err, `unknown path "worst": use one of good, plain`)
	require.Equal(t, "good", p.Used())
}

func TestPathsFromEnvironment(t *testing.T) {
	t.Setenv("ZEROSEARCH_TEST_PATH", "plain")
	p, err := NewPaths("ZEROSEARCH_TEST_PATH", threePaths...)
	require.NoError(t, err)
	require.Equal(t, "plain", p.Used())
	t.Setenv("ZEROSEARCH_TEST_PATH", "best")
	p, err = NewPaths("ZEROSEARCH_TEST_PATH", threePaths...)
	require.EqualError(t, err,
		`environment variable ZEROSEARCH_TEST_PATH: path "best" needs a better machine: use one of good, plain`)
	require.Equal(t, "good", p.Used())
}
