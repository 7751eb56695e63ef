package rollout

import (
	"maps"
	"slices"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// EpisodeMetrics describe the episodes that count: see newSampled.
func EpisodeMetrics(all []*episode.Episode) rundir.Metrics {
	n := float64(max(1, len(all)))
	var reward, length, turns, valid, searches, useful, simulated, asked, empty, tau, answered, f1, em float64
	lo, hi := 0.0, 0.0
	parts := rundir.Metrics{}
	logprobs := logprobMean{}
	gain, gains := 0.0, 0.0
	var withUseful, withNoisy answerShare
	for i, e := range all {
		reward += e.Reward / n
		s := scores(e)
		f1, em = f1+s.F1/n, em+s.EM/n
		if i == 0 || e.Reward < lo {
			lo = e.Reward
		}
		if i == 0 || e.Reward > hi {
			hi = e.Reward
		}
		for name, v := range e.RewardParts {
			parts["reward/part/"+name] += v / n
		}
		length += float64(e.PolicyTokens()) / n
		turns += float64(len(e.Turns))
		valid += float64(e.ValidActions())
		searches += float64(e.Searches()) / n
		if e.Status == episode.Answered {
			answered += 1 / n
		}
		for _, t := range e.Turns {
			logprobs.add(&t)
			if t.Gain != nil {
				gain, gains = gain+*t.Gain, gains+1
			}
			if t.Observation != "" && t.Action == episode.Search {
				asked++
				if len(t.Documents) == 0 {
					empty++
				}
			}
			if t.Quality != "" {
				simulated++
				tau += t.Tau
				if t.Quality == string(search.Useful) {
					useful++
					withUseful.add(t.Documents, e.GoldenAnswers)
				} else {
					withNoisy.add(t.Documents, e.GoldenAnswers)
				}
			}
		}
	}
	m := rundir.Metrics{"critic/score/mean": reward, "critic/score/min": lo, "critic/score/max": hi, "reward/f1": f1,
		"reward/em":            em,
		"response_length/mean": length, "env/turns_per_episode": turns / n,
		"env/valid_action_rate": valid / max(1, turns),
		"env/finish_rate":       answered, "search/per_question": searches}
	if asked > 0 {
		m["search/empty_rate"] = empty / asked
	}
	if simulated > 0 {
		m["search/tau"], m["search/useful_rate"] = tau/simulated, useful/simulated
	}
	maps.Copy(m, parts)
	if logprobs.n > 0 {
		m["rollout/logprob_mean"] = logprobs.sum / float64(logprobs.n)
	}
	if gains > 0 {
		m["search/information_gain"] = gain / gains
	}
	withUseful.put(m, "search/useful_has_answer")
	withNoisy.put(m, "search/noisy_has_answer")
	return m
}

// logprobMean is the mean log-probability with which tokens were sampled: how likely the policy finds what it writes.
type logprobMean struct {
	sum float64
	n   int
}

// add counts the sampled tokens of a turn.
func (l *logprobMean) add(t *episode.Turn) {
	for k, own := range t.Mask {
		if own && k < len(t.Logprobs) {
			l.sum += float64(t.Logprobs[k])
			l.n++
		}
	}
}

// answerShare is the share of search results in which an accepted answer stands.
type answerShare struct{ results, found int }

// add counts a result. It contains an answer if one of its documents does, by the containment of sub_em. A question
// without accepted answers says nothing.
func (a *answerShare) add(documents, golds []string) {
	if len(golds) == 0 {
		return
	}
	a.results++
	if slices.ContainsFunc(documents, func(d string) bool { return reward.SubEM(d, golds) == 1 }) {
		a.found++
	}
}

// put adds the share to m if there were results.
func (a *answerShare) put(m rundir.Metrics, name string) {
	if a.results > 0 {
		m[name] = float64(a.found) / float64(a.results)
	}
}

func scores(e *episode.Episode) reward.Scores {
	answer, answered := e.Answer()
	return reward.Score(answer, answered, e.GoldenAnswers)
}
