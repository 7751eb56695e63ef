package tokenizer

import "unicode/utf8"

// Byte-level vocabularies spell every byte as one printable character: bytes that are printable in Latin-1 as
// themselves, the other 68, in ascending order, as U+0100 and following (Radford et al. 2019, "Language Models are
// Unsupervised Multitask Learners").
var (
	byteRune [256]rune  // byte -> character
	runeByte [324]int16 // character -> byte, -1 for characters outside the alphabet
)

func init() {
	for i := range runeByte {
		runeByte[i] = -1
	}
	next := rune(256)
	for c := range byteRune {
		r := rune(c)
		if printable := c > ' ' && c < 0x7F || c > 0xA0 && c != 0xAD; !printable {
			r, next = next, next+1
		}
		byteRune[c] = r
		runeByte[r] = int16(c)
	}
}

// fromAlphabet appends the bytes that s spells; ok is false, and dst unchanged, where s has a character outside the
// alphabet.
func fromAlphabet(dst, s []byte) (out []byte, ok bool) {
	out = dst
	for i := 0; i < len(s); {
		c := s[i]
		if c > ' ' && c < 0x7F {
			out = append(out, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(s[i:])
		if int(r) >= len(runeByte) || runeByte[r] < 0 {
			return dst, false
		}
		out = append(out, byte(runeByte[r]))
		i += n
	}
	return out, true
}

// toAlphabet spells bytes as a byte-level vocabulary does.
func toAlphabet(b []byte) string {
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = utf8.AppendRune(out, byteRune[c])
	}
	return string(out)
}
