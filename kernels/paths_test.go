package kernels_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
)

const variable = "ZEROSEARCH_TEST_PATH"

var list = []kernels.Path{{Name: "best", Missing: "a better processor"}, {Name: "good"}, {Name: "plain"}}

func TestPathsTakeTheBestThatRuns(t *testing.T) {
	p, err := kernels.NewPaths(variable, list...)
	require.NoError(t, err)
	require.Equal(t, "good", p.Used())
	require.Equal(t, list, p.List())
	p.List()[0].Name = "changed"
	require.Equal(t, "best", p.List()[0].Name, "List is a copy")
	require.Panics(t, func() { _, _ = kernels.NewPaths(variable, list[0]) }, "a device without a path that runs is a fault of the build")
}

func TestPathsUseAndUndo(t *testing.T) {
	p, err := kernels.NewPaths(variable, list...)
	require.NoError(t, err)
	undo, err := p.Use("plain")
	require.NoError(t, err)
	again, err := p.Use("good")
	require.NoError(t, err)
	require.Equal(t, "good", p.Used())
	again()
	require.Equal(t, "plain", p.Used())
	undo()
	require.Equal(t, "good", p.Used())

	_, err = p.Use("best")
	require.EqualError(t, err, `path "best" needs a better processor: use one of good, plain`)
	_, err = p.Use("bets")
	require.EqualError(t, err, `unknown path "bets": use one of good, plain`)
	require.Equal(t, "good", p.Used(), "what fails changes nothing")
}

func TestPathsFromTheEnvironment(t *testing.T) {
	t.Setenv(variable, "plain")
	p, err := kernels.NewPaths(variable, list...)
	require.NoError(t, err)
	require.Equal(t, "plain", p.Used())

	t.Setenv(variable, "best")
	p, err = kernels.NewPaths(variable, list...)
	require.EqualError(t, err, `environment variable `+variable+`: path "best" needs a better processor: use one of good, plain`)
	require.Equal(t, "good", p.Used())
}
