package tokenizer

// A split cuts text into the pieces within which merges happen. It returns the end of the piece that starts at i <
// len(b), in valid UTF-8. Every split here is a published regular expression written as a scanner; split_test.go
// compares them with a regexp engine.
type split func(b []byte, i int) int

// run returns the end of the run of characters from i that have (want = true) or lack one of the classes in mask.
func run(b []byte, i int, mask uint8, want bool) int {
	for i < len(b) {
		c, n := classAt(b, i)
		if (c&mask != 0) != want {
			break
		}
		i += n
	}
	return i
}

// splitGPT2 is the pattern of GPT-2, which ByteLevel applies unless told otherwise:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func splitGPT2(b []byte, i int) int {
	if b[i] == '\'' {
		if n := contraction(b[i+1:], 0); n > 0 {
			return i + 1 + n
		}
	}
	j := i
	if b[i] == ' ' && i+1 < len(b) {
		j++
	}
	switch c, n := classAt(b, j); {
	case c&classLetter != 0:
		return run(b, j+n, classLetter, true)
	case c&classNumber != 0:
		return run(b, j+n, classNumber, true)
	case c&classSpace == 0:
		return run(b, j+n, classSpace|classLetter|classNumber, false)
	}
	return spaces(b, i, run(b, i, classSpace, true))
}

// contraction returns the length of a contraction's letters at the start of b, which follow an apostrophe. fold = 0x20
// ignores case.
func contraction(b []byte, fold byte) int {
	if len(b) == 0 {
		return 0
	}
	switch c := b[0] | fold; c {
	case 's', 't', 'm', 'd':
		return 1
	case 'r', 'v', 'l':
		second := byte('e')
		if c == 'l' {
			second = 'l'
		}
		if len(b) > 1 && b[1]|fold == second {
			return 2
		}
	case 0xC5 | 0x20: // U+017F, the long s, is an s to a pattern that ignores case
		if fold != 0 && len(b) > 1 && b[0] == 0xC5 && b[1] == 0xBF {
			return 2
		}
	}
	return 0
}

// spaces matches \s+(?!\S)|\s+ in the run of white space [i, end): all of it at the end of the text; otherwise all but
// its last character; a single character completely.
func spaces(b []byte, i, end int) int {
	if end == len(b) {
		return end
	}
	if last := end - lastWidth(b, end); last > i {
		return last
	}
	return end
}

// splitCl100k is the pattern of Llama 3 (digits = 3) and of Qwen2, 2.5 and 3 (digits = 1):
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//
// letters is classLetter, or classLetter|classMark where the pattern says [\p{L}\p{M}] (Qwen3.5).
func splitCl100k(digits int, letters uint8) split {
	stop := classSpace | classNumber | letters
	return func(b []byte, i int) int {
		if b[i] == '\'' {
			if n := contraction(b[i+1:], 0x20); n > 0 {
				return i + 1 + n
			}
		}
		c, n := classAt(b, i)
		j := i + n
		if c&letters != 0 {
			return run(b, j, letters, true)
		}
		if c&classNumber != 0 {
			for k := 1; k < digits && j < len(b); k++ {
				if c, n = classAt(b, j); c&classNumber == 0 {
					break
				}
				j += n
			}
			return j
		}
		if j < len(b) {
			next, n := classAt(b, j)
			if c&classNewline == 0 && next&letters != 0 {
				return run(b, j+n, letters, true)
			}
			if b[i] == ' ' && next&stop == 0 {
				c, j = next, j+n
			}
		}
		if c&classSpace == 0 {
			return run(b, run(b, j, stop, false), classNewline, true)
		}
		end := run(b, j, classSpace, true)
		for k := end; k > i; k-- { // \s*[\r\n]+ ends at the last line break of the run
			if b[k-1] == '\n' || b[k-1] == '\r' {
				return k
			}
		}
		return spaces(b, i, end)
	}
}

// splitDigits is the Digits step: it separates digits from other text, each digit (individual) or each run of digits.
func splitDigits(individual bool) split {
	return func(b []byte, i int) int {
		c, n := classAt(b, i)
		if c&classNumber != 0 && individual {
			return i + n
		}
		return run(b, i+n, classNumber, c&classNumber != 0)
	}
}

// qwenPattern is the pattern of Qwen2, which Train uses too.
const qwenPattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// patterns maps the regular expressions found in published tokenizer.json files to their scanners.
var patterns = map[string]split{
	`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`: splitGPT2,
	qwenPattern:   splitCl100k(1, classLetter),
	llama3Pattern: splitCl100k(3, classLetter),
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`:      splitCl100k(1, classLetter|classMark),
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}{1,3}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: splitCl100k(3, classLetter|classMark),
}
