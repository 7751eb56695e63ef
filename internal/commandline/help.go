package commandline

import (
	"cmp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// HelpArgs turns "help VERB" into "VERB --help".
func HelpArgs(args []string) []string {
	if len(args) == 0 || args[0] != "help" || len(args) == 2 && strings.HasPrefix(args[1], "-") {
		return args
	}
	return append(args[1:len(args):len(args)], "--help")
}

// ManyFlags is the number of flags from which on the help of a verb has a heading for each subject.
const ManyFlags = 20

// Group is a heading in the help of a verb with many flags.
type Group = struct {
	Key, Title string
	Flags      string // separated by blanks, in the order of the help
}

// VerbHelp is what the help of a verb has besides the table of its flags.
type VerbHelp = struct {
	First    string   // the flags that matter most, separated by blanks
	Examples []string // commands without the name of the program
}

// Help is the help of a program.
type Help struct {
	Program string // its name
	Groups  []Group
	Verbs   map[string]VerbHelp // by the path of the verb
}

// Options make a parser print this help.
func (h Help) Options() []kong.Option {
	return []kong.Option{kong.Help(h.print), kong.PostBuild(func(k *kong.Kong) error {
		h.addExamples(k.Model.Node)
		return nil
	})}
}

// addExamples puts the examples of the verbs below node into their help.
func (h Help) addExamples(node *kong.Node) {
	for _, leaf := range node.Leaves(false) {
		var text strings.Builder
		for _, example := range h.Verbs[leaf.Path()].Examples {
			text.WriteString("\n\t" + broken(h.Program+" "+example))
		}
		if text.Len() > 0 {
			leaf.Detail = "Examples:\n" + text.String()
		}
	}
}

// exampleWidth is the length from which on an example is broken into lines.
const exampleWidth = 76

// broken is a command on lines that end in a backslash and fit into a terminal of 80 columns. It breaks before flags.
func broken(command string) string {
	var text strings.Builder
	width := 0
	for i, part := range strings.Split(command, " --") {
		if i > 0 {
			part = "--" + part
			if width+len(part)+3 > exampleWidth {
				text.WriteString(" \\\n\t    ")
				width = 4
			} else {
				text.WriteString(" ")
				width++
			}
		}
		text.WriteString(part)
		width += len(part)
	}
	return text.String()
}

// print prints the help of what was selected, many flags under headings. It changes the order of the flags, so the
// parser is not used afterwards.
func (h Help) print(options kong.HelpOptions, ctx *kong.Context) error {
	if verb := ctx.Selected(); verb != nil {
		h.groupFlags(verb, ctx.Model.Node)
	}
	return kong.DefaultHelpPrinter(options, ctx)
}

// groupFlags brings the flags of a verb, with those of the program, under headings and into the order of the tables.
func (h Help) groupFlags(verb, program *kong.Node) {
	verb.Flags = append(verb.Flags, program.Flags...)
	program.Flags = nil
	if len(verb.Flags) < ManyFlags {
		return
	}
	first := strings.Fields(h.Verbs[verb.Path()].First)
	rank := map[*kong.Flag]int{}
	for _, f := range verb.Flags {
		f.Group, rank[f] = h.Place(f.Name, first)
	}
	slices.SortStableFunc(verb.Flags, func(a, b *kong.Flag) int { return cmp.Compare(rank[a], rank[b]) })
}

// Place is the heading of a flag and its rank among all flags.
func (h Help) Place(name string, first []string) (*kong.Group, int) {
	if i := slices.Index(first, name); i >= 0 {
		return &kong.Group{Key: "first", Title: "Flags that matter most:"}, i
	}
	rank := len(first)
	for _, g := range h.Groups {
		flags := strings.Fields(g.Flags)
		if i := slices.Index(flags, name); i >= 0 {
			return &kong.Group{Key: g.Key, Title: g.Title}, rank + i
		}
		rank += len(flags)
	}
	return &kong.Group{Key: "other", Title: "Others:"}, rank
}
