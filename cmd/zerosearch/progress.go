package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// progress writes to the terminal of the user: whole lines, and one line that is redrawn while work goes on. Away from
// a terminal the redrawn line is printed every few seconds instead.
type progress struct {
	mu     sync.Mutex
	w      io.Writer
	tty    bool
	color  bool
	drawn  int // columns of the redrawn line; 0: there is none
	last   time.Time
	period time.Duration
	waits  int // lines of wait since the last line
}

// statusPeriod is how often the line is printed away from a terminal.
var statusPeriod = 5 * time.Second

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, period: statusPeriod}
	if f, ok := w.(*os.File); ok {
		p.tty = term.IsTerminal(int(f.Fd()))
	}
	p.color = p.tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return p
}

// columns is the width of the terminal as it is now.
func (p *progress) columns() int {
	if f, ok := p.w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
	}
	return 80
}

// line prints a whole line.
func (p *progress) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// sentence prints text that is for reading; a terminal gets it broken between words.
func (p *progress) sentence(code int, text string) {
	if p.tty {
		width, line := p.columns(), 0
		var s strings.Builder
		for i, word := range strings.Fields(text) {
			switch n := utf8.RuneCountInString(word); {
			case i == 0:
				line = n
			case line+1+n > width:
				s.WriteString("\n  ")
				line = 2 + n
			default:
				s.WriteString(" ")
				line += 1 + n
			}
			s.WriteString(word)
		}
		text = s.String()
	}
	p.line("%s", p.paint(code, text))
}

// status shows where long work is.
func (p *progress) status(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if p.tty {
		p.draw(text)
		return
	}
	if now := time.Now(); now.Sub(p.last) >= p.period {
		p.last, p.waits = now, 0
		fmt.Fprintln(p.w, text)
	}
}

// wait shows where work is that has no result yet: on a terminal in the line that is redrawn, elsewhere in lines that
// become rarer, the first soon after the work began.
func (p *progress) wait(began time.Time, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tty {
		p.draw(text)
		return
	}
	pause := p.period / 5 // 1 s, 5 s, then half a minute
	switch p.waits {
	case 0:
	case 1:
		pause = p.period
	default:
		pause = 6 * p.period
	}
	last := p.last
	if last.Before(began) {
		last = began
	}
	if now := time.Now(); now.Sub(last) >= pause {
		p.last = now
		p.waits++
		fmt.Fprintln(p.w, text)
	}
}

// draw puts text in the place of the redrawn line, cut to the width of the terminal.
func (p *progress) draw(text string) {
	p.erase()
	text = cut(text, p.columns()-1)
	fmt.Fprint(p.w, text)
	p.drawn = shownColumns(text)
}

// done ends the redrawn line.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

// erase removes the redrawn line. A terminal that has become narrower shows it on several lines.
func (p *progress) erase() {
	if p.drawn == 0 {
		return
	}
	if rows := (p.drawn + p.columns() - 1) / p.columns(); rows > 1 {
		fmt.Fprintf(p.w, "\x1b[%dA", rows-1)
	}
	fmt.Fprint(p.w, "\r\x1b[J")
	p.drawn = 0
}

// paint colours text on a terminal: 0 not, 1 bold, 2 dim, 32 green, 33 yellow, 36 cyan.
func (p *progress) paint(code int, text string) string {
	if !p.color || code == 0 {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", code, text)
}
