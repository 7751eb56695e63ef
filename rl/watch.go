package rl

import (
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/episode"
)

// noteAdvantages writes into the episodes that were trained on what the update made of their rewards.
func noteAdvantages(groups [][]*episode.Episode, advantages [][]float64) {
	i := 0
	for _, g := range groups {
		for _, e := range g {
			e.Advantages = make([]float32, len(advantages[i]))
			for k, a := range advantages[i] {
				e.Advantages[k] = float32(a)
			}
			i++
		}
	}
}

// textEvery is how many steps lie between the episodes that TensorBoard is given to read.
const textEvery = 10

// distributions shows what means hide: histograms of a step's episodes, and now and then the best and the worst of
// them.
func (t *Trainer) distributions(step int, all []*episode.Episode) error {
	var rewards, lengths, advantages []float64
	var best, worst *episode.Episode
	for _, e := range all {
		rewards, lengths = append(rewards, e.Reward), append(lengths, float64(e.PolicyTokens()))
		for _, a := range e.Advantages {
			advantages = append(advantages, float64(a))
		}
		if best == nil || e.Reward > best.Reward {
			best = e
		}
		if worst == nil || e.Reward < worst.Reward {
			worst = e
		}
	}
	for _, h := range []struct {
		name   string
		values []float64
	}{{"critic/score", rewards}, {"response_length", lengths}, {"actor/advantage", advantages}} {
		if err := t.Out.Histogram(step, h.name, h.values); err != nil {
			return err
		}
	}
	if step != 1 && step%textEvery != 0 || len(all) == 0 {
		return nil
	}
	if err := t.Out.Text(step, "episode/best", markdown(best)); err != nil {
		return err
	}
	return t.Out.Text(step, "episode/worst", markdown(worst))
}

// markdown is an episode as a block of code, in which nothing is markup.
func markdown(e *episode.Episode) string {
	var s strings.Builder
	for _, l := range e.Transcript() {
		s.WriteString("    ")
		if l.Kind == episode.EnvironmentLine {
			s.WriteString("    ")
		}
		s.WriteString(l.Text + "\n")
	}
	return s.String()
}
