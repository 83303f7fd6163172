package mcp

import (
	"encoding/binary"
	"math"
)

// maxBytes keeps offsets within 31 bits, which the key set relies on.
const maxBytes = math.MaxInt32

// scanner checks a document and reports what it meets to an envelope. Its
// methods take the offset where something starts and return the offset behind
// it, or -1 once a flaw is recorded.
type scanner struct {
	b      []byte
	e      *Envelope // nil when only the grammar matters
	keys   *keySet   // nil when no object is checked for duplicates
	lim    Limits
	strict bool // keys are compared in every object, not only at the known levels

	flaw      flaw
	at        int
	marks     marks // of the last string
	versioned bool  // jsonrpc is "2.0"
	nullID    bool
	coded     bool // error.code is a whole number
}

func (s *scanner) fail(f flaw, at int) int {
	s.flaw, s.at = f, at
	return -1
}

// failAt records a syntax flaw, or the end of the text when that is what is there.
func (s *scanner) failAt(i int) int {
	if i >= len(s.b) {
		return s.fail(flawEnd, len(s.b))
	}
	return s.fail(flawSyntax, i)
}

const eightSpaces = 0x2020202020202020

// space skips white space. Most messages have none, so that comes first.
func (s *scanner) space(i int) int {
	if i < len(s.b) && s.b[i] > ' ' {
		return i
	}
	return s.spaces(i)
}

func (s *scanner) spaces(i int) int {
	for i < len(s.b) {
		switch s.b[i] {
		case ' ':
			for i+8 <= len(s.b) && binary.LittleEndian.Uint64(s.b[i:]) == eightSpaces {
				i += 8
			}
			if i < len(s.b) && s.b[i] == ' ' {
				i++
			}
		case '\n', '\t', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// end reports whether nothing but white space follows.
func (s *scanner) end(i int) bool {
	if i = s.space(i); i < len(s.b) {
		s.fail(flawTrailing, i)
		return false
	}
	return true
}

// comma reads what follows a member or element: a comma (more) or the closing
// byte. It returns the offset of that byte plus one for the closing one, and of
// the comma itself otherwise.
func (s *scanner) comma(i int, closing byte) (next int, more bool) {
	i = s.space(i)
	switch {
	case i < len(s.b) && s.b[i] == ',':
		return i, true
	case i < len(s.b) && s.b[i] == closing:
		return i + 1, false
	}
	return s.failAt(i), false
}

// value reads any value at a nesting depth.
func (s *scanner) value(i, depth int) int {
	if i >= len(s.b) {
		return s.fail(flawEnd, i)
	}
	switch s.b[i] {
	case '"':
		return s.text(i)
	case '{':
		return s.object(i, inAny, depth)
	case '[':
		return s.array(i, depth)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return s.number(i)
	case 't':
		return s.word(i, "true")
	case 'f':
		return s.word(i, "false")
	case 'n':
		return s.word(i, "null")
	}
	return s.fail(flawSyntax, i)
}

func (s *scanner) word(i int, w string) int {
	if len(s.b)-i < len(w) {
		return s.fail(flawEnd, len(s.b))
	}
	if string(s.b[i:i+len(w)]) != w {
		return s.fail(flawSyntax, i)
	}
	return i + len(w)
}

func (s *scanner) array(i, depth int) int {
	if depth++; depth > s.lim.Depth {
		return s.fail(flawDepth, i)
	}
	if j := s.space(i + 1); j < len(s.b) && s.b[j] == ']' {
		return j + 1
	}
	for more := true; more; {
		if i = s.value(s.space(i+1), depth); i < 0 {
			return -1
		}
		if i, more = s.comma(i, ']'); i < 0 {
			return -1
		}
	}
	return i
}

// object reads an object. At the known levels its members are matched with
// what the envelope has a place for.
func (s *scanner) object(i int, lv level, depth int) int {
	if depth++; depth > s.lim.Depth {
		return s.fail(flawDepth, i)
	}
	if j := s.space(i + 1); j < len(s.b) && s.b[j] == '}' {
		return j + 1
	}
	compare := s.strict || lv != inAny
	var f frame
	if compare {
		f = s.keys.open()
	}
	for more := true; more; {
		start := s.space(i + 1)
		if start >= len(s.b) || s.b[start] != '"' {
			return s.failAt(start)
		}
		key := Span{start, s.text(start)}
		if key.End < 0 {
			return -1
		}
		if compare && !s.unique(&f, key) {
			return -1
		}
		fd := anyField
		if lv != inAny {
			if fd = s.field(lv, key); fd < 0 {
				return s.fail(flawFolded, start)
			}
		}
		if i = s.space(key.End); i >= len(s.b) || s.b[i] != ':' {
			return s.failAt(i)
		}
		if i = s.member(fd, s.space(i+1), depth); i < 0 {
			return -1
		}
		if i, more = s.comma(i, '}'); i < 0 {
			return -1
		}
	}
	if compare {
		s.keys.close(&f)
	}
	return i
}

// member reads the value of a member and notes it in the envelope.
func (s *scanner) member(fd field, i, depth int) int {
	if fd == anyField {
		return s.value(i, depth)
	}
	end := 0
	if lv := fd.level(); lv != inAny && i < len(s.b) && s.b[i] == '{' {
		end = s.object(i, lv, depth)
	} else {
		end = s.value(i, depth)
	}
	if end < 0 {
		return -1
	}
	if f := s.note(fd, Span{i, end}); f != sound {
		return s.fail(f, i)
	}
	return end
}

// number reads a number as the grammar has it, of any size.
func (s *scanner) number(i int) int {
	b, start := s.b, i
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = digits(b, i); i < 0 {
		return s.fail(flawNumber, start)
	}
	if i < len(b) && b[i] == '.' {
		if i = digits(b, i+1); i < 0 {
			return s.fail(flawNumber, start)
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if i = digits(b, i); i < 0 {
			return s.fail(flawNumber, start)
		}
	}
	return i
}

// digits skips at least one digit.
func digits(b []byte, i int) int {
	start := i
	for i < len(b) && b[i]-'0' < 10 {
		i++
	}
	if i == start {
		return -1
	}
	return i
}
