package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// watch shows what the run is doing, once a second on a terminal and now and then elsewhere, until stop is called.
func (v *runView) watch() (stop func()) {
	var before int64
	return v.w.every(time.Second, func() {
		v.mu.Lock()
		if v.t != nil {
			now := v.t.Sampled()
			v.rate, before = now-before, now
		}
		text := v.waiting()
		if v.w.log.tty {
			text = v.live(v.w.log.columns() - 1)
		}
		v.mu.Unlock()
		v.w.log.wait(v.clock.phaseBegan(), text)
	})
}

// every calls f once a period until stop is called.
func (w *world) every(period time.Duration, f func()) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				f()
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(quit)
		<-ended
	})
}

// waiting is the line of a step that is not done yet, away from a terminal.
func (v *runView) waiting() string {
	text := v.clock.doing()
	if v.t != nil {
		text = fmt.Sprintf("step %d/%d: %s", v.clock.next(), v.total, text)
	}
	if left, known := v.clock.left(); known {
		text += fmt.Sprintf(", about %s left", left.Round(time.Second))
	}
	return text
}

// live is the line that is redrawn, in at most width columns: what does not fit is left out, the least important first.
func (v *runView) live(width int) string {
	if v.t == nil {
		return v.waiting()
	}
	paint := v.w.log.paint
	parts := []struct {
		rank int // the higher, the sooner it is left out
		text string
	}{{0, fmt.Sprintf("step %d/%d", v.clock.next(), v.total)}, {1, paint(2, v.clock.doing())}, {8, ""}, {2, ""},
		{4, ""},
		{5, ""}, {6, ""}, {7, ""}, {3, ""}}
	if v.rate > 0 {
		parts[2].text = paint(2, fmt.Sprintf("%d tokens/s", v.rate))
	}
	if m := v.last; m != nil {
		parts[3].text = fmt.Sprintf("reward %.3f", m["critic/score/mean"])
		parts[4].text = paint(32, sparkline(v.rewards(), 16))
		parts[5].text = fmt.Sprintf("valid %.0f%%", 100*m["env/valid_action_rate"])
		parts[6].text = fmt.Sprintf("searches %.2f", m["search/per_question"])
		parts[7].text = fmt.Sprintf("tau %.2f", m["search/tau"])
	}
	if eta := v.clock.eta(); eta != "" {
		parts[8].text = "ETA " + eta
	} else if left, known := v.clock.left(); known {
		parts[8].text = fmt.Sprintf("%s left", left.Round(time.Second))
	}
	for most := len(parts); ; most-- {
		var shown []string
		for _, p := range parts {
			if p.rank <= most && p.text != "" {
				shown = append(shown, p.text)
			}
		}
		if line := strings.Join(shown, "  "); shownColumns(line) <= width || most == 0 {
			return line
		}
	}
}
