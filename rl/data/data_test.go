package data_test

import (
	"bytes"
	"compress/gzip"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"pgregory.net/rapid"
)

func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(p, content, 0o644))
	return p
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

const two = "\ufeff" +
	`{"id": "a", "question": "who?", "golden_answers": ["x", "y"], "data_source": "nq", "extra": {"k": [1, 2.50]}}` +
	"\r\n\n" +
	`{"question":"when?","reward_model":{"style":"rule","ground_truth":{"target":["1990"]}},"extra_info":{"index":7}}`

func TestJSONLines(t *testing.T) {
	for name, content := range map[string][]byte{"q.jsonl": []byte(two), "q.jsonl.gz": gz([]byte(two)),
		"gzipped_without_saying_so.jsonl": gz([]byte(two))} {
		qs, err := data.Load(file(t, name, content))
		require.NoError(t, err)
		require.Len(t, qs, 2)
		require.Equal(t, "a", qs[0].ID)
		require.Equal(t, "who?", qs[0].Question)
		require.Equal(t, []string{"x", "y"}, qs[0].GoldenAnswers)
		require.Equal(t, "nq", qs[0].DataSource)
		require.Equal(t, `{"k": [1, 2.50]}`, string(qs[0].Columns["extra"]), "echoed as it was")
		require.Equal(t, "7", qs[1].ID)
		require.Equal(t, []string{"1990"}, qs[1].GoldenAnswers)
		require.Equal(t, 3, qs[1].Row, "the line's number")
		require.Equal(t, strings.Split(name, ".")[0], qs[1].DataSource)
	}
}

// What the simulated engine knows is an object of texts; other things are an error.
func TestSearchFacts(t *testing.T) {
	row := `{"question":"q","golden_answers":"a"`
	qs, err := data.Load(file(t, "q.jsonl", []byte(row+`,"search_facts":{"x made":"y"}}`+"\n"+row+"}")))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"x made": "y"}, qs[0].Facts)
	require.Nil(t, qs[1].Facts)
	_, err = data.Load(file(t, "q.jsonl", []byte(row+`,"search_facts":["x made"]}`)))
	require.ErrorContains(t, err, "row 1: column search_facts: ")
}

func TestAnswers(t *testing.T) {
	for in, want := range map[string][]string{
		`"golden_answers":["a<|answer_split|>b", "", 3, true, 2.50, null]`:           {"a", "b", "3", "true", "2.50"},
		`"golden_answers":"single"`:                                                  {"single"},
		`"golden_answers":1815`:                                                      {"1815"},
		`"golden_answers":null,"reward_model":{"ground_truth":"a<|answer_split|>b"}`: {"a", "b"},
		`"reward_model":{"ground_truth":["a","b"]}`:                                  {"a", "b"},
		`"reward_model":{"ground_truth":{"target":"a"}}`:                             {"a"},
		`"golden_answers":"[\"politician\", \"political leader\"]"`: {"politician",
			"political leader"},
		`"golden_answers":["[\"a\",\"b\"]","c"]`:                         {"a", "b", "c"},
		`"golden_answers":"('a', 'b')"`:                                  {"a", "b"},
		`"golden_answers":"{'a'}"`:                                       {"a"},
		`"golden_answers":"[1990, 1991]"`:                                {"1990", "1991"},
		`"golden_answers":"['a<|answer_split|>b',]"`:                     {"a", "b"},
		`"reward_model":{"ground_truth":"[\"a\",\"b\"]"}`:                {"a", "b"},
		`"reward_model":{"ground_truth":"{\"target\": [\"a\", \"b\"]}"}`: {"a", "b"},
		`"reward_model":"{\"ground_truth\": {\"target\": \"a\"}}"`:       {"a"},
	} {
		qs, err := data.Load(file(t, "q.jsonl", []byte(`{"question":"q",`+in+`}`)))
		require.NoError(t, err, in)
		require.Equal(t, want, qs[0].GoldenAnswers, in)
		require.Equal(t, "row-1", qs[0].ID)
	}
}

// A list that is written as text, in JSON or as Python prints it, is read as a list. Other texts in brackets are single
// answers.
func TestAnswersAsText(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{`" ['a', \"b's\", 'c\\'s', 'd\\\\e\\u00e9\\n', 3, None, True] "`,
			[]string{"a", "b's", "c's", "d\\eé\n", "3", "True"}},
		{`["('Til) I Kissed You", "('a')", "[a, b]", "[0, 1)", "(2)", "\"Heroes\"", "{x}", "[unknown]", "[]a"]`,
			[]string{"('Til) I Kissed You", "('a')", "[a, b]", "[0, 1)", "(2)", `"Heroes"`, "{x}", "[unknown]", "[]a"}},
	} {
		qs, err := data.Load(file(t, "q.jsonl", []byte(`{"question":"q","golden_answers":`+c.in+`}`)))
		require.NoError(t, err, c.in)
		require.Equal(t, c.want, qs[0].GoldenAnswers, c.in)
	}
}

// Each mistake gives a one-line error with the file, the row, the mistake, and the columns of the row.
func TestErrors(t *testing.T) {
	good := `{"question":"q","golden_answers":["a"]}` + "\n"
	for content, want := range map[string]string{
		"": "no rows", "\n \n": "no rows",
		good +
			`{"query":"q","answers":["a"]}`: "row 2: no column question (or prompt): the columns are answers, query",
		good +
			`{"question":"q","answers":["a"]}`: "row 2: no column golden_answers (or " +
			"reward_model.ground_truth.target): the columns are answers, question",
		`{"question":"q","reward_model":{"ground_truth":{"answer":"a"}}}`:     "row 1: reward_model.ground_truth has no target: it has answer",
		`{"question":"q","reward_model":{"style":"rule"}}`:                    "row 1: reward_model has no ground_truth",
		`{"question":"q","reward_model":3}`:                                   "column reward_model: a number where an object",
		`{"question":"q","golden_answers":[]}`:                                "row 1: no golden answer",
		`{"question":"q","golden_answers":["", " "]}`:                         "row 1: no golden answer",
		`{"question":"q","golden_answers":[["a"]]}`:                           "row 1: golden_answers: expected text",
		`{"question":"q","golden_answers":"[]"}`:                              "row 1: no golden answer",
		`{"question":"q","golden_answers":"['a' 'b']"}`:                       `"['a' 'b']" looks like a list written`,
		`{"question":"q","golden_answers":"array(['a'], dtype=object)"}`:      `write it as JSON, ["...", "..."]`,
		`{"question":"q","golden_answers":"[\"a\", \"b]"}`:                    `looks like a list written as text`,
		`{"question":"q","golden_answers":"[\"a\", \"b"}`:                     `looks like a list written as text`,
		`{"question":"q","golden_answers":"['a"}`:                             `looks like a list written as text`,
		`{"question":"q","golden_answers":null}`:                              "row 1: column golden_answers is null",
		`{"question":"q","golden_answers":"{\"target\": [\"a\"]}"}`:           `looks like a list written as text`,
		`{"question":"q","golden_answers":"[[\"a\"],[\"b\"]]"}`:               "golden_answers: expected text",
		`{"question":"  ","golden_answers":["a"]}`:                            "row 1: the question is empty",
		`{"question":["q"],"golden_answers":["a"]}`:                           "row 1: column question: expected text",
		`{"prompt":[{"role":"system","content":"x"}],"golden_answers":["a"]}`: "row 1: column prompt: holds no user message",
		`{"prompt":"text","golden_answers":["a"]}`:                            "column prompt: a string where a list",
		good + `{"question":NaN,"golden_answers":["a"]}`:                      "row 2: the question is empty",
		good + `{"question":"q","golden_answers":NaN}`:                        "row 2: column golden_answers is null",
		good + `{"question":"q","golden_answers":["a"],"score":nan}`:          "row 2: invalid character",
		good + good + `[1,2]`:                                                 "row 3: a list where an object is",
		good + `null`:                                                         "row 2: null",
		good + `{"question":"q"`:                                              "row 2: unexpected end of JSON input",
		string(gz([]byte(strings.Repeat(good, 50)))[:40]):                     "row 1: unexpected EOF",
		"\x1f\x8bnot really gzip":                                             "damaged",
		"PAR1" + strings.Repeat("\x00", 40):                                   "damaged or not a parquet file",
	} {
		p := file(t, "q.jsonl", []byte(content))
		_, err := data.Load(p)
		require.Error(t, err, "%q", content)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, p)
		require.NotContains(t, err.Error(), "\n")
	}
	_, err := data.Load(filepath.Join(t.TempDir(), "absent.jsonl"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestVerlPromptHoldsTheQuestion(t *testing.T) {
	qs, err := data.Load(file(t, "q.jsonl", []byte(`{"prompt":[{"role":"user","content":"Answer ... Question: who was it?\n"}],"golden_answers":["a"]}
{"prompt":[{"role":"system","content":"s"},{"role":"user","content":"bare question"}],"golden_answers":["a"]}`)))
	require.NoError(t, err)
	require.Equal(t, "who was it?", qs[0].Question)
	require.Equal(t, "bare question", qs[1].Question)
}

// A bad line does not end the sequence of rows: commands that read JSON lines answer it with an error and continue.
func TestRowsGoOn(t *testing.T) {
	var ns []int
	bad := 0
	for row, err := range data.Lines("x", strings.NewReader("{\"a\":1}\n{bad\n\n{\"a\":2}\n")) {
		ns = append(ns, row.N)
		if err != nil {
			bad++
		}
	}
	require.Equal(t, []int{1, 2, 4}, ns)
	require.Equal(t, 1, bad)
}

type verlRow struct {
	ID       *string  `parquet:"id,optional"`
	Question string   `parquet:"question"`
	Golden   []string `parquet:"golden_answers,list"`
	Prompt   []struct {
		Role    string `parquet:"role"`
		Content string `parquet:"content"`
	} `parquet:"prompt,list"`
	RewardModel struct {
		Style       string `parquet:"style"`
		GroundTruth struct {
			Target []string `parquet:"target,list"`
		} `parquet:"ground_truth"`
	} `parquet:"reward_model"`
	Score float64 `parquet:"score"`
	Raw   []byte  `parquet:"raw"`
}

func parquetFile(t *testing.T, rows ...verlRow) string {
	var b bytes.Buffer
	w := parquet.NewGenericWriter[verlRow](&b)
	_, err := w.Write(rows)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return file(t, "q.parquet", b.Bytes())
}

func TestParquet(t *testing.T) {
	id := "r<1>"
	rows := make([]verlRow, 300)
	for i := range rows {
		rows[i] = verlRow{Question: "q", Golden: []string{"a", "b"}, Score: float64(i) / 4, Raw: []byte("é")}
		rows[i].RewardModel.GroundTruth.Target = []string{"t"}
	}
	rows[0].ID = &id
	rows[299].Golden = nil
	_, err := data.Load(parquetFile(t, rows...))
	require.ErrorContains(t, err, "row 300: no golden answer")
	qs, err := data.Load(parquetFile(t, rows[:299]...))
	require.NoError(t, err)
	require.Len(t, qs, 299)
	require.Equal(t, `"r<1>"`, string(qs[0].Columns["id"]))
	require.Equal(t, "row-2", qs[1].ID)
	require.Equal(t, `74.5`, string(qs[298].Columns["score"]))
	require.Equal(t, `"é"`, string(qs[298].Columns["raw"]))
	rows[5].Score, rows[6].Score = math.NaN(), math.Inf(-1)
	qs, err = data.Load(parquetFile(t, rows[:299]...))
	require.NoError(t, err, "a column that nobody reads")
	require.Len(t, qs, 299)
	for i, want := range []string{"null", "null", "1.75"} {
		require.Equal(t, want, string(qs[5+i].Columns["score"]))
	}
}

// Values of types that JSON does not have become text or null. A golden answer may be a date.
func TestParquetTypes(t *testing.T) {
	type row struct {
		Question string   `parquet:"question"`
		Golden   []int32  `parquet:"golden_answers,list"`
		Day      int32    `parquet:"day,date"`
		When     int64    `parquet:"when,timestamp(microsecond)"`
		Big      uint64   `parquet:"big"`
		ID       [16]byte `parquet:"id,uuid"`
		Image    struct {
			Bytes []byte `parquet:"bytes"`
		} `parquet:"image"`
		Scores []float64 `parquet:"scores,list"`
	}
	r := row{Question: "When was it?", Golden: []int32{1957}, Day: -4473, When: -386380799000001, Big: math.MaxUint64,
		ID:     [16]byte{0: 0xab, 15: 1},
		Scores: []float64{0.5, math.NaN()}}
	r.Image.Bytes = []byte("\x89PNG\xff")
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b)
	_, err := w.Write([]row{r})
	require.NoError(t, err)
	require.NoError(t, w.Close())
	qs, err := data.Load(file(t, "q.parquet", b.Bytes()))
	require.NoError(t, err)
	require.Equal(t, []string{"1957"}, qs[0].GoldenAnswers)
	for column, want := range map[string]string{"day": `"1957-10-03"`, "when": `"1957-10-04T00:00:00.999999Z"`,
		"big": "18446744073709551615",
		"id":  `"ab000000-0000-0000-0000-000000000001"`, "image": `{"bytes":null}`, "scores": "[0.5,null]"} {
		require.Equal(t, want, string(qs[0].Columns[column]), column)
	}
}

// Made by pyarrow 26 from a table of no rows, which it writes as one row group.
func TestParquetNoRows(t *testing.T) {
	_, err := data.Load("testdata/no_rows.parquet")
	require.EqualError(t, err, "reading testdata/no_rows.parquet: no rows: give a file with at least one question")
}

func TestParquetDamaged(t *testing.T) {
	sound, err := os.ReadFile(parquetFile(t, verlRow{Question: "q", Golden: []string{"a"}}))
	require.NoError(t, err)
	p := filepath.Join(t.TempDir(), "q.parquet")
	load := func(b []byte) error {
		require.NoError(t, os.WriteFile(p, b, 0o644))
		_, err := data.Load(p) // an error or not, but no panic and no hang
		return err
	}
	failed := 0
	for i := 0; i < len(sound); i += 3 {
		b := slices.Clone(sound)
		b[i] = []byte{0, 0xff, b[i] + 1, b[i] ^ 0x80}[i%4]
		if load(b) != nil {
			failed++
		}
		if i%48 == 0 {
			require.Error(t, load(sound[:i]), "cut off")
		}
	}
	require.Positive(t, failed)
}

func TestSharedSets(t *testing.T) {
	for name, n := range map[string]int{
		"qa/nq.test.jsonl.gz": 3610, "qa/r1searcher.train.jsonl.gz": 8297, "qa/mix7.deepresearcher_test.jsonl.gz": 0,
		"qa/hotpotqa.dev500.jsonl.gz":        500,
		"qa/2wikimultihopqa.dev500.jsonl.gz": 500, "qa/musique.dev500.jsonl.gz": 500, "qa/squad.xquad_en.jsonl.gz": 0,
		"parquet/search-r1_nq_search_test.parquet": 3610, "parquet/deepresearcher_test.parquet": 3197,
	} {
		qs, err := data.Load(goldens.Data(t, name))
		require.NoError(t, err)
		if n > 0 {
			require.Len(t, qs, n, name)
		}
		require.NotEmpty(t, qs[0].DataSource)
	}
	nq, err := data.Load(goldens.Data(t, "qa/nq.test.jsonl.gz"))
	require.NoError(t, err)
	r1, err := data.Load(goldens.Data(t, "parquet/search-r1_nq_search_test.parquet"))
	require.NoError(t, err)
	same := 0
	for i := range r1 {
		if strings.EqualFold(nq[i].Question, r1[i].Question) &&
			slices.Equal(nq[i].GoldenAnswers, r1[i].GoldenAnswers) && nq[i].ID == r1[i].ID {
			same++
		}
		// Two columns of the parquet file hold the same answers; reading either must give the same result.
		delete(r1[i].Columns, "golden_answers")
		q, err := data.ParseQuestion(data.Row{N: i + 1, Columns: r1[i].Columns})
		require.NoError(t, err)
		require.Equal(t, r1[i].GoldenAnswers, q.GoldenAnswers)
		delete(r1[i].Columns, "question")
		q, err = data.ParseQuestion(data.Row{N: i + 1, Columns: r1[i].Columns})
		require.NoError(t, err)
		require.Equal(t, strings.TrimSpace(r1[i].Question), q.Question)
	}
	require.Equal(t, 3610, same, "the JSON lines and the parquet file hold the same set")
}

func TestSampler(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := data.Sampler{N: rapid.IntRange(1, 40).Draw(t, "n"), Batch: rapid.IntRange(1, 50).Draw(t, "batch"),
			Seed: rapid.Uint64().Draw(t, "seed"), InOrder: rapid.Bool().Draw(t, "inorder")}
		var stream []int
		for step := range 2*s.N/s.Batch + 2 {
			b := s.Step(step)
			require.Len(t, b, s.Batch)
			stream = append(stream, b...)
		}
		at := rapid.IntRange(0, len(stream)).Draw(t, "at")
		n := rapid.IntRange(0, len(stream)-at).Draw(t, "some")
		require.Equal(t, stream[at:at+n], s.Draw(at, n), "any stretch of the same sequence")
		for e := 0; (e+1)*s.N <= len(stream); e++ {
			require.Equal(t, s.Epoch(e), stream[e*s.N:(e+1)*s.N], "batches are the epochs, cut")
			sorted := slices.Sorted(slices.Values(s.Epoch(e)))
			for i, v := range sorted {
				require.Equal(t, i, v, "every question once an epoch")
			}
		}
	})
	s := data.Sampler{N: 100, Batch: 10, Seed: 1}
	require.NotEqual(t, s.Epoch(0), s.Epoch(1))
	require.NotEqual(t, s.Epoch(0), data.Sampler{N: 100, Batch: 10, Seed: 2}.Epoch(0))
	require.Equal(t, []int{0, 1, 2}, data.Sampler{N: 5, Batch: 3, InOrder: true}.Step(0))
	require.Equal(t, []int{3, 4, 0}, data.Sampler{N: 5, Batch: 3, InOrder: true}.Step(1))
	require.Equal(t, []int{3, 4, 2}, data.Sampler{N: 6, Batch: 3, Seed: 7}.Step(0),
		"recorded: runs must stay comparable")
	require.Panics(t, func() { data.Sampler{Batch: 1}.Step(0) })
}

func FuzzRows(f *testing.F) {
	f.Add([]byte(two))
	f.Add(
		[]byte(`{"prompt":[{"role":"user","content":"Question: "}],"reward_model":{"ground_truth":{"target":[null]}}}`))
	f.Add(gz([]byte(two)))
	f.Add([]byte(`{"question":1e999,"golden_answers":[-0]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		last := 0
		for row, err := range data.Lines("fuzz", bytes.NewReader(b)) {
			require.GreaterOrEqual(t, row.N, last)
			last = row.N
			if err != nil {
				continue
			}
			if q, err := data.ParseQuestion(row); err == nil {
				require.NotEmpty(t, q.GoldenAnswers)
				require.NotEmpty(t, strings.TrimSpace(q.Question))
				require.NotEmpty(t, q.ID)
			}
		}
	})
}
