package commandline

import (
	"fmt"
	"math"
	"reflect"
	"strconv"

	"github.com/alecthomas/kong"
)

// Numbers are options of a parser that refuse NaN, infinities and fractions of whole numbers.
func Numbers() []kong.Option {
	return []kong.Option{kong.KindMapper(reflect.Float64, kong.MapperFunc(finite)),
		kong.KindMapper(reflect.Int, kong.MapperFunc(whole)), kong.KindMapper(reflect.Int64, kong.MapperFunc(whole)),
		kong.KindMapper(reflect.Uint64, kong.MapperFunc(whole))}
}

// finite reads the value of a number's flag, which is neither NaN nor infinite.
func finite(ctx *kong.DecodeContext, target reflect.Value) error {
	t, err := ctx.Scan.PopValue("number")
	if err != nil {
		return err
	}
	x, err := strconv.ParseFloat(fmt.Sprint(t.Value), 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return fmt.Errorf("expected a finite number but got %q", fmt.Sprint(t.Value))
	}
	target.SetFloat(x)
	return nil
}

// whole reads the value of a whole number's flag.
func whole(ctx *kong.DecodeContext, target reflect.Value) error {
	t, err := ctx.Scan.PopValue("whole number")
	if err != nil {
		return err
	}
	text, bits := fmt.Sprint(t.Value), target.Type().Bits()
	if target.CanUint() {
		n, err := strconv.ParseUint(text, 0, bits)
		if err != nil {
			most := uint64(math.MaxUint64) >> (64 - bits)
			return fmt.Errorf("expected a whole number from 0 to %d but got %q", most, text)
		}
		target.SetUint(n)
		return nil
	}
	n, err := strconv.ParseInt(text, 0, bits)
	if err != nil {
		return fmt.Errorf("expected a whole number but got %q", text)
	}
	target.SetInt(n)
	return nil
}
