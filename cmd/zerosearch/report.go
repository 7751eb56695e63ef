package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/report"
)

type reportCmd struct {
	JSON    bool     `name:"json" help:"Print the result as JSON on stdout, and nothing else."`
	Compare string   `name:"compare" help:"Also write one page with the curves of all these runs to this file." placeholder:"FILE"`
	Runs    []string `arg:"" name:"run" help:"Run directories of train, sft or demo."`
}

func (c *reportCmd) Run(w *world) error {
	w.keepsGoing()
	var written []string
	var runs []*report.Run
	if n := len(c.Runs); c.Compare != "" && (n < 2 || n > report.MostCompared) {
		return usagef("--compare needs 2 to %d runs, and %d are given", report.MostCompared, n)
	}
	for _, dir := range c.Runs {
		r, err := report.Open(dir)
		if err != nil {
			return err
		}
		path, err := r.Write()
		if err != nil {
			return err
		}
		written, runs = append(written, path), append(runs, r)
	}
	if c.Compare != "" {
		if err := report.Compare(c.Compare, runs); err != nil {
			return err
		}
		written = append(written, c.Compare)
	}
	if c.JSON {
		return writeJSON(w, map[string]any{"reports": written})
	}
	for _, path := range written {
		w.log.line("wrote %s", path)
	}
	return nil
}

// writeReport refreshes a run's report.html. A run does not fail for it.
func (w *world) writeReport(r *report.Run) {
	if _, err := r.Write(); err != nil {
		w.log.line("note: %s", oneLine(err.Error()))
	}
}

// showLive serves a run's page at address, "" meaning not at all, until stop is called.
func (w *world) showLive(r *report.Run, address string) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	l, err := report.Listen(address)
	if err != nil {
		err = fmt.Errorf("--ui %s: %w", address, err)
		if system := new(os.SyscallError); !errors.As(err, &system) { // the system was not even asked
			err = usageError{err}
		}
		return nil, err
	}
	live := report.NewLive(r)
	live.LocalOnly = l.Addr().(*net.TCPAddr).IP.IsLoopback()
	s := &http.Server{Handler: live, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute}
	go s.Serve(l)
	w.log.line("live at http://%s/", l.Addr())
	return func() {
		live.WaitForBrowser()
		s.Close()
	}, nil
}

// showEpisode prints an episode, long lines cut.
func (p *progress) showEpisode(step int, e *episode.Episode) {
	const most = 40
	lines := e.Transcript()
	p.line("an episode of step %d:", step)
	for i, l := range lines {
		if len(lines) > most && i == most-1 {
			p.line("    ... %d more lines", len(lines)-most)
			l = lines[len(lines)-1]
		} else if len(lines) > most && i >= most {
			break
		}
		text := []rune(l.Text)
		if len(text) > 200 {
			text = append(text[:197], []rune("...")...)
		}
		code := map[episode.LineKind]int{episode.QuestionLine: 1, episode.PolicyLine: 36, episode.EnvironmentLine: 2,
			episode.OutcomeLine: 33}[l.Kind]
		if l.Kind == episode.OutcomeLine && e.Reward > 0 {
			code = 32
		}
		indent := "    "
		if l.Kind == episode.EnvironmentLine {
			indent += "  "
		}
		p.line("%s%s", indent, p.paint(code, strings.TrimSpace(string(text))))
	}
}
