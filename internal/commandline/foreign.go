package commandline

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Foreign is what options of other programs are here.
type Foreign = struct {
	// Names are separated by blanks, with dashes. A name with dots is the end of a path of hydra (verl, Search-R1,
	// ZeroSearch); the longest that fits counts.
	Names string
	// Flags are separated by blanks; the first that the verb has is meant.
	Flags string
	// Say, in place of Flags, says how things are here.
	Say string
}

// Dictionary translates options of other programs.
type Dictionary struct {
	Foreign []Foreign
	Short   map[string]string // names of options that have one dash there
}

var (
	unknownFlag  = regexp.MustCompile(`^unknown flag (--?[^\s,]+)`)
	hydraSetting = regexp.MustCompile(`^\+{0,2}([A-Za-z]\w*(?:\.\w+)*)=(.*)$`)
)

// Recognise makes the error of a name that another program has say what it is here. err is the parser's of args.
func (d Dictionary) Recognise(parser *kong.Kong, args []string, err error) error {
	verb := parser.Model.Node
	if v, _ := Walk(verb, args); v != nil {
		verb = v
	}
	if found := unknownFlag.FindStringSubmatch(err.Error()); found != nil {
		typed, name := found[1], strings.TrimLeft(found[1], "-")
		if !strings.HasPrefix(typed, "--") {
			typed, name = d.shortOf(args, typed)
		}
		if here := d.translate(verb, name); here != "" {
			return fmt.Errorf("%s %s", typed, here)
		}
		return err
	}
	if !strings.HasPrefix(err.Error(), "unexpected argument ") {
		return err
	}
	for _, arg := range args {
		found := hydraSetting.FindStringSubmatch(arg)
		if found == nil || !strings.Contains(err.Error(), arg) {
			continue
		}
		switch here := d.translate(verb, found[1]); {
		case here == "":
			return fmt.Errorf("%s: settings are flags here, as --name value: there is none that is called so", arg)
		case strings.HasPrefix(here, "is --"):
			return fmt.Errorf("%s %s: write --%s %s", arg, here, strings.Fields(here)[1][2:], found[2])
		default:
			return fmt.Errorf("%s %s", arg, here)
		}
	}
	return err
}

// shortOf is the word of args that holds the letter of a flag with one dash, and the name that it stands for.
func (d Dictionary) shortOf(args []string, letter string) (typed, name string) {
	for _, arg := range args {
		word, _, _ := strings.Cut(arg, "=")
		if name, ok := d.Short[word]; ok && strings.Contains(word, letter[1:]) {
			return word, name
		}
	}
	return letter, ""
}

// translate says what the option name of another program is here, for the flags of verb; "" if that is not known.
func (d Dictionary) translate(verb *kong.Node, name string) string {
	name, _, _ = strings.Cut(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "=")
	for path := name; ; {
		for _, f := range d.Foreign {
			if slices.Contains(strings.Fields(f.Names), path) {
				return here(verb, f.Flags, f.Say)
			}
		}
		if FlagOf(verb, path) != nil {
			return "is --" + path + " here"
		}
		_, rest, more := strings.Cut(path, ".")
		if !more {
			return ""
		}
		path = rest
	}
}

// here is what the first of flags that verb has is called, or of which verb one is.
func here(verb *kong.Node, flags, say string) string {
	if say != "" {
		return "is no flag here: " + say
	}
	for flag := range strings.FieldsSeq(flags) {
		if FlagOf(verb, flag) != nil {
			return "is --" + flag + " here"
		}
	}
	first := strings.Fields(flags)[0]
	root := verb
	for root.Parent != nil {
		root = root.Parent
	}
	var verbs []string
	for _, leaf := range root.Leaves(true) {
		if FlagOf(leaf, first) != nil {
			verbs = append(verbs, leaf.Path())
		}
	}
	return fmt.Sprintf("is --%s of %s, and no flag of %s", first, strings.Join(verbs, ", "), verb.Path())
}
