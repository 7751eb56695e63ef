package assistant

import (
	"fmt"
	"io"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/eval"
)

// View shows an answer in lines while it is found. Its Watch belongs into an Assistant.
type View struct {
	// Out is where the answer goes. Warn tells why it should be checked.
	Out  io.Writer
	Warn func(text string)
	// Paint colours text for a terminal: 1 bold, 2 dim, 32 green, 33 yellow, 36 cyan.
	Paint func(code int, text string) string

	a         *Assistant
	method    eval.Method
	writing   bool     // a long text
	documents []string // of the long text
	source    string   // of what is printed of the long text
	printed   string   // of the present turn
}

// Attach makes the view show what the assistant does.
func (v *View) Attach(a *Assistant) {
	v.a = a
	a.Watch = Watch{Begin: v.begin, Text: v.text, Searched: v.searched, Write: v.write}
}

func (v *View) begin(m eval.Method, again bool) {
	v.endLine()
	if again {
		instead := map[eval.Method]string{eval.RAG: "retrieving once", eval.Direct: "answering from memory"}[m]
		fmt.Fprintf(v.Out, "%s\n", v.Paint(33, "no answer by searching in turns: "+instead+" instead"))
	}
	v.method, v.writing = m, false
}

func (v *View) write(documents []string) {
	v.endLine()
	v.writing, v.documents, v.source = true, documents, ""
}

// endLine ends a line that is begun.
func (v *View) endLine() {
	if v.printed != "" && !strings.HasSuffix(v.printed, "\n") {
		fmt.Fprintln(v.Out)
	}
	v.printed = ""
}

// documentRunes is how much of a document is shown.
const documentRunes = 160

func (v *View) searched(turn int, query string, documents []string) {
	if v.method == eval.RAG {
		fmt.Fprintf(v.Out, "%s %s\n", v.Paint(36, "search:"), line(query))
	}
	v.endLine()
	if v.a.Style != Short {
		return // the text cites those that it is written from
	}
	for i, d := range documents {
		place := ""
		if s, ok := v.a.Place(d); ok {
			place = line(s.String()) + ": "
		}
		text := []rune(line(d))
		if len(text) > documentRunes {
			text = append(text[:documentRunes-1], '…')
		}
		fmt.Fprintf(v.Out, "  [%d.%d] %s%s\n", turn, i+1, place, string(text))
	}
}

// text prints what is new of the present turn.
func (v *View) text(text string, final bool) {
	if !final {
		text = settled(text)
	}
	shown := ""
	switch {
	case v.writing:
		shown = v.long(text, final)
	case v.method == eval.Agent:
		shown = v.actions(text)
	default:
		shown = v.firstLine(text)
	}
	if rest, ok := strings.CutPrefix(shown, v.printed); ok {
		io.WriteString(v.Out, rest)
		v.printed = shown
	}
	if final && v.method == eval.Agent && !v.writing && !strings.Contains(text, "</answer>") {
		v.endLine() // another turn follows, or none
	}
}

// actions shows the thought, the query and the answer of a turn of the search agent.
func (v *View) actions(text string) string {
	var b strings.Builder
	for {
		tag, at := "", len(text)
		for _, t := range []string{"think", "search", "answer"} {
			if i := strings.Index(text, "<"+t+">"); i >= 0 && i < at {
				tag, at = t, i
			}
		}
		if tag == "" {
			return b.String()
		}
		content, rest, closed := strings.Cut(text[at+len(tag)+2:], "</"+tag+">")
		if content = line(content); content != "" {
			b.WriteString(v.Paint(map[string]int{"think": 2, "search": 36, "answer": 32}[tag], tag+":") + " " + content)
			if closed && tag != "answer" {
				b.WriteByte('\n')
			}
		}
		if !closed {
			return b.String()
		}
		text = rest
	}
}

// firstLine shows a short answer.
func (v *View) firstLine(text string) string {
	if l := line(firstLine(visible(text))); l != "" {
		return v.Paint(32, "answer:") + " " + l
	}
	return ""
}

// long shows the finished sentences of a text, with the numbers of their documents.
func (v *View) long(text string, final bool) string {
	marked, same := markFinished(&v.source, text, final, v.documents)
	if same {
		return v.printed
	}
	lines := strings.Split(marked, "\n")
	for i, l := range lines {
		lines[i] = episode.Printable(l)
	}
	return strings.Join(lines, "\n")
}

// Finish ends the answer: it shows the citations, and warns where the answer should be checked.
func (v *View) Finish(out Answer) {
	if out.Answer == nil {
		v.endLine()
		fmt.Fprintf(v.Out, "%s (%s)\n", v.Paint(33, "no answer"), out.Status)
		return
	}
	defer func() { v.printed = "" }()
	if v.a.Style == Short {
		if shown := v.Paint(32, "answer:") + " " + line(*out.Answer); !strings.HasSuffix(v.printed, shown) {
			v.endLine()
			fmt.Fprint(v.Out, shown)
		}
		for _, c := range out.Citations {
			fmt.Fprintf(v.Out, " [%d.%d]", c.Turn, c.Document)
		}
		fmt.Fprintln(v.Out)
	} else {
		fmt.Fprintln(v.Out)
		for i, c := range out.Citations {
			if i == 0 {
				fmt.Fprintf(v.Out, "\n%s\n", v.Paint(36, "sources:"))
			}
			place := line(c.Text)
			if c.Source != nil {
				place = line(c.Source.String())
			}
			fmt.Fprintf(v.Out, "  [%d] %s\n", c.Document, place)
		}
	}
	if warning := v.a.Warning(out); warning != "" && v.Warn != nil {
		v.Warn(warning)
	}
}

// line is a text in one line, without what could control the terminal.
func line(text string) string { return episode.Printable(strings.Join(strings.Fields(text), " ")) }
