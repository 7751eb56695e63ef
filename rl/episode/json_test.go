package episode_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/episode"
)

// roundTrip writes an episode, reads it, and checks that the tokens are the same, and the bytes when it is written
// again.
func roundTrip(t require.TestingT, e *episode.Episode) {
	line, err := e.Line()
	require.NoError(t, err)
	require.Equal(t, 1, bytes.Count(line, []byte("\n")))
	for back, err := range episode.Read("x", bytes.NewReader(line)) {
		require.NoError(t, err)
		require.Equal(t, e.Tokens(), back.Tokens())
		require.Equal(t, e.Status, back.Status)
		again, err := back.Line()
		require.NoError(t, err)
		require.Equal(t, string(line), string(again))
		return
	}
	require.Fail(t, "no line")
}

func sample() *episode.Episode {
	return &episode.Episode{Step: 2, Group: 1, Rollout: 3, QuestionID: "nq_1", Question: "a < b?",
		GoldenAnswers: []string{"x"}, PromptIDs: []int32{5, 6}, Temperature: 1,
		Status: episode.Answered, Reward: 2.0 / 3, Turns: []episode.Turn{
			{IDs: []int32{7, 8}, Mask: []bool{true, false}, Logprobs: []float32{-0.1, 0}, Text: "<search>q</search>",
				Action: episode.Search, Content: "q", Observation: "o",
				Documents: []string{"d"}, Quality: "useful", Tau: 0.25, Draw: 0.5},
			{IDs: []int32{9}, Mask: []bool{true}, Logprobs: []float32{-1e-9}, Text: "<answer>x</answer>",
				Action: episode.Answer, Content: "x"},
		}}
}

func TestLine(t *testing.T) {
	line, err := sample().Line()
	require.NoError(t, err)
	require.Equal(t,
		`{"step":2,"group":1,"question_id":"nq_1","rollout":3,"attempt":0,"status":"answered","question":"a < b?","golden_answers":["x"],"prompt_ids":[5,6],`+
			`"reward":0.6666666666666666,"answer":"x","temperature":1,"turns":[`+
			`{"ids":[7,8],"mask":[1,0],"logprobs":[-0.1,null],"text":"<search>q</search>","action":"search","query":"q","documents":["d"],"quality":"useful","tau":0.25,"draw":0.5,"observation":"o"},`+
			`{"ids":[9],"mask":[1],"logprobs":[-1e-09],"text":"<answer>x</answer>","action":"answer"}]}`+"\n",
		string(line))
	roundTrip(t, sample())
	e := new(episode.Episode)
	require.NoError(t, json.Unmarshal(line, e))
	require.Equal(t, sample(), e)
	other := new(episode.Episode) // another program may know the log-prob of an id that is not trained on
	require.NoError(t, json.Unmarshal([]byte(strings.Replace(string(line), "[-0.1,null]", "[-0.1,-7]", 1)), other))
	require.Equal(t, sample(), other)
	std, err := json.Marshal(sample())
	require.NoError(t, err)
	require.JSONEq(t, string(line), string(std))
	roundTrip(t, &episode.Episode{Status: episode.Cancelled})
	e = sample()
	e.Turns[0].Logprobs = nil
	roundTrip(t, e)
	require.Nil(t, e.Tokens().Logprobs)
	e.Turns[0].Prefill = "<think>\n"
	roundTrip(t, e)
	line, err = e.Line()
	require.NoError(t, err)
	require.Contains(t, string(line), `"prefill":"<think>\n","text":"<search>`)
}

// Advantages are one number where all are the same, and absent where an episode was not trained on.
func TestLineAdvantages(t *testing.T) {
	for _, c := range []struct {
		values []float32
		want   string
	}{{nil, `"reward":0.6666666666666666,"answer"`}, {[]float32{-0.7, -0.7}, `"advantage":-0.7,`},
		{[]float32{0.25, -1e-9}, `"advantage":[0.25,-1e-09],`}, {[]float32{0, 0}, `"advantage":0,`}} {
		e := sample()
		e.Advantages = c.values
		line, err := e.Line()
		require.NoError(t, err)
		require.Contains(t, string(line), c.want)
		roundTrip(t, e)
		back := new(episode.Episode)
		require.NoError(t, json.Unmarshal(line, back))
		require.Equal(t, e, back)
	}
	e := sample()
	e.Advantages = []float32{0, float32(math.NaN())}
	_, err := e.Line()
	require.ErrorContains(t, err, "an advantage is not a number")
}

func TestLineRefusesWhatJSONCannotHold(t *testing.T) {
	for _, v := range []float32{float32(math.NaN()), float32(math.Inf(-1))} {
		e := sample()
		e.Turns[0].Logprobs[0] = v
		_, err := e.Line()
		require.ErrorContains(t, err, "episode of question nq_1, step 2")
	}
	e := sample()
	e.Reward = math.NaN()
	_, err := e.Line()
	require.Error(t, err)
}

func TestReadErrors(t *testing.T) {
	good, err := sample().Line()
	require.NoError(t, err)
	for old, replaced := range map[string][2]string{
		`"mask":[1,0]`:           {`"mask":[1]`, "2 ids, 1 mask, 2 logprobs"},
		`"mask":[1,0],`:          {`"mask":[1,2],`, "must be 0 or 1"},
		`"mask":[1]`:             {`"mask":"AQ=="`, "a string where a list is expected"},
		`"logprobs":[-0.1,null]`: {`"logprobs":[null,-0.1]`, "logprob 0: must be a number"},
		`"logprobs":[-1e-09]`:    {`"logprobs":[1e99]`, "the number 1e99 where a number of 32 bits is expected"},
		`"ids":[9]`:              {`"ids":[-9]`, "must not be negative"},
		`[5,6]`:                  {`[5,-6]`, "prompt_ids"},
		`"prompt_ids":[5,6]`:     {`"prompt_ids":[5,null]`, "null where a number is expected"},
		`"mask":[1,0],"logprobs`: {`"mask":[1,null],"logprobs`, "null where a number is expected"},
		`"answer":"x"`:           {`"advantage":[1,2,3],"answer":"x"`, "3 values for 2 sampled ids"},
		`"turns":[`:              {`"turns":7,"x":[`, `"turns": a number where a list is expected`},
	} {
		bad := strings.Replace(string(good), old, replaced[0], 1)
		require.NotEqual(t, string(good), bad)
		n := 0
		for e, err := range episode.Read("e.jsonl", strings.NewReader(string(good)+"\n"+bad)) {
			if n++; n == 1 {
				require.NoError(t, err)
				continue
			}
			require.Nil(t, e)
			require.ErrorContains(t, err, "e.jsonl: line 3")
			require.ErrorContains(t, err, replaced[1])
		}
		require.Equal(t, 2, n)
	}
}

func FuzzRead(f *testing.F) {
	// Short ones: the fuzzer shortens what it finds byte by byte.
	f.Add([]byte(`{"turns":[{"ids":[1],"mask":[1]}]}`))
	f.Add([]byte(`{"prompt_ids":[5],"advantage":0.5,"turns":[{"ids":[7,8],"mask":[1,0],"logprobs":[-0.1,null]}]}`))
	f.Add([]byte(`{"answer":"x","advantage":[1],"turns":[{"ids":[7],"mask":[1],"action":"answer"}]}`))
	f.Add([]byte(`{"turns":[{"action":"search","query":"q","documents":["d"],"quality":"noisy","tau":1,"draw":0.5}]}`))
	f.Add([]byte(`{"turns":[null]}` + "\n" + `null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for e, err := range episode.Read("fuzz", bytes.NewReader(b)) {
			if err != nil {
				continue
			}
			tokens := e.Tokens()
			require.Len(t, tokens.Mask, len(tokens.IDs))
			if _, err := e.Line(); err == nil {
				roundTrip(t, e)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("<search>q</search>", 3)
	f.Add("</answer><answer><search></answer>", 1)
	f.Fuzz(func(t *testing.T, text string, at int) {
		action, content, end := episode.Parse(text)
		require.True(t, end >= 0 && end <= len(text))
		if action == episode.Invalid {
			require.Empty(t, content)
			return
		}
		require.Contains(t, text[:end], content)
		a, c, _ := episode.Parse(text[:end])
		require.Equal(t, action, a)
		require.Equal(t, content, c)
		b, _, _ := episode.Parse(text[:end-1])
		require.Equal(t, episode.Invalid, b, "one character less and there is no pair")
	})
}
