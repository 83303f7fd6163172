package mcp

import (
	"encoding/binary"
	"math/bits"
)

// marks tell what a string holds beside plain ASCII.
type marks uint8

const (
	escaped marks = 1 << iota // its raw bytes differ from its meaning
	wide                      // characters beyond ASCII, escaped ones included
	nul                       // U+0000
)

// Eight copies of a byte, to test eight bytes in one step.
const (
	ones   = 0x0101010101010101
	highs  = 0x80 * ones
	quotes = 0x02 * ones // turns '"' into a space, so that one test finds it and the control characters
	slash  = '\\' * ones
)

// text reads a string from its opening quote and sets s.marks.
func (s *scanner) text(i int) int {
	b := s.b
	s.marks = 0
	i++
	for {
		for from := i; i+8 <= len(b); {
			// A byte's top bit ends up set when it is a quote, a control character, a
			// backslash or not ASCII. A borrow starts only at such a byte, so the lowest is exact.
			x := binary.LittleEndian.Uint64(b[i : i+8])
			m := ((x ^ quotes - 0x21*ones) | (x ^ slash - ones) | x) & highs
			if m != 0 {
				n := bits.TrailingZeros64(m) &^ 7
				i += n >> 3
				if byte(x>>n) == '"' {
					return i + 1
				}
				break
			}
			if i += 8; i == from+64 {
				i = plainRun(b, i)
			}
		}
		for i < len(b) && b[i] >= ' ' && b[i] < 0x80 && b[i] != '"' && b[i] != '\\' {
			i++
		}
		if i >= len(b) {
			return s.fail(flawEnd, i)
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			i = s.escape(i)
		case c >= 0x80:
			i = s.wideRun(i)
		default:
			return s.fail(flawControl, i)
		}
		if i < 0 {
			return -1
		}
	}
}

// plainRun passes over plain text in larger steps, and stops less than one
// before what is not. Texts that were plain for long mostly stay so; for short
// ones it would cost more than it saves.
func plainRun(b []byte, i int) int {
	for i+32 <= len(b) {
		p := b[i : i+32]
		w, x := binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
		y, z := binary.LittleEndian.Uint64(p[16:]), binary.LittleEndian.Uint64(p[24:])
		m := (w ^ quotes - 0x21*ones) | (w ^ slash - ones) | w |
			(x ^ quotes - 0x21*ones) | (x ^ slash - ones) | x |
			(y ^ quotes - 0x21*ones) | (y ^ slash - ones) | y |
			(z ^ quotes - 0x21*ones) | (z ^ slash - ones) | z
		if m&highs != 0 {
			break
		}
		i += 32
	}
	return i
}

// wideRun checks UTF-8 from a byte beyond ASCII on, and returns where plain
// text, a quote, a backslash or a control character comes next.
func (s *scanner) wideRun(start int) int {
	b, i, st := s.b, start, uint64(0)
	s.marks |= wide
	for i+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[i:])
		if stop := ((x ^ quotes - 0x21*ones) | (x ^ slash - ones)) &^ x & highs; stop != 0 || x&highs == 0 {
			break
		}
		st = utf8Steps[byte(x)] >> (st & 63)
		st = utf8Steps[byte(x>>8)] >> (st & 63)
		st = utf8Steps[byte(x>>16)] >> (st & 63)
		st = utf8Steps[byte(x>>24)] >> (st & 63)
		st = utf8Steps[byte(x>>32)] >> (st & 63)
		st = utf8Steps[byte(x>>40)] >> (st & 63)
		st = utf8Steps[byte(x>>48)] >> (st & 63)
		st = utf8Steps[byte(x>>56)] >> (st & 63)
		i += 8
		if st&63 == utf8Bad {
			return s.fail(flawUTF8, i-8)
		}
	}
	for i < len(b) && (b[i] >= 0x80 || st&63 != utf8Done) {
		if st = utf8Steps[b[i]] >> (st & 63); st&63 == utf8Bad {
			return s.fail(flawUTF8, i)
		}
		i++
	}
	if i >= len(b) {
		return s.fail(flawEnd, i)
	}
	return i
}

// escape reads one escape, or the two of a surrogate pair.
func (s *scanner) escape(i int) int {
	b := s.b
	s.marks |= escaped
	if i+1 >= len(b) {
		return s.fail(flawEnd, len(b))
	}
	if b[i+1] != 'u' {
		if unescape[b[i+1]] == 0 {
			return s.fail(flawEscape, i)
		}
		return i + 2
	}
	r := hex4(b, i+2)
	switch {
	case r < 0:
		return s.fail(flawEscape, i)
	case r == 0:
		s.marks |= nul
	case r >= 0x80:
		s.marks |= wide
	}
	if r < 0xD800 || r > 0xDFFF {
		return i + 6
	}
	if r > 0xDBFF || i+7 >= len(b) || b[i+6] != '\\' || b[i+7] != 'u' {
		return s.fail(flawSurrogate, i)
	}
	if low := hex4(b, i+8); low < 0xDC00 || low > 0xDFFF {
		return s.fail(flawSurrogate, i)
	}
	return i + 12
}

// hex4 reads four hexadecimal digits, -1 when they are not there.
func hex4(b []byte, i int) rune {
	if i+4 > len(b) {
		return -1
	}
	var r rune
	for _, c := range b[i : i+4] {
		switch {
		case c-'0' < 10:
			r = r<<4 | rune(c-'0')
		case c|0x20-'a' < 6:
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}

// unescape maps the letter of a short escape to its character.
var unescape = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// The states of the UTF-8 check, each the place of six bits in a step.
const (
	utf8Done = 6 * iota // between characters
	utf8Bad
	utf8One // one continuation byte to come
	utf8Two
	utf8Three
	utf8E0 // after E0: not overlong
	utf8ED // after ED: no surrogate
	utf8F0 // after F0: not overlong
	utf8F4 // after F4: not above U+10FFFF
)

// utf8Steps holds, for each byte, the next state for every state. A step is a
// shift by the current state: no branch, so mixed scripts cost no more than one.
var utf8Steps = makeUTF8Steps()

func makeUTF8Steps() (steps [256]uint64) {
	for c := range steps {
		next := [...]uint64{utf8Bad, utf8Bad, utf8Bad, utf8Bad, utf8Bad, utf8Bad, utf8Bad, utf8Bad, utf8Bad}
		set := func(state, to uint64) { next[state/6] = to }
		switch {
		case c < 0x80:
			set(utf8Done, utf8Done)
		case c < 0xC0:
			set(utf8One, utf8Done)
			set(utf8Two, utf8One)
			set(utf8Three, utf8Two)
			if c >= 0xA0 {
				set(utf8E0, utf8One)
			} else {
				set(utf8ED, utf8One)
			}
			if c >= 0x90 {
				set(utf8F0, utf8Two)
			} else {
				set(utf8F4, utf8Two)
			}
		case c >= 0xC2 && c <= 0xDF:
			set(utf8Done, utf8One)
		case c == 0xE0:
			set(utf8Done, utf8E0)
		case c == 0xED:
			set(utf8Done, utf8ED)
		case c >= 0xE0 && c <= 0xEF:
			set(utf8Done, utf8Two)
		case c == 0xF0:
			set(utf8Done, utf8F0)
		case c == 0xF4:
			set(utf8Done, utf8F4)
		case c >= 0xF1 && c <= 0xF3:
			set(utf8Done, utf8Three)
		}
		for state, to := range next {
			steps[c] |= to << (6 * state)
		}
	}
	return steps
}
