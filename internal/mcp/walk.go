package mcp

import "iter"

// Member is one key and value of an object.
type Member struct {
	Key   Span // with its quotes
	Value Span
}

// Pair returns the span from the key to the end of the value.
func (m Member) Pair() Span { return Span{m.Key.Start, m.Value.End} }

// Is reports whether the member's decoded key is key.
func (m Member) Is(b []byte, key string) bool { return Equal(b, m.Key, key) }

// Members walks the members of an object in a scanned message, in their order.
// It yields nothing when v is no object, and stops where b is not valid JSON.
func Members(b []byte, v Span) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		if v.Empty() || b[v.Start] != '{' {
			return
		}
		s := scanner{b: b[:v.End], lim: Limits{Depth: maxDepth}}
		i := v.Start
		for more := true; more; {
			start := s.space(i + 1)
			if start >= v.End || b[start] != '"' {
				return
			}
			key := Span{start, s.text(start)}
			if key.End < 0 {
				return
			}
			if i = s.space(key.End); i >= v.End || b[i] != ':' {
				return
			}
			start = s.space(i + 1)
			end := s.value(start, 0)
			if end < 0 || !yield(Member{Key: key, Value: Span{start, end}}) {
				return
			}
			if i, more = s.comma(end, '}'); i < 0 {
				return
			}
		}
	}
}

// Elements walks the elements of an array as Members does an object.
func Elements(b []byte, v Span) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		if v.Empty() || b[v.Start] != '[' {
			return
		}
		s := scanner{b: b[:v.End], lim: Limits{Depth: maxDepth}}
		i := v.Start
		for more := true; more; {
			start := s.space(i + 1)
			if start >= v.End || b[start] == ']' {
				return
			}
			end := s.value(start, 0)
			if end < 0 || !yield(Span{start, end}) {
				return
			}
			if i, more = s.comma(end, ']'); i < 0 {
				return
			}
		}
	}
}

// Get finds the value of a key in an object, compared decoded.
func Get(b []byte, object Span, key string) (Span, bool) {
	for m := range Members(b, object) {
		if m.Is(b, key) {
			return m.Value, true
		}
	}
	return Span{}, false
}

// Find follows a path of keys from an object down.
func Find(b []byte, object Span, path ...string) (Span, bool) {
	for _, key := range path {
		var ok bool
		if object, ok = Get(b, object, key); !ok {
			return Span{}, false
		}
	}
	return object, true
}

// Root returns the span of the document's value, without the white space around it.
func Root(b []byte) Span {
	start, end := 0, len(b)
	for start < end && b[start] <= ' ' {
		start++
	}
	for end > start && b[end-1] <= ' ' {
		end--
	}
	return Span{start, end}
}
