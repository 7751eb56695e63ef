package jinja

import (
	"errors"
	"fmt"
	"slices"
)

// Statements. Each type's run is in run.go.
type stmt interface {
	run(e *env) control
}

type (
	data   struct{ text string }
	output struct {
		x    expr
		line int
	}
	ifStmt struct {
		conds  []expr
		bodies [][]stmt // one more than conds where there is an else
		line   int
	}
	forStmt struct {
		targets         []string
		iter, cond      expr
		body, otherwise []stmt
		line            int
	}
	setStmt struct {
		targets []target
		x       expr
		body    []stmt // {% set x %}...{% endset %}; x is then nil
		filter  *filter
		line    int
	}
	macro struct {
		name     string
		params   []string
		defaults []expr // of the last parameters
		body     []stmt
		line     int
	}
	jump struct{ how control } // break, continue
)

// target is a name, or an attribute of a namespace.
type target struct{ name, attr string }

// control says how a statement ended.
type control uint8

const (
	proceed control = iota
	breakLoop
	continueLoop
)

// maxTemplate bounds a template's text; the longest published ones have about 30 kB.
const maxTemplate = 256 << 10

// A Template is a parsed template. It is safe for concurrent use.
type Template struct{ body []stmt }

// Parse reads a template. An error names the line and what is not understood.
func Parse(src string) (t *Template, err error) {
	if len(src) > maxTemplate {
		return nil, fmt.Errorf("the template has %d bytes, more than %d", len(src), maxTemplate)
	}
	toks, err := lex(src)
	if err != nil {
		return nil, err
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			if isRuntime(r) {
				panic(r)
			}
			t, err = nil, r
		default:
			panic(r)
		}
	}()
	p := &parser{toks: toks}
	body, _ := p.body()
	return &Template{body}, nil
}

// body parses statements up to one of the block tags in ends, whose name it returns with "{%" and the name consumed; up
// to the end of the template where there are none.
func (p *parser) body(ends ...string) (list []stmt, end string) {
	defer p.deeper()()
	for {
		switch t := p.next(); t.typ {
		case tokEnd:
			if len(ends) > 0 {
				p.fail("the template ends where %q is expected", ends[len(ends)-1])
			}
			return list, ""
		case tokData:
			list = append(list, &data{t.text})
		case tokPrint:
			list = append(list, &output{p.expressions(), t.line})
			if e := p.next(); e.typ != tokPrintEnd {
				p.i--
				p.fail("unexpected %q", e.text)
			}
		case tokBlock:
			tag := p.expectName()
			if slices.Contains(ends, tag) {
				return list, tag
			}
			if s := p.statement(tag, t.line); s != nil {
				list = append(list, s...)
			}
		}
	}
}

func (p *parser) endTag() {
	if e := p.next(); e.typ != tokBlockEnd {
		p.i--
		p.fail("unexpected %q in a block tag", e.text)
	}
}

// expressions is an expression, or a tuple without brackets.
func (p *parser) expressions() expr {
	x := p.expression()
	if !p.isOp(",") {
		return x
	}
	list := &listExpr{[]expr{x}, true}
	for p.takeOp(",") {
		if t := p.cur().typ; t == tokPrintEnd || t == tokBlockEnd {
			break
		}
		list.items = append(list.items, p.expression())
	}
	return list
}

func (p *parser) statement(tag string, line int) []stmt {
	switch tag {
	case "if":
		return []stmt{p.ifStmt(line)}
	case "for":
		return []stmt{p.forStmt(line)}
	case "set":
		return []stmt{p.setStmt(line)}
	case "macro":
		return []stmt{p.macro(line)}
	case "generation": // marks the assistant's text for training masks; prints its body
		p.endTag()
		body, _ := p.body("endgeneration")
		p.endTag()
		return body
	case "break", "continue":
		p.endTag()
		if tag == "break" {
			return []stmt{&jump{breakLoop}}
		}
		return []stmt{&jump{continueLoop}}
	}
	p.i--
	p.fail("the tag %q is not supported", tag)
	return nil
}

func (p *parser) ifStmt(line int) stmt {
	s := &ifStmt{line: line}
	for end := "if"; ; {
		if end != "else" {
			s.conds = append(s.conds, p.expression())
		}
		p.endTag()
		ends := []string{"elif", "else", "endif"}
		if end == "else" {
			ends = ends[2:]
		}
		var body []stmt
		body, end = p.body(ends...)
		s.bodies = append(s.bodies, body)
		if end == "endif" {
			p.endTag()
			return s
		}
	}
}

func (p *parser) forStmt(line int) stmt {
	s := &forStmt{line: line}
	bracket := p.takeOp("(")
	for {
		s.targets = append(s.targets, p.expectName())
		if !p.takeOp(",") {
			break
		}
	}
	if bracket {
		p.expectOp(")")
	}
	if !p.takeName("in") {
		p.fail("expected \"in\", found %q", p.cur().text)
	}
	s.iter = p.or() // a conditional would swallow the loop's if
	if p.isOp(",") {
		list := &listExpr{[]expr{s.iter}, true}
		for p.takeOp(",") {
			list.items = append(list.items, p.or())
		}
		s.iter = list
	}
	if p.takeName("if") {
		s.cond = p.expression()
	}
	if p.isName("recursive") {
		p.fail("recursive loops are not supported")
	}
	p.endTag()
	var end string
	if s.body, end = p.body("else", "endfor"); end == "else" {
		p.endTag()
		s.otherwise, _ = p.body("endfor")
	}
	p.endTag()
	return s
}

func (p *parser) setStmt(line int) stmt {
	s := &setStmt{line: line}
	for {
		t := target{name: p.expectName()}
		if p.takeOp(".") {
			t.attr = p.expectName()
		}
		s.targets = append(s.targets, t)
		if !p.takeOp(",") {
			break
		}
	}
	if p.takeOp("=") {
		s.x = p.expressions()
		p.endTag()
		return s
	}
	if len(s.targets) > 1 {
		p.fail("expected \"=\", found %q", p.cur().text)
	}
	if p.isOp("|") {
		f, ok := p.filters(nil).(*filter)
		if !ok || f.of != nil {
			p.fail("expected one filter")
		}
		s.filter = f
	}
	p.endTag()
	s.body, _ = p.body("endset")
	p.endTag()
	return s
}

func (p *parser) macro(line int) stmt {
	m := &macro{name: p.expectName(), line: line}
	p.expectOp("(")
	for !p.takeOp(")") {
		if len(m.params) > 0 {
			p.expectOp(",")
		}
		m.params = append(m.params, p.expectName())
		if p.takeOp("=") {
			m.defaults = append(m.defaults, p.expression())
		} else if len(m.defaults) > 0 {
			p.fail("a parameter without default behind one with default")
		}
	}
	p.endTag()
	m.body, _ = p.body("endmacro")
	p.endTag()
	return m
}

// isRuntime says whether a panic is a programmer's error, which must not be taken for the template's.
func isRuntime(err error) bool {
	var r interface{ RuntimeError() }
	return errors.As(err, &r)
}
