package data_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"pgregory.net/rapid"
)

// inFolder makes a new working folder with a file of n questions for each name.
func inFolder(t *testing.T, files map[string]int) {
	t.Chdir(t.TempDir())
	for name, n := range files {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `{"question":"%s %d?","golden_answers":["x"]}`+"\n", name, i)
		}
		require.NoError(t, os.WriteFile(name, []byte(b.String()), 0o644))
	}
}

// The files of a list are named without weights where every question is taken once.
func TestUnweighted(t *testing.T) {
	require.Equal(t, "a.jsonl,b.parquet", data.Unweighted("a.jsonl:0.3, b.parquet:0.7"))
	require.Equal(t, "a.jsonl,b.parquet", data.Unweighted("a.jsonl,b.parquet"))
	require.Equal(t, "a.jsonl:x,", data.Unweighted("a.jsonl:x,"))
}

func TestLoadSet(t *testing.T) {
	inFolder(t, map[string]int{"a.jsonl": 3, "b.jsonl": 2, "a,b.jsonl": 1, "c:1": 1, "d:e": 1})
	for list, want := range map[string]*data.Set{
		"a.jsonl":                 {},
		"a.jsonl, b.jsonl":        {},
		"a,b.jsonl":               {},
		"c:1":                     {},
		"d:e":                     {},
		"a.jsonl:0.7,b.jsonl:0.3": {Parts: []data.Part{{"a.jsonl", 3, 700}, {"b.jsonl", 2, 300}}},
		"b.jsonl:2,a.jsonl:1":     {Parts: []data.Part{{"b.jsonl", 2, 667}, {"a.jsonl", 3, 333}}},
		"a.jsonl:5":               {Parts: []data.Part{{"a.jsonl", 3, 1000}}},
		"a.jsonl:1,b.jsonl:1,c:1:1": {Parts: []data.Part{{"a.jsonl", 3, 334}, {"b.jsonl", 2, 333},
			{"c:1", 1, 333}}},
		"a.jsonl:1e-3,b.jsonl:0.999": {Parts: []data.Part{{"a.jsonl", 3, 1}, {"b.jsonl", 2, 999}}},
		"d:e:0.5,a.jsonl:0.25,b.jsonl:.25": {Parts: []data.Part{{"d:e", 1, 500}, {"a.jsonl", 3, 250},
			{"b.jsonl", 2, 250}}},
	} {
		s, err := data.LoadSet(list)
		require.NoError(t, err, list)
		require.Equal(t, want.Parts, s.Parts, list)
	}
	s, err := data.LoadSet("b.jsonl,a.jsonl")
	require.NoError(t, err)
	require.Len(t, s.Questions, 5)
	require.Equal(t, []string{"b.jsonl", "b", "a.jsonl", "a"},
		[]string{s.Questions[0].File, s.Questions[0].DataSource, s.Questions[2].File, s.Questions[2].DataSource})

	for list, want := range map[string]string{
		"a.jsonl,":                   "a name between the commas is empty",
		"a.jsonl,a.jsonl":            "a.jsonl is named twice",
		"a.jsonl:0.5,b.jsonl":        "1 of 2 files have a weight",
		"a.jsonl:0,b.jsonl:1":        "a.jsonl:0: a weight must be a number above 0",
		"a.jsonl:-1":                 "a weight must be",
		"a.jsonl:NaN":                "a weight must be",
		"a.jsonl:1,b.jsonl:1e6":      "the weight of a.jsonl is less than a thousandth",
		"a.jsonl:0.5,absent.jsonl:1": "absent.jsonl",
	} {
		_, err := data.LoadSet(list)
		require.ErrorContains(t, err, want, list)
	}
	_, err = data.LoadFiles("a.jsonl:0.7,b.jsonl:0.3")
	require.ErrorContains(t, err, "leave them out")
}

func TestKeep(t *testing.T) {
	inFolder(t, map[string]int{"a.jsonl": 10, "b.jsonl": 4})
	s, err := data.LoadSet("a.jsonl:1,b.jsonl:1")
	require.NoError(t, err)
	dropped, err := s.Keep("a test", func(q data.Question) bool { return q.Row%2 == 1 })
	require.NoError(t, err)
	require.Equal(t, 7, dropped)
	require.Equal(t, []data.Part{{"a.jsonl", 5, 500}, {"b.jsonl", 2, 500}}, s.Parts)
	require.ErrorContains(t, s.FromSources([]string{"a"}), "none of b.jsonl is left after --sources")

	s, err = data.LoadSet("a.jsonl,b.jsonl")
	require.NoError(t, err)
	require.ErrorContains(t, s.FromSources([]string{"nq"}), `no data source is called "nq": there are a, b`)
	require.NoError(t, s.FromSources([]string{"b"}))
	require.Len(t, s.Questions, 4)
	_, err = s.Keep("a test", func(data.Question) bool { return false })
	require.ErrorContains(t, err, "none of 4 is left after a test")

	s.Questions[1].GoldenAnswers = []string{"four words are here", "three are enough"}
	s.Questions[2].GoldenAnswers = []string{"four words are here"}
	dropped, err = s.ShortAnswers(3)
	require.NoError(t, err)
	require.Equal(t, 1, dropped)
	require.Len(t, data.PerSource(s.Questions, 2), 2)
	require.Len(t, data.PerSource(s.Questions, 0), 3)
}

// The texts of the questions decide which ones are held out: equal questions stay together, and neither the order nor
// the other questions make a difference.
func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 60).Draw(t, "n")
		s, twin := &data.Set{}, &data.Set{}
		for i := range n {
			s.Questions = append(s.Questions, data.Question{Question: fmt.Sprintf("Who is %d?", i), Row: i})
			twin.Questions = append([]data.Question{{Question: fmt.Sprintf("who  is %d", i), Row: i}},
				twin.Questions...)
		}
		holdOut := float64(rapid.IntRange(1, n-1).Draw(t, "hold"))
		held, err := s.Split(holdOut)
		require.NoError(t, err)
		require.Len(t, held, int(holdOut))
		require.Len(t, s.Questions, n-int(holdOut))
		other, err := twin.Split(holdOut / float64(n))
		require.NoError(t, err)
		rows := func(qs []data.Question) (out []int) {
			for _, q := range qs {
				out = append(out, q.Row)
			}
			slices.Sort(out)
			return out
		}
		require.Equal(t, rows(held), rows(other))
	})
	same := []data.Question{{Question: "q?"}, {Question: "Q"}, {Question: " q "}}
	_, err := (&data.Set{Questions: same}).Split(1)
	require.ErrorContains(t, err, "all of them ask the same")
	for _, bad := range []float64{0, -1, 3, 0.01, math.NaN()} {
		_, err := (&data.Set{Questions: same}).Split(bad)
		require.ErrorContains(t, err, "cannot be held out")
	}
}

func TestDigest(t *testing.T) {
	inFolder(t, map[string]int{"a.jsonl": 3, "b.jsonl": 3})
	seen := map[string]string{}
	for _, list := range []string{"a.jsonl", "b.jsonl", "a.jsonl,b.jsonl", "b.jsonl,a.jsonl", "a.jsonl:1,b.jsonl:1",
		"a.jsonl:1,b.jsonl:2"} {
		s, err := data.LoadSet(list)
		require.NoError(t, err)
		again, _ := data.LoadSet(list)
		require.Equal(t, s.Digest(), again.Digest())
		require.Empty(t, seen[s.Digest()], list)
		seen[s.Digest()] = list
	}
}

// A mixture draws from each file by its exact share, each batch is close to the shares, and every question of a file is
// drawn once in each epoch of that file.
func TestMixture(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s data.Sampler
		s.Seed, s.InOrder, s.Batch = rapid.Uint64().Draw(t, "seed"), rapid.Bool().Draw(t, "inorder"),
			rapid.SampledFrom([]int{1, 8, 50, 125}).Draw(t, "batch")
		left := 1000
		for left > 0 {
			share := rapid.IntRange(min(left, 40), left).Draw(t, "share")
			s.Parts = append(s.Parts, data.Part{N: rapid.IntRange(1, 30).Draw(t, "n"), Share: share})
			s.N += s.Parts[len(s.Parts)-1].N
			left -= share
		}
		of := func(i int) (part, at int) {
			for i >= s.Parts[part].N {
				i -= s.Parts[part].N
				part++
			}
			return part, i
		}
		drawn := make([][]int, len(s.Parts))
		for step := range 1000 / s.Batch {
			in := make([]int, len(s.Parts))
			for _, q := range s.Step(step) {
				p, at := of(q)
				drawn[p] = append(drawn[p], at)
				in[p]++
			}
			for p, n := range in {
				require.InDelta(t, float64(s.Batch*s.Parts[p].Share)/1000, n, 2+float64(len(s.Parts))/4)
			}
		}
		for p, part := range s.Parts {
			require.Len(t, drawn[p], part.Share)
			for e := 0; (e+1)*part.N <= len(drawn[p]); e++ {
				for i, v := range slices.Sorted(slices.Values(drawn[p][e*part.N : (e+1)*part.N])) {
					require.Equal(t, i, v)
				}
			}
		}
	})
	s := data.Sampler{N: 9, Batch: 5, Seed: 1, Parts: []data.Part{{"a", 6, 600}, {"b", 3, 400}}}
	require.Equal(t, [][]int{{2, 7, 1, 8, 3}, {4, 6, 5, 8, 0}}, [][]int{s.Step(0), s.Step(1)},
		"recorded: runs must stay comparable")
	require.Equal(t, []int{8, 3, 4}, s.Draw(3, 3), "any stretch of the same sequence")
}

// Real data sets: parquet files of ZeroSearch and Search-R1 with JSON lines, mixed and split.
func TestSharedMixture(t *testing.T) {
	s, err := data.LoadSet(goldens.Data(t, "parquet/search-r1_nq_search_test.parquet") + ":0.7," +
		goldens.Data(t, "qa/hotpotqa.dev500.jsonl.gz") + ":0.3")
	require.NoError(t, err)
	held, err := s.Split(0.1)
	require.NoError(t, err)
	require.InDelta(t, 411, len(held), 5)
	require.Equal(t, len(s.Questions), s.Parts[0].N+s.Parts[1].N)
	from := map[string]int{}
	for step := range 10 {
		for _, i := range (data.Sampler{N: len(s.Questions), Batch: 100, Seed: 3, Parts: s.Parts}).Step(step) {
			from[filepath.Base(s.Questions[i].File)]++
		}
	}
	require.Equal(t, map[string]int{"search-r1_nq_search_test.parquet": 700, "hotpotqa.dev500.jsonl.gz": 300}, from)
}

func TestRename(t *testing.T) {
	inFolder(t, map[string]int{"a.jsonl": 1, "b.jsonl": 1, "a,b.jsonl": 1, "c:1": 1})
	for list, want := range map[string]string{
		"a.jsonl":                "x/a.jsonl",
		"a,b.jsonl":              "x/a,b.jsonl",
		"a.jsonl, b.jsonl":       "x/a.jsonl,x/b.jsonl",
		"a.jsonl:0.7,c:1:0.30":   "x/a.jsonl:0.7,x/c:1:0.30",
		"absent.jsonl,c:1":       "x/absent.jsonl,x/c:1",
		"http://a/b,s3:bucket/c": "x/http://a/b,x/s3:bucket/c",
	} {
		got, err := data.Rename(list, func(file string) (string, error) { return "x/" + file, nil })
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := data.Rename("a.jsonl:0", func(file string) (string, error) { return file, nil })
	require.ErrorContains(t, err, "a weight must be a number above 0")
}
