package config

import (
	"reflect"
	"regexp"
)

// Names translate the names of options between a program and the command line: Optim.LR and --lr.
type Names struct{ flagOf, fieldOf map[string]string }

// runNames are those of Config.
var runNames = func() Names {
	n := Names{map[string]string{}, map[string]string{}}
	all := reflect.TypeFor[Config]()
	for i := range all.NumField() {
		n.add(all.Field(i).Name, all.Field(i).Type)
	}
	return n
}()

// NamesOf are the names of options in one struct: Config.LR and --lr, with the tag name:"lr" at the field LR.
func NamesOf(options reflect.Type) Names {
	n := Names{map[string]string{}, map[string]string{}}
	n.add(options.Name(), options)
	return n
}

func (n Names) add(group string, t reflect.Type) {
	for k := range t.NumField() {
		f := t.Field(k)
		if flag := f.Tag.Get("name"); flag != "" {
			field := group + "." + f.Name
			n.flagOf[field], n.fieldOf[flag] = flag, field
		}
	}
}

var (
	flagText  = regexp.MustCompile(`(^|[^\w/-])--([a-z](?:[a-z0-9-]*[a-z0-9])?)`)
	fieldText = regexp.MustCompile(`\b[A-Z][A-Za-z]*\.[A-Z][A-Za-z0-9]*\b`)
)

// InFields names options in a text as a program does: Optim.LR for --lr. What is no option of n stays.
func (n Names) InFields(text string) string {
	return flagText.ReplaceAllStringFunc(text, func(found string) string {
		part := flagText.FindStringSubmatch(found)
		if field, ok := n.fieldOf[part[2]]; ok {
			return part[1] + field
		}
		return found
	})
}

// InFlags names options in a text as the command line does: --lr for Optim.LR. What is no option of n stays.
func (n Names) InFlags(text string) string {
	return fieldText.ReplaceAllStringFunc(text, func(field string) string {
		if flag, ok := n.flagOf[field]; ok {
			return "--" + flag
		}
		return field
	})
}

// Error is err for a program: it names fields, not flags. nil stays nil.
func (n Names) Error(err error) error {
	if err == nil {
		return nil
	}
	return named{err, n}
}

// Notes are the notes for a program, as Error is an error.
func (n Names) Notes(notes []string) []string {
	out := make([]string, len(notes))
	for i, note := range notes {
		out[i] = n.InFields(InFlags(note))
	}
	return out
}

// Notes is Names.Notes of a Config.
func Notes(notes []string) []string { return runNames.Notes(notes) }

// InFields is Names.InFields of a Config.
func InFields(text string) string { return runNames.InFields(text) }

// InFlags is Names.InFlags of a Config.
func InFlags(text string) string { return runNames.InFlags(text) }

// Error is Names.Error of a Config.
func Error(err error) error { return runNames.Error(err) }

type named struct {
	error
	names Names
}

// Error names fields. Those of a Config that the error below has already named are named anew.
func (n named) Error() string { return n.names.InFields(InFlags(n.error.Error())) }

// Unwrap is the error itself.
func (n named) Unwrap() error { return n.error }
