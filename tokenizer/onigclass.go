package tokenizer

import (
	"fmt"
	"strings"
)

// maxFolded is the maximum number of characters in a case-insensitive range.
const maxFolded = 4096

// class reads a bracketed class behind its bracket.
func (p *onigParser) class() error {
	set, err := p.set()
	if err == nil {
		p.out.WriteString(set.String())
	}
	return err
}

// onigSet is a bracketed class: the union of items and of nested classes that are no plain list of items, all of it
// negated or not, and then what it is intersected with.
type onigSet struct {
	items  string
	nested []string
	not    bool
	and    []string
}

// String is an expression of regexp2 that matches one character of the set.
func (s *onigSet) String() string {
	if len(s.nested) == 0 && len(s.and) == 0 {
		if s.not {
			return "[^" + s.items + "]"
		}
		return "[" + s.items + "]"
	}
	all := s.nested
	if s.items != "" {
		all = append([]string{"[" + s.items + "]"}, all...)
	}
	union := "(?:" + strings.Join(all, "|") + ")"
	for _, other := range s.and {
		union = "(?:(?=" + other + ")" + union + ")"
	}
	if s.not {
		return "(?:(?!" + union + ")" + onigAny + ")"
	}
	return union
}

func (p *onigParser) set() (*onigSet, error) {
	if p.depth++; p.depth > maxOnigDepth {
		return nil, fmt.Errorf("classes nested more than %d deep", maxOnigDepth)
	}
	defer func() { p.depth-- }()
	s := &onigSet{not: p.take("^")}
	for first := true; ; first = false {
		switch {
		case p.i == len(p.src):
			return nil, fmt.Errorf("a [ without ]")
		case p.src[p.i] == ']' && !first:
			p.i++
			if s.items == "" && len(s.nested) == 0 {
				return nil, fmt.Errorf("an empty class")
			}
			return s, nil
		case p.take("&&"):
			other, err := p.intersected()
			if err != nil {
				return nil, err
			}
			s.and = append(s.and, other...)
			continue
		case p.take("[:"):
			return nil, fmt.Errorf("a class with a name in [: :]")
		case p.take("["):
			inner, err := p.set()
			if err != nil {
				return nil, err
			}
			if !inner.not && len(inner.nested) == 0 && len(inner.and) == 0 {
				s.items += inner.items
			} else {
				s.nested = append(s.nested, inner.String())
			}
			continue
		}
		if err := p.setItem(s); err != nil {
			return nil, err
		}
	}
}

// intersected reads what follows &&, up to the end of the class, which it leaves.
func (p *onigParser) intersected() ([]string, error) {
	other := &onigSet{}
	for {
		switch {
		case p.i == len(p.src):
			return nil, fmt.Errorf("a [ without ]")
		case p.src[p.i] == ']' || p.peek("&&"):
			if other.items == "" && len(other.nested) == 0 {
				return nil, fmt.Errorf("nothing behind &&")
			}
			return []string{other.String()}, nil
		case p.take("["):
			inner, err := p.set()
			if err != nil {
				return nil, err
			}
			other.nested = append(other.nested, inner.String())
			continue
		}
		if err := p.setItem(other); err != nil {
			return nil, err
		}
	}
}

// setItem reads a character, a range or an escape.
func (p *onigParser) setItem(s *onigSet) error {
	item, low, err := p.setChar()
	if err != nil {
		return err
	}
	if strings.HasPrefix(item, `\P`) {
		s.nested = append(s.nested, oneOf(item))
		return nil
	}
	if item != "" {
		s.items += item
		return nil
	}
	high := low
	if p.peek("-") && p.i+1 < len(p.src) && p.src[p.i+1] != ']' {
		p.i++
		if item, high, err = p.setChar(); err != nil {
			return err
		}
		if item != "" || high < low {
			return fmt.Errorf("the range from %q to what is no character behind it", low)
		}
	}
	if !p.fold {
		if s.items += plainRune(low); high > low {
			s.items += "-" + plainRune(high)
		}
		return nil
	}
	if high-low > maxFolded {
		return fmt.Errorf("a range of more than %d characters without regard to case", maxFolded)
	}
	for c := low; c <= high; c++ {
		all, err := folded(c)
		if err != nil {
			return err
		}
		for _, r := range all {
			s.items += plainRune(r)
		}
	}
	return nil
}

// setChar reads a member of a class: a set of characters (item), or one.
func (p *onigParser) setChar() (item string, char rune, err error) {
	if p.i == len(p.src) {
		return "", 0, fmt.Errorf("a [ without ]")
	}
	c := p.src[p.i]
	p.i++
	if c != '\\' {
		return "", c, nil
	}
	if p.peek("b") {
		return "", 0, fmt.Errorf(`\b in a class`)
	}
	return p.member(wordsInClass, notWordsInClass)
}
