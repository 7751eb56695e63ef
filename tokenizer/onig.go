package tokenizer

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// onigToRegexp2 converts a regular expression of Oniguruma, the engine of Hugging Face's tokenizers, to one of regexp2.
// Constructs that differ between the two (\s, \w, \d, ^, $, the dot, case-insensitive letters) are written as explicit
// classes. Constructs that are not known to have the same meaning in both are errors.
func onigToRegexp2(pattern string) (string, error) {
	if !utf8.ValidString(pattern) {
		return "", fmt.Errorf("text that is not UTF-8")
	}
	p := &onigParser{src: []rune(pattern)}
	err := p.alternatives()
	if err == nil && p.i < len(p.src) {
		err = fmt.Errorf("a ) without (")
	}
	return p.out.String(), err
}

const (
	onigSpace    = `\u0009-\u000D\u0020\u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000`
	onigNotSpace = `\u0000-\u0008\u000E-\u001F\u0021-\u0084\u0086-\u009F\u00A1-\u167F\u1681-\u1FFF\u200B-\u2027` +
		`\u202A-\u202E\u2030-\u205E\u2060-\u2FFF\u3001-` + "\U0010FFFF"
	onigAny      = `[\u0000-` + "\U0010FFFF]"
	maxOnigDepth = 50
	maxRepeat    = 1000
)

// groupName matches the start of a named group.
var groupName = regexp.MustCompile(`^\?<[\p{L}_][\p{L}\p{N}_]*>`)

const maxGroupName = 100

type onigParser struct {
	src   []rune
	i     int
	out   strings.Builder
	fold  bool // case-insensitive
	depth int
}

func (p *onigParser) peek(s string) bool {
	return strings.HasPrefix(string(p.src[p.i:min(len(p.src), p.i+len(s))]), s)
}

func (p *onigParser) take(s string) bool {
	if !p.peek(s) {
		return false
	}
	p.i += len([]rune(s))
	return true
}

// alternatives reads up to the end or a closing parenthesis.
func (p *onigParser) alternatives() error {
	if p.depth++; p.depth > maxOnigDepth {
		return fmt.Errorf("groups nested more than %d deep", maxOnigDepth)
	}
	defer func(fold bool) { p.fold, p.depth = fold, p.depth-1 }(p.fold)
	before := rune(0) // a literal letter just before, to see pairs that fold into one
	for p.i < len(p.src) {
		switch c := p.src[p.i]; c {
		case ')':
			return nil
		case '|':
			p.i++
			p.out.WriteByte('|')
			before = 0
			continue
		}
		start := p.out.Len()
		letter, err := p.atom()
		if err == nil && p.fold && foldsWith(before, letter) {
			err = fmt.Errorf("the letters %c%c without regard to case", before, letter)
		}
		if err != nil {
			return err
		}
		before = letter
		if err := p.repeats(start); err != nil {
			return err
		}
	}
	return nil
}

// atom reads one item that a quantifier can follow. If it is a letter, atom returns the letter.
func (p *onigParser) atom() (rune, error) {
	c := p.src[p.i]
	p.i++
	switch c {
	case '(':
		return 0, p.group()
	case '[':
		return 0, p.class()
	case '.':
		p.out.WriteString(`[^\n]`)
	case '^':
		p.out.WriteString(`(?:\A|(?<=\n)(?!\z))`)
	case '$':
		p.out.WriteString(`(?=\n|\z)`)
	case '*', '+', '?':
		return 0, fmt.Errorf("a %c with nothing before it", c)
	case '\\':
		return p.escape()
	default:
		return c, p.literal(c)
	}
	return 0, nil
}

func (p *onigParser) group() error {
	switch {
	case p.take("?#"):
		return fmt.Errorf("a comment")
	case p.take("?i:"), p.take("?-i:"):
		before := p.fold
		p.fold = p.src[p.i-2] == 'i' && p.src[p.i-3] == '?'
		p.out.WriteString("(?:")
		err := p.inside()
		p.fold = before
		return err
	case p.take("?i)"):
		p.fold = true // up to the end of the group around it
		return nil
	}
	for _, opening := range []string{"?:", "?=", "?!", "?<=", "?<!", "?>"} {
		if p.take(opening) {
			p.out.WriteString("(" + opening)
			return p.inside()
		}
	}
	if name := groupName.FindString(string(p.src[p.i:min(len(p.src), p.i+maxGroupName)])); name != "" {
		p.take(name)
		p.out.WriteString("(?:") // captures are not used
		return p.inside()
	}
	if p.peek("?") {
		return fmt.Errorf("a group that begins with (%s", string(p.src[p.i:min(len(p.src), p.i+3)]))
	}
	p.out.WriteString("(?:") // captures are not used
	return p.inside()
}

func (p *onigParser) inside() error {
	if err := p.alternatives(); err != nil {
		return err
	}
	if !p.take(")") {
		return fmt.Errorf("a ( without )")
	}
	p.out.WriteByte(')')
	return nil
}

// repeats reads the quantifiers after the item that was written from start.
func (p *onigParser) repeats(start int) error {
	for n := 0; p.i < len(p.src); n++ {
		what := ""
		switch c := p.src[p.i]; c {
		case '*', '+', '?':
			what = string(c)
			p.i++
		case '{':
			var ok bool
			if what, ok = p.braces(); !ok {
				return nil
			}
			if strings.Contains(what, "!") {
				return fmt.Errorf("a repetition of more than %d times or with its bounds exchanged", maxRepeat)
			}
		default:
			return nil
		}
		atom := p.out.String()[start:]
		if n > 0 {
			atom = "(?:" + atom + ")"
		}
		switch {
		case p.take("?"):
			atom += what + "?"
		case len(what) == 1 && p.take("+"): // possessive
			atom = "(?>" + atom + what + ")"
		default:
			atom += what
		}
		head := p.out.String()[:start]
		p.out.Reset()
		p.out.WriteString(head + atom)
	}
	return nil
}

// braces reads {n}, {n,}, {,m} or {n,m}; other braces are text. A "!" in the result says that the numbers are no good.
func (p *onigParser) braces() (string, bool) {
	end := p.i + 1
	for end < len(p.src) && (p.src[end] == ',' || p.src[end] >= '0' && p.src[end] <= '9') {
		end++
	}
	low, high, comma := strings.Cut(string(p.src[p.i+1:end]), ",")
	if end == len(p.src) || p.src[end] != '}' || low == "" && high == "" || strings.Contains(high, ",") {
		return "", false
	}
	p.i = end + 1
	if low == "" {
		low = "0"
	}
	a, err1 := strconv.Atoi(low)
	b, err2 := a, error(nil)
	if high != "" {
		b, err2 = strconv.Atoi(high)
	}
	if err1 != nil || err2 != nil || a > maxRepeat || b > maxRepeat || b < a {
		return "!", true
	}
	if comma {
		return "{" + low + "," + high + "}", true
	}
	return "{" + low + "}", true
}

// literal writes a character.
func (p *onigParser) literal(c rune) error {
	if !p.fold {
		p.out.WriteString(plainRune(c))
		return nil
	}
	all, err := folded(c)
	if err != nil {
		return err
	}
	if len(all) == 1 {
		p.out.WriteString(plainRune(c))
		return nil
	}
	p.out.WriteByte('[')
	for _, r := range all {
		p.out.WriteString(plainRune(r))
	}
	p.out.WriteByte(']')
	return nil
}

// plainRune is a character that is never an operator.
func plainRune(c rune) string {
	switch {
	case c > 0xFFFF, c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z':
		return string(c)
	}
	return fmt.Sprintf(`\u%04X`, c)
}

// folded are the characters equal to c if case is ignored. A character that equals a sequence of several is an error.
func folded(c rune) ([]rune, error) {
	switch {
	case c == 0xDF, c == 0x149, c == 0x1F0, c == 0x390, c == 0x3B0, c == 0x587, c == 0x130,
		c >= 0x1E96 && c <= 0x1E9E, c >= 0x1F50 && c <= 0x1FFC, c >= 0xFB00 && c <= 0xFB17:
		return nil, fmt.Errorf("the letter %c without regard to case", c)
	}
	all := []rune{c}
	for r := unicode.SimpleFold(c); r != c; r = unicode.SimpleFold(r) {
		all = append(all, r)
	}
	return all, nil
}

// foldsWith reports whether some single character equals the sequence a, b if case is ignored.
func foldsWith(a, b rune) bool {
	switch strings.ToLower(string([]rune{a, b})) {
	case "ss", "ff", "fi", "fl", "st":
		return true
	}
	return false
}

// escape reads what follows a backslash outside of a class.
func (p *onigParser) escape() (rune, error) {
	if p.i == len(p.src) {
		return 0, fmt.Errorf("a \\ at the end")
	}
	switch c := p.src[p.i]; c {
	case 'A', 'z':
		p.i++
		p.out.WriteString(`\` + string(c))
		return 0, nil
	case 'b', 'B':
		p.i++
		w := "[" + wordsAlone() + "]"
		yes, no := "(?<="+w+")(?!"+w+")", "(?<!"+w+")(?="+w+")"
		if c == 'B' {
			yes, no = "(?<="+w+")(?="+w+")", "(?<!"+w+")(?!"+w+")"
		}
		p.out.WriteString("(?:" + yes + "|" + no + ")")
		return 0, nil
	}
	item, char, err := p.member(wordsAlone, notWordsAlone)
	if err != nil {
		return 0, err
	}
	if item != "" {
		p.out.WriteString(oneOf(item))
		return 0, nil
	}
	return char, p.literal(char)
}

// oneOf is the class of an item. \P{X} becomes [^\p{X}]: regexp2 takes the union of two categories of which one is
// negated, be it in a class or where it looks for the first character of alternatives, for less than it is.
func oneOf(item string) string {
	if category, not := strings.CutPrefix(item, `\P`); not {
		return `[^\p` + category + "]"
	}
	return "[" + item + "]"
}

// member reads an escape that stands for characters, behind its backslash: a set of them (item), or one. word and
// notWord are \w and \W.
func (p *onigParser) member(word, notWord func() string) (item string, char rune, err error) {
	if p.i == len(p.src) {
		return "", 0, fmt.Errorf("a \\ at the end")
	}
	c := p.src[p.i]
	p.i++
	switch c {
	case 's':
		return onigSpace, 0, nil
	case 'S':
		return onigNotSpace, 0, nil
	case 'd':
		return `\p{Nd}`, 0, nil
	case 'D':
		return `\P{Nd}`, 0, nil
	case 'h':
		return "0-9A-Fa-f", 0, nil
	case 'w':
		return word(), 0, nil
	case 'W':
		return notWord(), 0, nil
	case 'p', 'P':
		item, err = p.property(c == 'P')
		return item, 0, err
	case 'x', 'u':
		char, err = p.hex(c)
		return "", char, err
	}
	if i := strings.IndexRune("tnrfvae", c); i >= 0 {
		return "", rune("\t\n\r\f\v\a\x1b"[i]), nil
	}
	if c < utf8.RuneSelf && (unicode.IsLetter(c) || unicode.IsDigit(c)) {
		return "", 0, fmt.Errorf(`\%c`, c)
	}
	return "", c, nil
}

// hex reads \xHH, \x{H...} or \uHHHH.
func (p *onigParser) hex(kind rune) (rune, error) {
	digits := 2
	if kind == 'u' {
		digits = 4
	}
	text, braces := "", kind == 'x' && p.take("{")
	if braces {
		for p.i < len(p.src) && p.src[p.i] != '}' {
			text += string(p.src[p.i])
			p.i++
		}
		p.take("}")
	} else {
		text = string(p.src[p.i:min(len(p.src), p.i+digits)])
		p.i += len([]rune(text))
		if len(text) != digits {
			text = ""
		}
	}
	v, err := strconv.ParseUint(text, 16, 32)
	if err != nil || v > unicode.MaxRune || v >= 0xD800 && v < 0xE000 || kind == 'x' && !braces && v > 0x7F { // a byte
		return 0, fmt.Errorf(`\%c%s`, kind, text)
	}
	return rune(v), nil
}

// property reads {Name} or {^Name} after \p.
func (p *onigParser) property(not bool) (string, error) {
	if !p.take("{") {
		return "", fmt.Errorf(`\p without braces`)
	}
	if p.take("^") {
		not = !not
	}
	name := ""
	for p.i < len(p.src) && p.src[p.i] != '}' {
		name += string(p.src[p.i])
		p.i++
	}
	if !p.take("}") {
		return "", fmt.Errorf(`\p{ without }`)
	}
	known := propertyName(name)
	if known == "" || p.fold && !caseless(known) {
		return "", fmt.Errorf(`\p{%s}`, name)
	}
	if not {
		return `\P{` + known + `}`, nil
	}
	return `\p{` + known + `}`, nil
}

// propertyName is the name that regexp2 knows a general category or a script by; "" if it is neither.
func propertyName(name string) string {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
	}
	for known := range unicode.Categories {
		if plain(known) == plain(name) && len(known) <= 2 {
			return known
		}
	}
	for known := range unicode.Scripts {
		if plain(known) == plain(name) {
			return known
		}
	}
	return map[string]string{"letter": "L", "mark": "M", "number": "N", "punctuation": "P", "symbol": "S",
		"separator": "Z", "other": "C",
		"uppercaseletter": "Lu", "lowercaseletter": "Ll", "titlecaseletter": "Lt",
		"modifierletter": "Lm", "otherletter": "Lo",
		"decimalnumber": "Nd", "letternumber": "Nl", "othernumber": "No", "spaceseparator": "Zs"}[plain(name)]
}

// caseless reports whether a category contains, with every character, all that equal it if case is ignored.
func caseless(name string) bool { return name == "L" || name == "P" || name == "Z" || name == "Nd" }

// The ranges of \w and \W, outside of brackets and in them.
var (
	wordsAlone      = sync.OnceValue(func() string { return ranges(wordAlone, true) })
	notWordsAlone   = sync.OnceValue(func() string { return ranges(wordAlone, false) })
	wordsInClass    = sync.OnceValue(func() string { return ranges(wordInClass, true) })
	notWordsInClass = sync.OnceValue(func() string { return ranges(wordInClass, false) })
)

// ranges are those of the characters that are so, or are not.
func ranges(is func(rune) bool, in bool) string {
	loadClasses()
	var b strings.Builder
	for start := rune(0); start <= unicode.MaxRune; {
		end := start
		for end < unicode.MaxRune && is(end+1) == is(start) {
			end++
		}
		if is(start) == in {
			b.WriteString(plainRune(start) + "-" + plainRune(end))
		}
		start = end + 1
	}
	return b.String()
}

// wordInClass reports whether \w in brackets contains r.
func wordInClass(r rune) bool { return classes[r]&classWord != 0 && r != 0x200C && r != 0x200D }

// wordAlone reports whether \w outside of brackets, and \b, treat r as a word character: there Oniguruma uses another
// table for characters below U+0100.
func wordAlone(r rune) bool { return wordInClass(r) || r < 0x100 && classes[r]&classNumber != 0 }
