package config

import (
	"reflect"
	"regexp"
)

// flagOf and fieldOf translate the names of options: lr and Optim.LR.
var flagOf, fieldOf = func() (flags, fields map[string]string) {
	flags, fields = map[string]string{}, map[string]string{}
	all := reflect.TypeFor[Config]()
	for i := range all.NumField() {
		group := all.Field(i)
		for k := range group.Type.NumField() {
			f := group.Type.Field(k)
			if flag := f.Tag.Get("name"); flag != "" {
				field := group.Name + "." + f.Name
				flags[field], fields[flag] = flag, field
			}
		}
	}
	return flags, fields
}()

var (
	flagText  = regexp.MustCompile(`(^|[^\w/-])--([a-z](?:[a-z0-9-]*[a-z0-9])?)`)
	fieldText = regexp.MustCompile(`\b[A-Z][A-Za-z]*\.[A-Z][A-Za-z0-9]*\b`)
)

// InFields names options in a text as a program does: Optim.LR for --lr. What is no option of a run stays.
func InFields(text string) string {
	return flagText.ReplaceAllStringFunc(text, func(found string) string {
		part := flagText.FindStringSubmatch(found)
		if field, ok := fieldOf[part[2]]; ok {
			return part[1] + field
		}
		return found
	})
}

// InFlags names options in a text as the command line does: --lr for Optim.LR. What is no option of a run stays.
func InFlags(text string) string {
	return fieldText.ReplaceAllStringFunc(text, func(field string) string {
		if flag, ok := flagOf[field]; ok {
			return "--" + flag
		}
		return field
	})
}

// Error is err for a program: it names fields of a Config, not flags. nil stays nil.
func Error(err error) error {
	if err == nil {
		return nil
	}
	return named{err}
}

type named struct{ error }

// Error names fields.
func (n named) Error() string { return InFields(n.error.Error()) }

// Unwrap is the error itself.
func (n named) Unwrap() error { return n.error }
