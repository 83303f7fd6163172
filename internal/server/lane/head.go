package lane

import "bytes"

const (
	maxHead   = 32 << 10
	maxFields = 64
	maxBody   = 4 << 20
)

// verdict is what a connection's next bytes are.
type verdict uint8

const (
	more verdict = iota // the head is not complete
	hot                 // ours, and complete
	cold                // net/http's
	over                // there are none
)

// span is a part of a head, counted from its first byte.
type span struct{ from, to int }

func (s span) of(b []byte) []byte { return b[s.from:s.to] }

type field struct{ name, value span }

// head is a request's head, as far as it has come in. It is judged line by
// line, so that what is not ours leaves with the first line that shows it.
type head struct {
	end    int // of what has been judged
	begun  bool
	get    bool // of an event stream
	events bool // Accept mentions them
	target span
	host   span
	fields []field // without Host, as net/http keeps them
	length int64   // of the body; -1 until it is said
	digits span    // that said it
	again  bool    // it says what the last one said, but for its length; no span is known
}

func (h *head) reset() { *h = head{fields: h.fields[:0], length: -1} }

// read judges the lines of b that it has not judged yet. b begins with the
// head and may hold more than it.
func (h *head) read(b []byte, paths []string) verdict {
	for {
		i := bytes.IndexByte(b[h.end:], '\n')
		if i < 0 {
			if len(b) >= maxHead || !h.begun && !promising(b, paths) {
				return cold
			}
			return more
		}
		line := span{h.end, h.end + i - 1}
		h.end += i + 1
		if h.end > maxHead || i == 0 || b[line.to] != '\r' {
			return cold
		}
		switch {
		case !h.begun:
			if !h.request(b, line, paths) {
				return cold
			}
		case i == 1:
			if h.host.to == 0 || !h.told() {
				return cold
			}
			return hot
		case !h.field(b, line):
			return cold
		}
	}
}

// told reports whether the head says what it must: a POST how long its body
// is, a GET that it is for an event stream. A GET has no body.
func (h *head) told() bool {
	if h.get {
		h.length = 0
		return h.events
	}
	return h.length >= 0
}

const (
	methodPost = "POST "
	methodGet  = "GET "
	version    = " HTTP/1.1"
)

// promising reports whether what has come in of a request line may become one
// of ours.
func promising(b []byte, paths []string) bool {
	method := methodPost
	if len(b) > 0 && b[0] == methodGet[0] {
		method = methodGet
	}
	if n := min(len(b), len(method)); string(b[:n]) != method[:n] {
		return false
	}
	b = b[min(len(b), len(method)):]
	for _, p := range paths {
		if n := min(len(b), len(p)); string(b[:n]) == p[:n] {
			return true
		}
	}
	return false
}

// request judges the request line: one of the paths or something below it,
// of bytes that stand for themselves. No query, escape, dot or empty segment.
func (h *head) request(b []byte, line span, paths []string) bool {
	text, method := line.of(b), methodPost
	if h.get = bytes.HasPrefix(text, []byte(methodGet)); h.get {
		method = methodGet
	}
	if len(text) < len(method)+len(version) || string(text[:len(method)]) != method || string(text[len(text)-len(version):]) != version {
		return false
	}
	h.begun, h.target = true, span{line.from + len(method), line.to - len(version)}
	target := h.target.of(b)
	for i, c := range target {
		if class[c]&inPath == 0 || c == '/' && i > 0 && target[i-1] == '/' {
			return false
		}
	}
	for _, p := range paths {
		if len(target) >= len(p) && string(target[:len(p)]) == p && (len(target) == len(p) || target[len(p)] == '/') {
			return true
		}
	}
	return false
}

// field judges a header line. A name may come once, whichever it is.
func (h *head) field(b []byte, line span) bool {
	colon := bytes.IndexByte(line.of(b), ':')
	if colon <= 0 || len(h.fields) == maxFields {
		return false
	}
	f := field{span{line.from, line.from + colon}, span{line.from + colon + 1, line.to}}
	name := f.name.of(b)
	for _, c := range name {
		if class[c]&inName == 0 {
			return false
		}
	}
	f.value = trim(b, f.value)
	for _, c := range f.value.of(b) {
		if class[c]&inValue == 0 {
			return false
		}
	}
	if len(name) == len("host") && same(name, "host") {
		return h.setHost(b, f.value)
	}
	for _, g := range h.fields {
		if g.name.to-g.name.from == len(name) && bytes.EqualFold(g.name.of(b), name) {
			return false
		}
	}
	h.fields = append(h.fields, f)
	return h.meant(b, name, f.value)
}

// meant judges the fields that say how a request is read. Pragma is one of
// them because net/http makes a Cache-Control of it.
func (h *head) meant(b, name []byte, value span) bool {
	switch len(name) {
	case len("te"):
		return !same(name, "te")
	case len("pragma"):
		h.events = h.events || same(name, "accept") && bytes.Contains(value.of(b), []byte("text/event-stream"))
		return !same(name, "pragma") && !same(name, "expect")
	case len("upgrade"):
		return !same(name, "upgrade") && !same(name, "trailer")
	case len("connection"):
		return !same(name, "connection") || same(value.of(b), "keep-alive")
	case len("content-length"):
		return !same(name, "content-length") || !h.get && h.setLength(b, value)
	case len("transfer-encoding"):
		return !same(name, "transfer-encoding")
	}
	return true
}

func (h *head) setHost(b []byte, value span) bool {
	if h.host.to != 0 || value.from == value.to {
		return false
	}
	for _, c := range value.of(b) {
		if class[c]&inHost == 0 {
			return false
		}
	}
	h.host = value
	return true
}

func (h *head) setLength(b []byte, value span) bool {
	digits := value.of(b)
	if len(digits) == 0 || len(digits) > 7 || digits[0] == '0' && len(digits) > 1 {
		return false
	}
	n := int64(0)
	for _, c := range digits {
		if c < '0' || c > '9' {
			return false
		}
		n = n*10 + int64(c-'0')
	}
	h.length, h.digits = n, value
	return n <= maxBody
}

// past is the last head that was taken, to know the next one by.
type past struct {
	text   []byte // none when there is nothing to compare with
	digits span   // of its length
}

// keep takes a copy of a head that was judged. Large ones are not worth it.
func (p *past) keep(b []byte, h *head) {
	p.text, p.digits = p.text[:0], h.digits
	if !h.get && h.end <= firstBuffer {
		p.text = append(p.text, b[:h.end]...)
	}
}

// again reports whether b begins with the same head, which needs no second
// judgement. Most clients say the same with each of their calls, but for the
// length of it.
func (p *past) again(b []byte, h *head) bool {
	if len(p.text) == 0 || !bytes.HasPrefix(b, p.text[:p.digits.from]) {
		return false
	}
	after := p.text[p.digits.to:]
	length := span{p.digits.from, p.digits.from}
	for length.to < len(b) && b[length.to] >= '0' && b[length.to] <= '9' {
		length.to++
	}
	if !bytes.HasPrefix(b[length.to:], after) || !h.setLength(b, length) {
		return false
	}
	h.again, h.end = true, length.to+len(after)
	return true
}

// same compares bytes with a text in lower case, whatever their case. It is
// for names: | 0x20 makes other bytes alike too.
func same(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c|0x20 != lower[i] {
			return false
		}
	}
	return true
}

func trim(b []byte, s span) span {
	for s.from < s.to && (b[s.from] == ' ' || b[s.from] == '\t') {
		s.from++
	}
	for s.from < s.to && (b[s.to-1] == ' ' || b[s.to-1] == '\t') {
		s.to--
	}
	return s
}

// The classes of bytes. Each holds less than HTTP allows.
const (
	inPath = 1 << iota
	inName
	inValue
	inHost
)

var class = func() (t [256]uint8) {
	for c := range 256 {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
			t[c] = inPath | inName | inHost
		case c == '_', c == '/':
			t[c] = inPath
		case c == '.', c == ':', c == '[', c == ']':
			t[c] = inHost
		}
		if c >= ' ' && c < 0x7f || c == '\t' {
			t[c] |= inValue
		}
	}
	return t
}()
