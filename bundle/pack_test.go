package bundle

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A reward program is included with the files among its arguments.
func TestPackReward(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("bin", 0o755))
	require.NoError(t, os.WriteFile("bin/judge", nil, 0o755))
	require.NoError(t, os.WriteFile("rules.txt", nil, 0o644))
	for reward, want := range map[string]string{
		"f1":                          "f1",
		"exec:./bin/judge":            "exec:bundle:programs/judge",
		"format+exec:bin/judge -v":    "format+exec:bundle:programs/judge -v",
		"exec:bin/judge rules.txt no": "exec:bundle:programs/judge bundle:programs/rules.txt no",
		"exec:rules.txt":              "exec:rules.txt", // found in PATH
		"exec:/bin/sh rules.txt bin":  "exec:/bin/sh bundle:programs/rules.txt bin",
	} {
		got, err := (&Packer{}).reward(reward)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := (&Packer{}).reward("exec:bin/absent")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A bundle includes corpus files behind symbolic links, because bm25 reads them.
func TestPackLinks(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "real/sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "real/sub/a.txt"), []byte("A"), 0o644))
	for at, to := range map[string]string{"corpus": "real", "real/b.txt": "sub/a.txt", "real/sub/up": ".."} {
		if err := os.Symlink(to, filepath.Join(dir, at)); err != nil {
			t.Skipf("this system makes no links here: %v", err)
		}
	}
	p := &Packer{}
	at, err := p.corpus(filepath.Join(dir, "corpus"))
	require.NoError(t, err)
	require.Equal(t, "bundle:corpus/corpus", at)
	var names []string
	for _, s := range p.Sources {
		names = append(names, s.Name)
	}
	require.Equal(t, []string{"corpus/corpus/b.txt", "corpus/corpus/sub/a.txt"}, names)
}

// A recipe names the files of the bundle, those of flags without a value in the order of their names, and keeps the
// rest as it is.
func TestRecipe(t *testing.T) {
	p := &Packer{Places: map[string]string{"model": "bundle:model", "simulation-llm": "bundle:sim",
		"corpus": "bundle:corpus"}}
	text, err := p.Recipe([]byte("# made by\nmodel: /home/x/m\nlr: 1e-06\noutput: o\ntopk: 5\n"), "output")
	require.NoError(t, err)
	require.Equal(t, "model: bundle:model\nlr: 1e-06\ntopk: 5\ncorpus: bundle:corpus\nsimulation-llm: bundle:sim\n",
		string(text))
	_, err = p.Recipe([]byte("a: [1"))
	require.ErrorContains(t, err, "making the bundle's recipe: ")
}

func TestProgramRefuses(t *testing.T) {
	_, err := Program(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	file := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(file, []byte("no program"), 0o755))
	_, err = Program(file)
	require.ErrorContains(t, err, "is no executable of zerosearch: build one with ")
}
