package jinja

import (
	"fmt"
	"strings"
	"time"
)

// strftime writes a time by C's format letters, in English.
func strftime(e *env, t time.Time, format string) string {
	e.allocate(32 * len(format))
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		plain := format[i] == '-' && i+1 < len(format) // %-d: no padding
		if plain {
			i++
		}
		s, ok := timePart(t, format[i])
		if !ok {
			e.fail("strftime_now: %%%c is not supported", format[i])
		}
		if plain && len(s) > 1 {
			s = strings.TrimLeft(s[:len(s)-1], "0 ") + s[len(s)-1:]
		}
		b.WriteString(s)
	}
	return b.String()
}

var timeLayouts = map[byte]string{
	'd': "02", 'e': "_2", 'm': "01", 'b': "Jan", 'h': "Jan", 'B': "January", 'y': "06", 'Y': "2006", 'H': "15",
	'I': "03", 'M': "04",
	'S': "05", 'p': "PM", 'a': "Mon", 'A': "Monday", 'j': "002", 'F': "2006-01-02", 'T': "15:04:05", 'D': "01/02/06",
	'R': "15:04",
	'z': "-0700", 'Z': "MST", 'f': "000000",
}

func timePart(t time.Time, letter byte) (string, bool) {
	switch letter {
	case '%':
		return "%", true
	case 'n':
		return "\n", true
	case 'u':
		return fmt.Sprint((int(t.Weekday())+6)%7 + 1), true
	case 'w':
		return fmt.Sprint(int(t.Weekday())), true
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000), true
	}
	layout, ok := timeLayouts[letter]
	return t.Format(layout), ok
}
