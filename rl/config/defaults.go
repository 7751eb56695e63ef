package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Defaults is the configuration of a run in which nothing was chosen: the values that the command line has, from the
// same table, the default tags of Config. A program sets at least Policy.Model and Data.Data in it.
func Defaults() Config {
	var c Config
	all := reflect.ValueOf(&c).Elem()
	for i := range all.NumField() {
		SetDefaults(all.Field(i).Addr().Interface())
	}
	return c
}

// SetDefaults sets the fields of a struct of options, which options points to, to the values of their default tags.
func SetDefaults(options any) {
	group := reflect.ValueOf(options).Elem()
	for k := range group.NumField() {
		f := group.Type().Field(k)
		text := f.Tag.Get("default")
		if text == "" {
			continue
		}
		if err := parse(group.Field(k), text); err != nil {
			panic(fmt.Sprintf("config: the default of %s: %v", f.Name, err)) // a test parses them all
		}
	}
}

// parse sets a field from the text of its tag.
func parse(v reflect.Value, text string) (err error) {
	switch x := v.Addr().Interface().(type) {
	case *string:
		*x = text
	case *int:
		*x, err = strconv.Atoi(text)
	case *uint64:
		*x, err = strconv.ParseUint(text, 10, 64)
	case *float64:
		*x, err = strconv.ParseFloat(text, 64)
	case *bool:
		*x, err = strconv.ParseBool(text)
	case *time.Duration:
		*x, err = time.ParseDuration(text)
	case *[]float64:
		for part := range strings.SplitSeq(text, ",") {
			n, err := strconv.ParseFloat(part, 64)
			if err != nil {
				return err
			}
			*x = append(*x, n)
		}
	default:
		err = fmt.Errorf("a %T has none", x)
	}
	return err
}
