package verify

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// Mismatch is a difference between a run's record and its repetition. Fields that do not apply are nil or "".
type Mismatch struct {
	Step     int    `json:"step"`
	Question string `json:"question,omitempty"` // its id
	Group    *int   `json:"group,omitempty"`
	Attempt  *int   `json:"attempt,omitempty"`
	Rollout  *int   `json:"rollout,omitempty"`
	Turn     *int   `json:"turn,omitempty"`     // from 1
	File     string `json:"file,omitempty"`     // of a checkpoint
	Field    string `json:"field"`              // key of an episode, as in episodes.jsonl; a metric; a tensor
	Position *int   `json:"position,omitempty"` // index in the field, from 0
	Recorded string `json:"recorded"`
	Again    string `json:"recomputed"`
}

// String describes the difference in one line for the user.
func (m *Mismatch) String() string {
	s := fmt.Sprintf("step %d, ", m.Step)
	if m.Group != nil {
		s += fmt.Sprintf("question %s (group %d, attempt %d, rollout %d), ", m.Question, *m.Group, *m.Attempt,
			*m.Rollout)
	}
	if m.Turn != nil {
		s += fmt.Sprintf("turn %d, ", *m.Turn)
	}
	if m.File != "" {
		s += m.File + ", "
	}
	s += m.Field
	if m.Position != nil {
		s += fmt.Sprintf("[%d]", *m.Position)
	}
	return s + fmt.Sprintf(": recorded %s, recomputed %s", m.Recorded, m.Again)
}

// CompareEpisodes finds the first difference between a step's recorded episodes, was, and the repeated ones, now.
func (v *Comparer) CompareEpisodes(was, now []Line) {
	type key struct{ attempt, group, rollout int }
	of := func(e Line) key { return key{e.Attempt, e.Group, e.Rollout} }
	recorded := map[key]Line{}
	for _, e := range was {
		if _, twice := recorded[of(e)]; twice {
			v.Difference = MismatchOf(e.Episode, "episode", "two", "one")
			return
		}
		recorded[of(e)] = e
	}
	for _, e := range now {
		w, ok := recorded[of(e)]
		if !ok {
			v.Difference = MismatchOf(e.Episode, "episode", "none", "one")
			return
		}
		delete(recorded, of(e))
		if v.Difference = v.CompareEpisode(w, e); v.Difference != nil {
			return
		}
		v.Episodes++
		v.Turns += len(e.Turns)
		v.Logprobs += e.PolicyTokens()
	}
	for _, e := range was {
		if _, left := recorded[of(e)]; left {
			v.Difference = MismatchOf(e.Episode, "episode", "one", "none")
			return
		}
	}
	v.compareOrder(was, now)
}

// MismatchOf is a difference in a field of an episode.
func MismatchOf(e *episode.Episode, field, was, now string) *Mismatch {
	return &Mismatch{Step: e.Step, Question: e.QuestionID, Group: &e.Group, Attempt: &e.Attempt, Rollout: &e.Rollout,
		Field: field, Recorded: was, Again: now}
}

// CompareEpisode compares two episodes field by field. Fields that others depend on come first, and the text of the
// lines comes last.
func (v *Comparer) CompareEpisode(was, now Line) *Mismatch {
	turn := 0
	differ := func(field string, at int, a, b any) *Mismatch {
		m := MismatchOf(now.Episode, field, quoted(a), quoted(b))
		if turn > 0 {
			m.Turn = &turn
		}
		if at >= 0 {
			m.Position = &at
		}
		return m
	}
	for _, f := range []struct {
		name string
		a, b any
	}{
		{"question_id", was.QuestionID, now.QuestionID}, {"question", was.Question, now.Question},
		{"temperature", was.Temperature, now.Temperature},
	} {
		if f.a != f.b {
			return differ(f.name, -1, f.a, f.b)
		}
	}
	if at := firstOther(was.GoldenAnswers, now.GoldenAnswers); at >= 0 {
		return differ("golden_answers", at, item(was.GoldenAnswers, at), item(now.GoldenAnswers, at))
	}
	if at := firstOther(was.PromptIDs, now.PromptIDs); at >= 0 {
		return differ("prompt_ids", at, item(was.PromptIDs, at), item(now.PromptIDs, at))
	}
	for k := range max(len(was.Turns), len(now.Turns)) {
		turn = k + 1
		if k >= len(was.Turns) || k >= len(now.Turns) {
			return differ("turns", -1, len(was.Turns), len(now.Turns))
		}
		if m := compareTurn(&was.Turns[k], &now.Turns[k], differ); m != nil {
			return m
		}
	}
	turn = 0
	switch {
	case was.Status != now.Status:
		return differ("status", -1, string(was.Status), string(now.Status))
	case was.Err != now.Err:
		return differ("error", -1, was.Err, now.Err)
	case was.Reward != now.Reward:
		return differ("reward", -1, was.Reward, now.Reward)
	}
	same := func(a, b float32) bool {
		return a == b || !v.Exact && Near(float64(a), float64(b), updateTolerance, 0.2)
	}
	if !slices.EqualFunc(was.Advantages, now.Advantages, same) {
		at := firstOther(was.Advantages, now.Advantages)
		return differ("advantage", at, item(was.Advantages, at), item(now.Advantages, at))
	}
	if v.Exact && !bytes.Equal(was.Text, now.Text) { // a number with more digits than its type holds, or an unknown key
		return compareText(was, now)
	}
	return nil
}

// compareText finds where the lines of two equal episodes differ: in the spelling of a value, or in a key.
func compareText(was, now Line) *Mismatch {
	m := MismatchOf(now.Episode, "line", "", "")
	path, x, y := otherValue(parsed(was.Text), parsed(now.Text))
	if path == nil { // the lines differ in blanks, or in the order of keys
		at := firstOther(was.Text, now.Text)
		m.Position, m.Recorded, m.Again = &at, quoted(around(was.Text, at)), quoted(around(now.Text, at))
		return m
	}
	if len(path) > 2 && path[0] == "turns" {
		if k, err := strconv.Atoi(path[1]); err == nil {
			k++
			m.Turn, path = &k, path[2:]
		}
	}
	m.Field, m.Recorded, m.Again = path[0], quoted(x), quoted(y)
	if len(path) > 1 {
		if at, err := strconv.Atoi(path[1]); err == nil {
			m.Position = &at
		}
	}
	return m
}

// parsed reads JSON and keeps the spelling of its numbers.
func parsed(text []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	_ = d.Decode(&v) // cannot fail: the line was decoded before
	return v
}

// otherValue finds the first value that differs. path is the list of keys and indices that leads to it.
func otherValue(a, b any) (path []string, x, y any) {
	inside := func(step string, a, b any) bool {
		if path, x, y = otherValue(a, b); path != nil || x != nil || y != nil {
			path = append([]string{step}, path...)
			return true
		}
		return false
	}
	switch a := a.(type) {
	case map[string]any:
		b, _ := b.(map[string]any)
		all := maps.Clone(a)
		maps.Copy(all, b)
		for _, k := range slices.Sorted(maps.Keys(all)) {
			if inside(k, a[k], b[k]) {
				return path, x, y
			}
		}
	case []any:
		b, _ := b.([]any)
		for i := range max(len(a), len(b)) {
			if inside(strconv.Itoa(i), item(a, i), item(b, i)) {
				return path, x, y
			}
		}
	default:
		if a != b {
			return nil, a, b
		}
	}
	return nil, nil, nil
}

// compareTurn compares a turn's fields.
func compareTurn(was, now *episode.Turn, differ func(field string, at int, a, b any) *Mismatch) *Mismatch {
	if at := firstOther(was.IDs, now.IDs); at >= 0 {
		// If the first different id is in the observation and the documents differ, the documents are the cause: report
		// them.
		if doc := firstOther(was.Documents, now.Documents); doc >= 0 && at < len(was.Mask) && !was.Mask[at] {
			return differ("documents", doc, item(was.Documents, doc), item(now.Documents, doc))
		}
		return differ("ids", at, item(was.IDs, at), item(now.IDs, at))
	}
	if at := firstOther(was.Mask, now.Mask); at >= 0 {
		return differ("mask", at, item(was.Mask, at), item(now.Mask, at))
	}
	if at := firstOther(was.Logprobs, now.Logprobs); at >= 0 {
		return differ("logprobs", at, item(was.Logprobs, at), item(now.Logprobs, at))
	}
	content := "query"
	if now.Action == episode.Answer {
		content = "answer"
	}
	for _, f := range []struct {
		name string
		a, b any
	}{
		{"text", was.Text, now.Text}, {"action", string(was.Action), string(now.Action)},
		{content, was.Content, now.Content},
		{"engine", was.Engine, now.Engine}, {"tau", was.Tau, now.Tau}, {"draw", was.Draw, now.Draw},
		{"quality", was.Quality, now.Quality},
	} {
		if f.a != f.b {
			return differ(f.name, -1, f.a, f.b)
		}
	}
	if at := firstOther(was.Documents, now.Documents); at >= 0 {
		return differ("documents", at, item(was.Documents, at), item(now.Documents, at))
	}
	if was.Observation != now.Observation {
		at := firstOther([]byte(was.Observation), []byte(now.Observation))
		return differ("observation", at, around([]byte(was.Observation), at), around([]byte(now.Observation), at))
	}
	return nil
}

// firstOther is the first index at which two lists differ, -1 if they are equal.
func firstOther[T comparable](a, b []T) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}

// item is an element of a list, nil if the list is too short.
func item[T any](list []T, at int) any {
	if at < len(list) {
		return list[at]
	}
	return nil
}

// around is the text from 20 bytes before to 20 bytes after an offset.
func around(text []byte, at int) string {
	return string(text[max(0, min(at, len(text))-20):min(len(text), at+20)])
}

// quoted writes a value as JSON, cut after 200 bytes.
func quoted(x any) string {
	if x == nil {
		return "none"
	}
	b, err := json.Marshal(x)
	if err != nil {
		return fmt.Sprint(x)
	}
	if len(b) > 200 {
		return string(b[:200]) + "..."
	}
	return string(b)
}

// CompareMetrics compares a step's metrics of the run with those of its repetition, which are in the folder again.
// Metrics that depend on time, on a cache or on an evaluation are left out.
func (v *Comparer) CompareMetrics(step int, again string) error {
	was, err := metricsOf(v.Run, step)
	if err != nil {
		return err
	}
	now, err := metricsOf(again, step)
	if err != nil {
		return err
	}
	evaluated := false // the costs of such a step include the searches of an evaluation
	for k := range was {
		evaluated = evaluated || strings.HasPrefix(k, "val/")
	}
	all := maps.Clone(was)
	maps.Copy(all, now)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		a, b := was[k], now[k]
		switch {
		case strings.HasPrefix(k, "timing_s/"), strings.HasPrefix(k, "perf/"), strings.HasPrefix(k, "val/"):
			continue
		case strings.HasPrefix(k, "cost/") && (evaluated || !v.Exact || v.Searches == "recorded"):
			continue
		case a == b || !v.Exact && nearMetric(k, a, b):
			v.Metrics++
			continue
		}
		v.Difference = &Mismatch{Step: step, File: "metrics.jsonl", Field: k, Recorded: cmp.Or(a, "none"),
			Again: cmp.Or(b,
				"none")}
		return nil
	}
	return nil
}

// CompareCheckpoint compares all tensors, the model's other files and the training state of two checkpoints of a step.
// counted says that the step was repeated, so that it is listed in Checkpoints.
func (v *Comparer) CompareCheckpoint(step int, was, now string, counted bool) error {
	files, err := tensorFiles(was)
	if err != nil {
		return err
	}
	again, err := tensorFiles(now)
	if err != nil {
		return err
	}
	if at := firstOther(files, again); at >= 0 {
		v.Difference = &Mismatch{Step: step, File: filepath.ToSlash(filepath.Join("checkpoints", filepath.Base(was))),
			Field: "files", Position: &at,
			Recorded: quoted(item(files, at)), Again: quoted(item(again, at))}
		return nil
	}
	for _, f := range files {
		if err := v.compareTensors(step, filepath.Join(was, f), filepath.Join(now, f)); err != nil ||
			v.Difference != nil {
			return err
		}
	}
	if counted {
		v.Checkpoints = append(v.Checkpoints, step)
	}
	if err := v.compareModel(step, was, now); err != nil || v.Difference != nil {
		return err
	}
	return v.compareState(step, was, now)
}

// compareModel compares the parts of a model besides its weights: configuration, tokenizer and chat template.
func (v *Comparer) compareModel(step int, was, now string) error {
	const flag = "checkpoint"
	a, b := fingerprint.Parts{}, fingerprint.Parts{}
	if err := errors.Join(a.Model(flag, was), b.Model(flag, now)); err != nil {
		return err
	}
	for _, d := range fingerprint.Compare(a, b) {
		if _, part, _ := strings.Cut(d.Part, "."); part != fingerprint.Weights { // compareTensors compares the weights
			v.Difference = &Mismatch{Step: step, File: "checkpoints/" + filepath.Base(was), Field: part,
				Recorded: cmp.Or(d.Was, "none"),
				Again:    cmp.Or(d.Now, "none")}
			return nil
		}
	}
	return nil
}

// tensorFiles lists the .safetensors files of a checkpoint, those of the critic included.
func tensorFiles(dir string) (out []string, err error) {
	return out, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".safetensors") {
			rel, _ := filepath.Rel(dir, path)
			out = append(out, rel)
		}
		return err
	})
}

// compareTensors compares the tensors of two files: names, types, shapes and values.
func (v *Comparer) compareTensors(step int, was, now string) error {
	a, err := safetensors.Open(was)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := safetensors.Open(now)
	if err != nil {
		return err
	}
	defer b.Close()
	rel, _ := filepath.Rel(v.Run, was)
	differ := func(tensor string, at int, x, y string) {
		v.Difference = &Mismatch{Step: step, File: filepath.ToSlash(rel), Field: tensor, Recorded: x, Again: y}
		if at >= 0 {
			v.Difference.Position = &at
		}
	}
	all, others := slices.Sorted(slices.Values(a.Names())), slices.Sorted(slices.Values(b.Names()))
	if at := firstOther(all, others); at >= 0 {
		differ("tensors", at, quoted(item(all, at)), quoted(item(others, at)))
		return nil
	}
	for _, name := range all {
		x, _ := a.Tensor(name)
		y, _ := b.Tensor(name)
		v.Tensors++
		switch {
		case x.DType != y.DType || !slices.Equal(x.Shape, y.Shape):
			differ(name, -1, fmt.Sprint(x.DType, x.Shape), fmt.Sprint(y.DType, y.Shape))
			return nil
		case bytes.Equal(x.Bytes(), y.Bytes()), !v.Exact && isMoment(name):
			continue
		}
		was, now := make([]float32, x.Elements()), make([]float32, x.Elements())
		if err := x.Float32(was); err != nil {
			return err
		}
		if err := y.Float32(now); err != nil {
			return err
		}
		for i := range was {
			if math.Float32bits(was[i]) != math.Float32bits(now[i]) &&
				(v.Exact || !v.NearWeight(step, was[i], now[i])) {
				differ(name, i, fmt.Sprint(was[i]), fmt.Sprint(now[i]))
				return nil
			}
		}
	}
	return nil
}

// compareState compares the state from which a resumed run continues.
func (v *Comparer) compareState(step int, was, now string) error {
	a, err := rundir.ReadState(was)
	if err != nil {
		return err
	}
	b, err := rundir.ReadState(now)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		a, b float64
	}{
		{"step", float64(a.Step), float64(b.Step)}, {"seed", float64(a.Seed), float64(b.Seed)},
		{"skipped", float64(a.Skipped), float64(b.Skipped)}, {"drawn", float64(a.Drawn), float64(b.Drawn)},
		{"success", a.Success, b.Success}, {"kl_coef", a.KLCoef, b.KLCoef},
	} {
		if f.a != f.b && (v.Exact || f.name != "kl_coef" || !Near(f.a, f.b, updateTolerance, 0)) {
			v.Difference = &Mismatch{Step: step, File: "checkpoints/" + filepath.Base(was) + "/" + rundir.StateName,
				Field:    f.name,
				Recorded: quoted(f.a), Again: quoted(f.b)}
			return nil
		}
	}
	return nil
}
