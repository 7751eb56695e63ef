package ptxsim

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Module is a parsed PTX file.
type Module struct {
	Kernels map[string]*Kernel
}

// Kernel is one entry of a module.
type Kernel struct {
	Name   string
	Params []Param
	Shared int // bytes of static shared memory

	paramBytes int
	regs       map[string]int // name to row of the register file
	consts     []constant     // rows that hold the same value in every lane
	special    map[string]int // rows that a launch fills: %tid.x and its like
	place      [3]int         // rows of %ctaid.x, y and z, which a block fills; -1: the kernel has none
	code       []instruction
	idle       *block // of the last launch, with the registers of as many threads
}

// Registers is the number of values that the text of k names: the driver's compiler needs fewer.
func (k *Kernel) Registers() int { return len(k.regs) }

// Param is a parameter of a kernel: Size bytes at Offset of the parameter block.
type Param struct {
	Name         string
	Offset, Size int
}

// constant is an immediate operand: row reg holds value.
type constant struct {
	reg   int
	value uint64
}

// instruction is one decoded line. pred is the row of its guard, -1 without one.
type instruction struct {
	line int // in the file, from 1
	text string
	pred int
	not  bool
	kind kind
	run  func(w *warp, mask uint32) // of kind plain and together
	to   int                        // of kind branch
}

// kind says how an instruction changes what runs next.
type kind uint8

const (
	plain    kind = iota
	branch        // to another place
	together      // all lanes of the warp execute it at once
	barrier       // all threads of the block wait for each other
	finish        // the lane has ended
)

var (
	entryLine = regexp.MustCompile(`^\.visible \.entry (\w+)\(`)
	paramLine = regexp.MustCompile(
		`^\.param(?: \.align (\d+))? \.(\w+)(?: \.ptr(?: \.\w+)?(?: \.align \d+)?)? (\w+)(?:\[(\d+)\])?$`)
	regLine    = regexp.MustCompile(`^\.reg \.(\w+)\s+(%?\w+)(?:<(\d+)>)?$`)
	sharedLine = regexp.MustCompile(`^(?:\.extern )?\.shared \.align (\d+) \.b8 (\w+)\[(\d*)\]$`)
	labelLine  = regexp.MustCompile(`^([$\w]+):$`)
)

// Parse reads PTX text. What it does not know is an error: nothing is skipped that could change a result.
func Parse(ptx string) (*Module, error) {
	p := parser{m: &Module{Kernels: map[string]*Kernel{}}}
	for i, text := range strings.Split(ptx, "\n") {
		if at := strings.Index(text, "//"); at >= 0 {
			text = text[:at]
		}
		text = strings.Join(strings.Fields(text), " ")
		p.line = i + 1
		if err := p.statement(text); err != nil {
			return nil, fmt.Errorf("reading PTX: line %d: %w: %s", p.line, err, text)
		}
	}
	return p.m, nil
}

// parser holds what is being read.
type parser struct {
	m      *Module
	line   int
	k      *Kernel
	globs  []sharedVar // shared variables outside the kernels
	body   bool        // inside the braces of k
	depth  int         // braces within the body
	vars   map[string]uint64
	labels map[string]int
	jumps  []jump
}

type sharedVar struct {
	name string
	size int
}

// jump is a branch whose label may come later.
type jump struct {
	at    int
	label string
	line  int
}

// statement reads one line.
func (p *parser) statement(text string) error {
	text = strings.TrimSuffix(text, ";")
	switch {
	case text == "" || text == ")":
	case strings.HasPrefix(text, ".version"), strings.HasPrefix(text, ".target"),
		strings.HasPrefix(text, ".address_size"):
	case strings.HasPrefix(text, ".maxntid"), strings.HasPrefix(text, ".minnctapersm"),
		strings.HasPrefix(text, ".pragma"):
	case entryLine.MatchString(text):
		return p.entry(entryLine.FindStringSubmatch(text)[1])
	case paramLine.MatchString(strings.TrimSuffix(text, ",")):
		m := paramLine.FindStringSubmatch(strings.TrimSuffix(text, ","))
		return p.param(m[1], m[2], m[3], m[4])
	case sharedLine.MatchString(text):
		m := sharedLine.FindStringSubmatch(text)
		n, _ := strconv.Atoi(m[3])
		return p.shared(sharedVar{m[2], n})
	case regLine.MatchString(text):
		m := regLine.FindStringSubmatch(text)
		return p.declare(m[1], m[2], m[3])
	case text == "{" && !p.body:
		p.body = true
	case text == "{":
		p.depth++
	case text == "}" && p.depth > 0:
		p.depth--
	case text == "}":
		return p.end()
	case labelLine.MatchString(text):
		p.labels[labelLine.FindStringSubmatch(text)[1]] = len(p.k.code)
	case p.body:
		return p.instruction(text)
	default:
		return fmt.Errorf("not understood")
	}
	return nil
}

func (p *parser) entry(name string) error {
	if p.k != nil {
		return fmt.Errorf("a kernel within %s", p.k.Name)
	}
	p.k = &Kernel{Name: name, regs: map[string]int{}, special: map[string]int{}, place: [3]int{-1, -1, -1}}
	p.vars, p.labels, p.jumps, p.body, p.depth = map[string]uint64{}, map[string]int{}, nil, false, 0
	for _, v := range p.globs {
		if v.size == 0 {
			continue // dynamic: it begins where the static ones end
		}
		if err := p.shared(v); err != nil {
			return err
		}
	}
	return nil
}

// param adds a parameter; count makes it an array, as a struct is passed.
func (p *parser) param(align, typ, name, count string) error {
	size := sizeOf(typ)
	if p.k == nil || size == 0 {
		return fmt.Errorf("a parameter of type %s", typ)
	}
	to := size
	if align != "" {
		to, _ = strconv.Atoi(align)
	}
	if count != "" {
		n, _ := strconv.Atoi(count)
		size *= n
	}
	at := (p.k.paramBytes + to - 1) / to * to
	p.k.Params = append(p.k.Params, Param{name, at, size})
	p.k.paramBytes = at + size
	return nil
}

// shared places a variable in shared memory; outside a kernel it is remembered for all that follow.
func (p *parser) shared(v sharedVar) error {
	if p.k == nil {
		p.globs = append(p.globs, v)
		return nil
	}
	at := (p.k.Shared + sharedAlign - 1) / sharedAlign * sharedAlign
	p.vars[v.name] = sharedBase + uint64(at)
	p.k.Shared = at + v.size
	return nil
}

// declare makes rows for registers name0 to name(n-1), or for one.
func (p *parser) declare(typ, name, count string) error {
	if p.k == nil || sizeOf(typ) == 0 {
		return fmt.Errorf("registers of type %s", typ)
	}
	if count == "" {
		p.row(name)
		return nil
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	for i := range n {
		p.row(name + strconv.Itoa(i))
	}
	return nil
}

// row is the row of a register, made if there is none.
func (p *parser) row(name string) int {
	r, ok := p.k.regs[name]
	if !ok {
		r = len(p.k.regs)
		p.k.regs[name] = r
	}
	return r
}

// end resolves the branches of a kernel and adds it to the module.
func (p *parser) end() error {
	for _, j := range p.jumps {
		to, ok := p.labels[j.label]
		if !ok {
			return fmt.Errorf("the branch of line %d goes to %s, which is not there", j.line, j.label)
		}
		p.k.code[j.at].to = to
	}
	p.k.code = append(p.k.code, instruction{line: p.line, text: "}", pred: -1, kind: finish})
	p.m.Kernels[p.k.Name], p.k, p.body = p.k, nil, false
	return nil
}

// instruction decodes one line of a kernel's body.
func (p *parser) instruction(text string) error {
	in := instruction{line: p.line, text: text, pred: -1}
	if guard, rest, ok := strings.Cut(text, " "); ok && guard[0] == '@' {
		name := strings.TrimPrefix(guard[1:], "!")
		in.not = name != guard[1:]
		r, ok := p.k.regs[name]
		if !ok {
			return fmt.Errorf("no register %s", name)
		}
		in.pred, text = r, rest
	}
	op, rest, _ := strings.Cut(text, " ")
	o := opcode{name: op, parts: strings.Split(op, "."), args: splitArgs(rest), p: p}
	if err := o.compile(&in); err != nil {
		return err
	}
	p.k.code = append(p.k.code, in)
	return nil
}

// splitArgs splits at commas outside braces and brackets.
func splitArgs(s string) (args []string) {
	depth, from := 0, 0
	for i, c := range s {
		switch c {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 0 {
				args, from = append(args, strings.TrimSpace(s[from:i])), i+1
			}
		}
	}
	if last := strings.TrimSpace(s[from:]); last != "" {
		args = append(args, last)
	}
	return args
}

// sizeOf is the bytes of a PTX type, 0 of one that is not known. A predicate takes one.
func sizeOf(typ string) int {
	switch typ {
	case "pred", "b8", "u8", "s8":
		return 1
	case "b16", "u16", "s16", "f16", "bf16":
		return 2
	case "b32", "u32", "s32", "f32", "bf16x2", "f16x2":
		return 4
	case "b64", "u64", "s64", "f64":
		return 8
	}
	return 0
}
