package jinja

// Expressions. Each type's eval is in eval.go.
type expr interface {
	eval(e *env) Value
}

type (
	literal  struct{ v Value }
	name     struct{ name string }
	listExpr struct {
		items []expr
		tuple bool
	}
	dictExpr struct{ keys, values []expr }
	attr     struct {
		of   expr
		name string
	}
	index struct{ of, key expr }
	slice struct{ of, start, stop, step expr }
	call  struct {
		fn   expr
		args arguments
	}
	filter struct {
		of   expr
		name string
		args arguments
	}
	test struct {
		of   expr
		name string
		args arguments
		not  bool
	}
	unary struct {
		op string
		x  expr
	}
	binary struct {
		op   string
		x, y expr
	}
	logic struct {
		or   bool
		x, y expr
	}
	comparison struct {
		first expr
		ops   []string
		rest  []expr
	}
	conditional struct{ cond, then, otherwise expr }
)

type arguments struct {
	args   []expr
	names  []string // of the keyword arguments
	values []expr
}

// parser builds the tree of a template. Errors are panics of type error, caught in Parse.
type parser struct {
	toks  []token
	i     int
	depth int
}

// maxParse bounds the nesting of expressions and blocks.
const maxParse = 100

func (p *parser) cur() token { return p.toks[p.i] }

func (p *parser) next() token {
	t := p.toks[p.i]
	if t.typ != tokEnd {
		p.i++
	}
	return t
}

func (p *parser) fail(format string, args ...any) {
	panic(syntaxError(p.cur().line, format, args...))
}

func (p *parser) deeper() func() {
	if p.depth++; p.depth > maxParse {
		p.fail("nested more than %d deep", maxParse)
	}
	return func() { p.depth-- }
}

func (p *parser) isOp(op string) bool   { t := p.cur(); return t.typ == tokOp && t.text == op }
func (p *parser) isName(s string) bool  { t := p.cur(); return t.typ == tokName && t.text == s }
func (p *parser) takeOp(op string) bool { return p.take(p.isOp(op)) }
func (p *parser) takeName(s string) bool {
	return p.take(p.isName(s))
}

func (p *parser) take(ok bool) bool {
	if ok {
		p.next()
	}
	return ok
}

func (p *parser) expectOp(op string) {
	if !p.takeOp(op) {
		p.fail("expected %q, found %q", op, p.cur().text)
	}
}

func (p *parser) expectName() string {
	if p.cur().typ != tokName {
		p.fail("expected a name, found %q", p.cur().text)
	}
	return p.next().text
}

// expression is a conditional: a if c else b.
func (p *parser) expression() expr {
	defer p.deeper()()
	x := p.or()
	for p.takeName("if") {
		c := &conditional{cond: p.or(), then: x}
		if p.takeName("else") {
			c.otherwise = p.expression()
		}
		x = c
	}
	return x
}

func (p *parser) or() expr {
	x := p.and()
	for p.takeName("or") {
		x = &logic{true, x, p.and()}
	}
	return x
}

func (p *parser) and() expr {
	x := p.not()
	for p.takeName("and") {
		x = &logic{false, x, p.not()}
	}
	return x
}

func (p *parser) not() expr {
	if p.takeName("not") {
		defer p.deeper()()
		return &unary{"not", p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	c := &comparison{first: p.sum()}
	for {
		op := ""
		switch t := p.cur(); {
		case t.typ == tokOp:
			switch t.text {
			case "==", "!=", "<", "<=", ">", ">=":
				op = t.text
			}
		case p.isName("in"):
			op = "in"
		case p.isName("not") && p.toks[p.i+1].typ == tokName && p.toks[p.i+1].text == "in":
			op = "not in"
			p.next()
		}
		if op == "" {
			break
		}
		p.next()
		c.ops, c.rest = append(c.ops, op), append(c.rest, p.sum())
	}
	if len(c.ops) == 0 {
		return c.first
	}
	return c
}

// binaryLevel parses a left-associative level of operators.
func (p *parser) binaryLevel(operand func() expr, ops ...string) expr {
	x := operand()
	for {
		op := ""
		for _, o := range ops {
			if p.isOp(o) {
				op = o
			}
		}
		if op == "" {
			return x
		}
		p.next()
		x = &binary{op, x, operand()}
	}
}

func (p *parser) sum() expr     { return p.binaryLevel(p.concat, "+", "-") }
func (p *parser) concat() expr  { return p.binaryLevel(p.product, "~") }
func (p *parser) product() expr { return p.binaryLevel(p.power, "*", "/", "//", "%") }
func (p *parser) power() expr {
	return p.binaryLevel(func() expr { return p.unary(true) }, "**")
}

func (p *parser) unary(filters bool) expr {
	var x expr
	if op := p.cur().text; p.isOp("-") || p.isOp("+") {
		p.next()
		defer p.deeper()()
		x = &unary{op, p.unary(false)}
	} else {
		x = p.primary()
	}
	x = p.postfix(x)
	if filters {
		x = p.filters(x)
	}
	return x
}

var constants = map[string]Value{"true": true, "True": true, "false": false, "False": false, "none": nil, "None": nil}

func (p *parser) primary() expr {
	t := p.next()
	switch t.typ {
	case tokName:
		if v, ok := constants[t.text]; ok {
			return &literal{v}
		}
		return &name{t.text}
	case tokString:
		s := t.text
		for p.cur().typ == tokString {
			s += p.next().text
		}
		return &literal{Text{s: s}}
	case tokInt, tokFloat:
		if v := fromNumber(t.text); t.typ == tokInt || v != nil {
			return &literal{v}
		}
	case tokOp:
		switch t.text {
		case "(":
			return p.tuple(")")
		case "[":
			return &listExpr{items: p.list("]")}
		case "{":
			return p.dict()
		}
	}
	p.i--
	p.fail("unexpected %q", t.text)
	return nil
}

// tuple parses what is behind "(": one expression, or a tuple.
func (p *parser) tuple(end string) expr {
	if p.takeOp(end) {
		return &listExpr{tuple: true}
	}
	x := p.expression()
	if p.takeOp(end) {
		return x
	}
	p.expectOp(",")
	return &listExpr{append([]expr{x}, p.list(end)...), true}
}

// list parses expressions up to the closing bracket; a comma may end them.
func (p *parser) list(end string) (items []expr) {
	for !p.takeOp(end) {
		if len(items) > 0 {
			p.expectOp(",")
			if p.takeOp(end) {
				break
			}
		}
		items = append(items, p.expression())
	}
	return items
}

func (p *parser) dict() expr {
	d := &dictExpr{}
	for !p.takeOp("}") {
		if len(d.keys) > 0 {
			p.expectOp(",")
			if p.takeOp("}") {
				break
			}
		}
		d.keys = append(d.keys, p.expression())
		p.expectOp(":")
		d.values = append(d.values, p.expression())
	}
	return d
}

func (p *parser) postfix(x expr) expr {
	for {
		switch {
		case p.takeOp("."):
			t := p.next()
			switch t.typ {
			case tokName:
				x = &attr{x, t.text}
			case tokInt:
				x = &index{x, &literal{fromNumber(t.text)}}
			default:
				p.fail("expected a name behind '.'")
			}
		case p.takeOp("["):
			x = p.subscript(x)
		case p.takeOp("("):
			x = &call{x, p.arguments()}
		default:
			return x
		}
	}
}

func (p *parser) subscript(x expr) expr {
	var parts [3]expr
	n, colons := 0, 0
	for !p.takeOp("]") {
		if p.takeOp(":") {
			if colons++; colons > 2 {
				p.fail("too many ':' in a slice")
			}
			n = colons
			continue
		}
		if parts[n] != nil {
			p.fail("unexpected %q in a subscript", p.cur().text)
		}
		parts[n] = p.expression()
	}
	if colons == 0 {
		if parts[0] == nil {
			p.fail("an empty subscript")
		}
		return &index{x, parts[0]}
	}
	return &slice{x, parts[0], parts[1], parts[2]}
}

// arguments parses what is behind "(" of a call.
func (p *parser) arguments() (a arguments) {
	for n := 0; !p.takeOp(")"); n++ {
		if n > 0 {
			p.expectOp(",")
			if p.takeOp(")") {
				break
			}
		}
		if next := p.toks[min(p.i+1, len(p.toks)-1)]; p.cur().typ == tokName && next.typ == tokOp && next.text == "=" {
			a.names = append(a.names, p.next().text)
			p.next()
			a.values = append(a.values, p.expression())
			continue
		}
		if len(a.names) > 0 {
			p.fail("a positional argument behind a keyword argument")
		}
		a.args = append(a.args, p.expression())
	}
	return a
}

// filters parses |name(args) and "is name args".
func (p *parser) filters(x expr) expr {
	for {
		switch {
		case p.takeOp("|"):
			f := &filter{of: x, name: p.expectName()}
			if filters[f.name] == nil {
				p.fail("the filter %q is not supported", f.name)
			}
			if p.takeOp("(") {
				f.args = p.arguments()
			}
			x = f
		case p.takeName("is"):
			x = p.test(x)
		case p.takeOp("("): // a filter's or test's result may be called or indexed no further
			p.fail("unexpected \"(\"")
		default:
			return x
		}
	}
}

func (p *parser) test(x expr) expr {
	t := &test{of: x, not: p.takeName("not"), name: p.expectName()}
	if tests[t.name] == nil {
		p.fail("the test %q is not supported", t.name)
	}
	switch c := p.cur(); {
	case p.takeOp("("):
		t.args = p.arguments()
	case c.typ == tokString, c.typ == tokInt, c.typ == tokFloat, p.isOp("["), p.isOp("{"),
		c.typ == tokName && c.text != "else" && c.text != "or" && c.text != "and" && c.text != "is" && c.text != "if" &&
			c.text != "in" && c.text != "not":
		t.args.args = []expr{p.postfix(p.primary())}
	}
	return t
}
