package tokenizer

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// A Decoder turns ids into text one by one. What it returns is always whole characters; bytes that may become a
// character wait for the next id or for Flush. A maximal sequence of bytes that is the beginning of no character
// becomes one U+FFFD.
type Decoder struct {
	t           *Tokenizer
	skipSpecial bool
	started     bool   // text was returned: a space at the start is past
	inBytes     bool   // pending comes from byte-fallback tokens
	pending     []byte // an unfinished character, or an unfinished run of byte tokens
}

// NewDecoder returns a Decoder. With skipSpecial, tokens flagged special leave no text. The Decoder is for one
// goroutine.
func (t *Tokenizer) NewDecoder(skipSpecial bool) *Decoder {
	return &Decoder{t: t, skipSpecial: skipSpecial}
}

// Add takes the next id and returns the text that is now certain. Ids without a token leave no text.
func (d *Decoder) Add(id int32) string {
	return string(d.append(nil, id))
}

// Flush ends the text: an unfinished character becomes U+FFFD. The Decoder is then as new.
func (d *Decoder) Flush() string {
	out := d.finish(nil)
	d.started = false
	return string(out)
}

// Decode returns the text of ids: the same as a Decoder's pieces, joined.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	d := Decoder{t: t, skipSpecial: skipSpecial}
	out := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		out = d.append(out, id)
	}
	return string(d.finish(out))
}

func (d *Decoder) append(out []byte, id int32) []byte {
	t := d.t
	b := t.bytes(id)
	if len(b) == 0 || d.skipSpecial && t.special[id] {
		return out
	}
	if t.decoding.byteFallback {
		if isByte := t.byteToken[id]; isByte != d.inBytes {
			out = d.finish(out)
			d.inBytes = isByte
		}
		if d.inBytes {
			return d.appendByte(out, b[0])
		}
	}
	if t.decoding.stripSpace && !d.started && b[0] == ' ' {
		b = b[1:]
	}
	d.started = true
	if len(d.pending) == 0 { // the usual case
		n := len(out)
		out = append(out, b...)
		valid := validPrefix(out[n:])
		if n+valid == len(out) {
			return out
		}
		d.pending = append(d.pending, out[n+valid:]...)
		out = out[:n+valid]
	} else {
		d.pending = append(d.pending, b...)
	}
	return d.settle(out, false)
}

// appendByte takes a byte-fallback token's byte.
func (d *Decoder) appendByte(out []byte, c byte) []byte {
	d.pending = append(d.pending, c)
	if d.t.decoding.wholeRuns {
		return out // whether the run is text is known at its end
	}
	d.started = true
	return d.settle(out, false)
}

// finish writes what is pending, complete or not.
func (d *Decoder) finish(out []byte) []byte {
	if d.inBytes && d.t.decoding.wholeRuns && len(d.pending) > 0 {
		if !utf8.Valid(d.pending) {
			for range d.pending {
				out = append(out, "\uFFFD"...)
			}
			d.pending = d.pending[:0]
		} else if d.t.decoding.stripSpace && !d.started && d.pending[0] == ' ' {
			d.pending = d.pending[1:]
		}
		d.started = true
	}
	out = d.settle(out, true)
	d.inBytes = false
	return out
}

// settle moves what is certain from pending to out: everything at the end of the text.
func (d *Decoder) settle(out []byte, end bool) []byte {
	p := d.pending
	for len(p) > 0 {
		n := validPrefix(p)
		out = append(out, p[:n]...)
		if p = p[n:]; len(p) == 0 {
			break
		}
		n, complete := invalidPrefix(p)
		if !complete && !end {
			break
		}
		if d.inBytes { // sentencepiece: a mark for every byte
			for range n {
				out = append(out, "\uFFFD"...)
			}
		} else {
			out = append(out, "\uFFFD"...)
		}
		p = p[n:]
	}
	d.pending = append(d.pending[:0], p...)
	return out
}

// validPrefix returns how many bytes at the start of b are whole characters.
func validPrefix(b []byte) int {
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return len(b)
}

// invalidPrefix measures the sequence at the start of b, which is no character: the longest that begins one, at least a
// byte. complete is false where b ends within it, so that more bytes could make it a character. (The rule of Unicode,
// section 3.9, "substitution of maximal subparts", and of Rust; Go's own conversions replace every byte.)
func invalidPrefix(b []byte) (n int, complete bool) {
	low, high, need := byte(0x80), byte(0xBF), 0
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		need = 1
	case c >= 0xE0 && c <= 0xEF:
		need = 2
		if c == 0xE0 {
			low = 0xA0
		} else if c == 0xED {
			high = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		need = 3
		if c == 0xF0 {
			low = 0x90
		} else if c == 0xF4 {
			high = 0x8F
		}
	default:
		return 1, true
	}
	for n = 1; n <= need; n++ {
		if n == len(b) {
			return n, false
		}
		if b[n] < low || b[n] > high {
			return n, true
		}
		low, high = 0x80, 0xBF
	}
	return n, true
}

// byteOf returns the byte that a token named <0xXX> stands for.
func byteOf(token []byte) (byte, bool) {
	if len(token) != 6 || !bytes.HasPrefix(token, []byte("<0x")) || token[5] != '>' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(token[3:5]), 16, 8)
	return byte(v), err == nil
}
