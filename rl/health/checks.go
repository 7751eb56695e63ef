package health

import (
	"fmt"
	"math"
)

// Kind is a kind of finding.
type Kind string

// The kinds of findings.
const (
	// NoValidAction means that the policy writes no complete pair of tags, or hardly any.
	NoValidAction Kind = "no_valid_action"
	// NoAnswer means that hardly an episode ends with an answer.
	NoAnswer Kind = "no_answer"
	// EqualRewards means that the rewards of a group are equal in all groups, or in most.
	EqualRewards Kind = "equal_rewards"
	// UpdatesSkipped means that losses or gradients are not finite.
	UpdatesSkipped Kind = "updates_skipped"
	// RewardFell means that the reward is far below what it was.
	RewardFell Kind = "reward_fell"
	// HeldOutFell means that the policy answers held-out questions worse than it did.
	HeldOutFell Kind = "held_out_fell"
	// ActionsFell means that the share of valid actions is far below what it was.
	ActionsFell Kind = "valid_actions_fell"
	// SearchStopped means that the policy does not search any more.
	SearchStopped Kind = "search_stopped"
	// EngineIgnorant means that useful results rarely contain an accepted answer.
	EngineIgnorant Kind = "engine_ignorant"
	// NoiseHasAnswer means that noisy results contain an accepted answer about as often as useful ones.
	NoiseHasAnswer Kind = "noise_has_answer"
	// NotRising means that the reward is flat or falls, or that the loss of fine-tuning does not fall.
	NotRising Kind = "not_rising"
)

// checks are the judgements of Judge, each with what is wrong, or nil.
var checks = []func([]Step) *Finding{validActions, equalRewards, skippedUpdates, answers, rewardFell, heldOutFell,
	searchStopped, engineKnows, noiseMisleads, notRising}

// The metrics of all held-out questions: their mean F1, and how many they are.
const (
	HeldOutF1        = "val/all/f1"
	HeldOutQuestions = "val/all/n"
)

const (
	recentSteps = 10 // the last steps that show how a run is now
	fewEpisodes = 8  // below this number of episodes nothing is judged
	fewResults  = 20 // below this number of search results the share of those with an answer is not judged
)

func recent(steps []Step) []Step { return steps[max(0, len(steps)-recentSteps):] }

// episodes is the number of episodes of steps.
func episodes(steps []Step) (n float64) {
	for _, s := range steps {
		n += s.Metrics["rollout/episodes"]
	}
	return n
}

// average is the mean of a metric over the episodes of steps; ok is false if there are too few of them.
func average(steps []Step, metric string) (v float64, ok bool) {
	n := 0.0
	for _, s := range steps {
		if x, has := s.Metrics[metric]; has {
			v, n = v+x*s.Metrics["rollout/episodes"], n+s.Metrics["rollout/episodes"]
		}
	}
	return v / max(1, n), n >= fewEpisodes
}

func validActions(steps []Step) *Finding {
	now := recent(steps)
	valid, ok := average(now, "env/valid_action_rate")
	if !ok || valid >= 0.5 {
		return nil
	}
	was, _ := seriesOf(steps, "env/valid_action_rate").bestMean(recentSteps)
	n := episodes(now)
	switch {
	case was >= 0.8:
		return &Finding{ActionsFell, Collapsed, fmt.Sprintf("valid actions fell from %.0f%% to %.0f%%: go on from an "+
			"earlier checkpoint with a lower --lr or a higher --kl-coef", 100*was, 100*valid)}
	case valid == 0:
		return &Finding{NoValidAction, CannotLearn, fmt.Sprintf("no valid action in %.0f episodes: warm up with `sft`",
			n)}
	case valid < 0.2:
		return &Finding{NoValidAction, Warned,
			fmt.Sprintf("only %.0f%% of the actions in %.0f episodes are valid: warm "+
				"up with `sft`", 100*valid, n)}
	}
	return nil
}

func equalRewards(steps []Step) *Finding {
	now := recent(steps)
	equal, most, least, n := 0.0, math.Inf(-1), math.Inf(1), 0
	for _, s := range now {
		m := s.Metrics
		hi, ok := m["critic/score/max"]
		if !ok || m["rollout/groups_failed"] == 1 {
			continue
		}
		most, least, n = max(most, hi), min(least, m["critic/score/min"]), n+1
		dropped := m["rollout/groups_dropped"] - m["rollout/groups_failed"]
		// an algorithm that compares no groups, as reinforce, has a gradient all the same
		if dropped > 0 || m["actor/still_trajectories"] > 0 || m["actor/mean_abs_advantage"] == 0 {
			equal += m["rollout/groups_equal"] + dropped
		}
	}
	if equal /= float64(max(1, n)); n < 3 || episodes(now) < fewEpisodes || equal < 0.7 {
		return nil
	}
	groups := fmt.Sprintf("in all groups of the last %d steps the rewards are equal", n)
	switch {
	case equal < 0.999:
		return &Finding{EqualRewards, Warned,
			fmt.Sprintf("in %.0f%% of the groups the rewards are equal, so that they "+
				"give no gradient: raise --n or --temperature, or use other questions", 100*equal)}
	case most == 0 && least == 0:
		return &Finding{EqualRewards, CannotLearn,
			groups + " (0), so that there is no gradient: use easier questions, " +
				"or warm up with `sft`"}
	case least >= solved:
		return &Finding{EqualRewards, CannotLearn, fmt.Sprintf("%s (%.3g), so that there is no gradient: the policy "+
			"solves these questions: use harder ones", groups, most)}
	}
	return &Finding{EqualRewards, CannotLearn,
		groups + ", so that there is no gradient: raise --n or --temperature, or " +
			"use other questions"}
}

func skippedUpdates(steps []Step) *Finding {
	now := recent(steps)
	n := 0
	for _, s := range now {
		if s.Metrics["actor/skipped_updates"]+s.Metrics["critic/skipped_updates"] > 0 {
			n++
		}
	}
	if n < 2 || 2*n < len(now) {
		return nil
	}
	return &Finding{UpdatesSkipped, CannotLearn, fmt.Sprintf(
		"in %d of the last %d steps an update was skipped, because "+
			"a loss or gradient was not finite: lower --lr, or use --dtype f32", n, len(now))}
}

func answers(steps []Step) *Finding {
	now := recent(steps)
	share, ok := average(now, "env/finish_rate")
	valid, _ := average(now, "env/valid_action_rate")
	if !ok || share >= 0.1 || valid < 0.5 {
		return nil
	}
	return &Finding{NoAnswer, Warned,
		fmt.Sprintf("only %.0f%% of %.0f episodes end with an answer: raise --max-turns or "+
			"--max-response-length, or warm up with `sft`", 100*share, episodes(now))}
}

// rewardFell compares the last steps with the best ones of the same number. A reward that falls because the engine
// gives fewer useful results is none that fell.
func rewardFell(steps []Step) *Finding {
	const width = 5
	s := seriesOf(steps, "critic/score/mean")
	if len(s.values) < 2*width {
		return nil
	}
	most, at := s.bestMean(width)
	now := mean(s.values[len(s.values)-width:])
	expected := most
	if useful := seriesOf(steps, "search/useful_rate").values; len(useful) == len(s.values) {
		expected *= min(1, mean(useful[len(useful)-width:])/max(mean(useful[at:at+width]), 1e-9))
	}
	if most < 0.05 || now >= expected/2 || !s.differ(most, width, now, width) {
		return nil
	}
	return &Finding{RewardFell, Collapsed,
		fmt.Sprintf("the reward fell from %.3f (steps %d to %d) to %.3f: go on from an "+
			"earlier checkpoint with a lower --lr or a higher --kl-coef", most, s.step[at], s.step[at+width-1], now)}
}

func heldOutFell(steps []Step) *Finding {
	s := seriesOf(steps, HeldOutF1)
	at := s.best()
	if at < 0 {
		return nil
	}
	last := len(s.values) - 1
	was, now := s.values[at], s.values[last]
	if was-now < 0.05 || now > 0.8*was {
		return nil
	}
	if n := seriesOf(steps, HeldOutQuestions).values; len(n) > 0 { // no F1 has a larger variance than p(1-p)
		if was-now < 2*math.Sqrt((was*(1-was)+now*(1-now))/n[len(n)-1]) {
			return nil
		}
	}
	f := &Finding{HeldOutFell, Warned,
		fmt.Sprintf("held-out F1 fell from %.3f at step %d to %.3f at step %d: the earlier "+
			"checkpoint is the better one (--keep-best keeps it)", was, s.step[at], now, s.step[last])}
	if now < was/2 {
		f.State = Collapsed
	}
	return f
}

func searchStopped(steps []Step) *Finding {
	was, _ := seriesOf(steps, "search/per_question").bestMean(recentSteps)
	now, ok := average(recent(steps), "search/per_question")
	empty, _ := average(steps, "search/empty_rate")
	if !ok || was < 0.5 || now > was/10 || empty == 1 { // without an engine it is right to stop
		return nil
	}
	return &Finding{SearchStopped, Warned,
		fmt.Sprintf("the policy has stopped searching: %.2f searches per episode, and "+
			"%.2f before: see in its episodes whether the results help (search/useful_has_answer)", now, was)}
}

func engineKnows(steps []Step) *Finding {
	share, n := hasAnswer(steps, true)
	if n < fewResults || share >= 0.5 {
		return nil
	}
	return &Finding{EngineIgnorant, Warned, fmt.Sprintf("only %.0f%% of the useful search results contain the answer: "+
		"unless the questions need several searches, the simulated engine does not know enough and the policy learns "+
		"not "+
		"to trust it: use a better --simulation-llm, or --search-mode simulate_prompt", 100*share)}
}

func noiseMisleads(steps []Step) *Finding {
	useful, n := hasAnswer(steps, true)
	noisy, k := hasAnswer(steps, false)
	if n < fewResults || k < fewResults || noisy <= useful/2 {
		return nil
	}
	return &Finding{NoiseHasAnswer, Warned, fmt.Sprintf("%.0f%% of the noisy search results contain the answer, and "+
		"%.0f%% of the useful ones: noisy results hardly differ from useful ones, so that tau changes little: use a "+
		"better "+
		"--simulation-llm", 100*noisy, 100*useful)}
}

// hasAnswer is the share of useful or of noisy search results with an answer in the last steps, and about how many
// results it is a share of.
func hasAnswer(steps []Step, useful bool) (share, results float64) {
	for _, s := range recent(steps) {
		m := s.Metrics
		metric, part := "search/useful_has_answer", m["search/useful_rate"]
		if !useful {
			metric, part = "search/noisy_has_answer", 1-part
		}
		if v, ok := m[metric]; ok {
			n := m["rollout/episodes"] * m["search/per_question"] * part
			share, results = share+v*n, results+n
		}
	}
	return share / max(1, results), results
}

func notRising(steps []Step) *Finding {
	name, _, s, sign := progress(steps)
	state := direction(steps)
	if state != Flat && state != Worse {
		return nil
	}
	from, to, k, _ := s.change()
	text, remedy := "is flat within its noise", "raise --lr, or --n and --train-batch-size"
	switch {
	case state == Flat && sign < 0:
		remedy = "raise --lr"
	case state == Worse && sign > 0:
		text, remedy = "falls", "lower --lr, or raise --kl-coef"
	case state == Worse:
		text, remedy = "rises", "lower --lr"
	}
	return &Finding{NotRising, state,
		fmt.Sprintf("the %s %s: %.3f in the first %d of %d steps, %.3f in the last %d: %s",
			name, text, from, k, len(s.values), to, k, remedy)}
}
