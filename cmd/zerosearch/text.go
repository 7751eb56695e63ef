package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// sparkline draws values in one line of block characters.
func sparkline(values []float64, width int) string {
	if len(values) == 0 {
		return ""
	}
	if len(values) > width {
		cells := make([]float64, width)
		for i := range cells {
			a, b := i*len(values)/width, (i+1)*len(values)/width
			for _, v := range values[a:b] {
				cells[i] += v / float64(b-a)
			}
		}
		values = cells
	}
	lo, hi := values[0], values[0]
	for _, v := range values {
		lo, hi = min(lo, v), max(hi, v)
	}
	var s strings.Builder
	for _, v := range values {
		k := 0
		if hi > lo {
			k = int((v - lo) / (hi - lo) * 7.999)
		}
		s.WriteRune([]rune("▁▂▃▄▅▆▇█")[k])
	}
	return s.String()
}

// eta is how long n of total steps say the rest will take.
func eta(start time.Time, n, total int) string {
	if n == 0 {
		return "?"
	}
	d := time.Duration(float64(time.Since(start)) / float64(n) * float64(total-n))
	return d.Round(time.Second).String()
}

// shellWord quotes s for a command that the user may paste.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("/._-+=:,@%", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') &&
			(r < 'a' || r > 'z')
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// bytesText is a size for people.
func bytesText(n int64) string {
	x, unit := float64(n), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if x < 1024 {
			break
		}
		x, unit = x/1024, u
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", x, unit)
}

// colours are the sequences that paint writes.
var colours = regexp.MustCompile("\x1b\\[[0-9]+m")

// shownColumns is how many columns text takes, colours aside.
func shownColumns(text string) int { return utf8.RuneCountInString(colours.ReplaceAllString(text, "")) }

// cut shortens text to at most width columns, the last of which shows that something is missing.
func cut(text string, width int) string {
	if shownColumns(text) <= width || width < 1 {
		return text
	}
	var s strings.Builder
	room := width - 1
	for rest := text; rest != ""; {
		if at := colours.FindStringIndex(rest); at != nil && at[0] == 0 {
			s.WriteString(rest[:at[1]])
			rest = rest[at[1]:]
			continue
		}
		_, n := utf8.DecodeRuneInString(rest)
		if room > 0 {
			s.WriteString(rest[:n])
		} else if room == 0 {
			s.WriteString("…")
		}
		room--
		rest = rest[n:]
	}
	return s.String()
}
