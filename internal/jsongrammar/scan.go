package jsongrammar

// inString is the state inside a string.
type inString uint8

// States inside a string. Those of UTF-8 follow the table of RFC 3629: what may follow depends on the first byte.
const (
	body      inString = iota
	escape             // after a backslash
	hex1               // after \u
	hex2               // after \uD: a surrogate or U+D000 to U+D7FF
	hex2Any            // after another first digit
	hex3               // two digits are missing
	hex4               // one is missing
	high3              // as hex3, of the first half of a surrogate pair
	high4              // as hex4
	lowEscape          // a second half must follow: its backslash
	lowU               // its u
	low1               // its D
	low2               // its C to F
	tail1              // one continuation byte is missing
	tail2              // two
	tail3              // three
	tailE0             // two, and the character must not be overlong
	tailED             // two, and it must be no surrogate
	tailF0             // three, and it must not be overlong
	tailF4             // three, and it must be at most U+10FFFF
	badString          // the byte cannot follow
)

// next is the state after b. From body a quote is not its business; begins says that a character begins with b.
func (s inString) next(b byte) (to inString, begins bool) {
	hex := isDigit(b) || b|0x20 >= 'a' && b|0x20 <= 'f'
	follow := func(ok bool, to inString) (inString, bool) {
		if !ok {
			return badString, false
		}
		return to, false
	}
	tail := b >= 0x80 && b <= 0xBF
	switch s {
	case body:
		return firstByte(b), true
	case escape:
		switch b {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			return body, false
		case 'u':
			return hex1, false
		}
		return badString, false
	case hex1:
		if b|0x20 == 'd' {
			return hex2, false
		}
		return follow(hex, hex2Any)
	case hex2:
		switch {
		case b >= '0' && b <= '7':
			return hex3, false
		case b == '8' || b == '9' || b|0x20 == 'a' || b|0x20 == 'b':
			return high3, false
		}
		return badString, false
	case hex2Any:
		return follow(hex, hex3)
	case hex3:
		return follow(hex, hex4)
	case hex4:
		return follow(hex, body)
	case high3:
		return follow(hex, high4)
	case high4:
		return follow(hex, lowEscape)
	case lowEscape:
		return follow(b == '\\', lowU)
	case lowU:
		return follow(b == 'u', low1)
	case low1:
		return follow(b|0x20 == 'd', low2)
	case low2:
		return follow(b|0x20 >= 'c' && b|0x20 <= 'f', hex3)
	case tail1:
		return follow(tail, body)
	case tail2:
		return follow(tail, tail1)
	case tail3:
		return follow(tail, tail2)
	case tailE0:
		return follow(tail && b >= 0xA0, tail1)
	case tailED:
		return follow(tail && b <= 0x9F, tail1)
	case tailF0:
		return follow(tail && b >= 0x90, tail2)
	case tailF4:
		return follow(tail && b <= 0x8F, tail2)
	}
	return badString, false
}

// firstByte is the state after the first byte of a character.
func firstByte(b byte) inString {
	switch {
	case b == '\\':
		return escape
	case b < 0x20 || b == '"':
		return badString
	case b < 0x80:
		return body
	case b >= 0xC2 && b <= 0xDF:
		return tail1
	case b == 0xE0:
		return tailE0
	case b == 0xED:
		return tailED
	case b >= 0xE1 && b <= 0xEF:
		return tail2
	case b == 0xF0:
		return tailF0
	case b >= 0xF1 && b <= 0xF3:
		return tail3
	case b == 0xF4:
		return tailF4
	}
	return badString
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

func isSpace(b byte) bool { return b == ' ' || b == '\n' || b == '\r' || b == '\t' }

// States inside a number.
const (
	afterMinus uint8 = iota
	afterZero        // the integer part is 0
	inInteger
	afterPoint
	inFraction
	afterE
	afterSign
	inExponent  // one digit
	endExponent // two
	badNumber
)

// nextInNumber is the state after b, badNumber if b is no part of the number.
func nextInNumber(state uint8, b byte, integer bool) uint8 {
	digit := isDigit(b)
	switch state {
	case afterMinus:
		switch {
		case b == '0':
			return afterZero
		case digit:
			return inInteger
		}
	case inInteger:
		if digit {
			return inInteger
		}
		fallthrough
	case afterZero:
		switch {
		case integer:
		case b == '.':
			return afterPoint
		case b|0x20 == 'e':
			return afterE
		}
	case afterPoint:
		if digit {
			return inFraction
		}
	case inFraction:
		switch {
		case digit:
			return inFraction
		case b|0x20 == 'e':
			return afterE
		}
	case afterE, afterSign:
		switch {
		case digit:
			return inExponent
		case state == afterE && (b == '+' || b == '-'):
			return afterSign
		}
	case inExponent:
		if digit {
			return endExponent
		}
	}
	return badNumber
}

// numberEnds reports whether a number may end in state.
func numberEnds(state uint8) bool {
	switch state {
	case afterZero, inInteger, inFraction, inExponent, endExponent:
		return true
	}
	return false
}

// within reports whether an integer between low and high (nil: no bound) begins with the digits, and with a minus sign
// if negative; whole asks whether the digits are such an integer. There are no leading zeros.
func within(digits string, negative bool, low, high *int64, whole bool) bool {
	least, most := uint64(0), ^uint64(0) // of the absolute value
	magnitude := func(x int64) uint64 {
		if x < 0 {
			return -uint64(x)
		}
		return uint64(x)
	}
	if negative {
		least = 1
		low, high = high, low
		if low != nil && *low >= 0 {
			low = nil
		} else if low != nil {
			least = magnitude(*low)
		}
		if high != nil && *high >= 0 {
			return false
		} else if high != nil {
			most = magnitude(*high)
		}
	} else {
		if low != nil && *low > 0 {
			least = uint64(*low)
		}
		if high != nil && *high < 0 {
			return false
		} else if high != nil {
			most = uint64(*high)
		}
	}
	if digits == "" {
		return !whole && least <= most
	}
	from := uint64(0)
	for _, d := range []byte(digits) {
		next := from*10 + uint64(d-'0')
		if from > (^uint64(0)-9)/10 { // more than any bound
			return most == ^uint64(0)
		}
		from = next
	}
	if whole || from == 0 {
		return from >= least && from <= most
	}
	for to := from; from <= most; {
		if to >= least {
			return true
		}
		if from > (^uint64(0)-9)/10 {
			return most == ^uint64(0)
		}
		if from *= 10; to > (^uint64(0)-9)/10 {
			to = ^uint64(0)
		} else {
			to = to*10 + 9
		}
	}
	return false
}
