package wire

import (
	"bytes"
	"strings"
)

const (
	maxHead    = 64 << 10
	maxInterim = 8 // 1xx answers before the real one
)

// ContentKind says what a body is, by its media type alone.
type ContentKind uint8

// The kinds of content MCP knows, and the rest.
const (
	None  ContentKind = iota // no Content-Type
	JSON                     // application/json
	SSE                      // text/event-stream
	Other                    // anything else
)

var isToken = func() (t [256]bool) {
	for c := byte('!'); c < 0x7f; c++ {
		t[c] = !strings.ContainsRune("\"(),/:;<=>?@[\\]{}", rune(c))
	}
	return t
}()

// span is a piece of the response's buffer, which may move but keeps its order.
type span struct{ from, to int }

// The fields a caller may ask for. Everything else an upstream sends stays here.
const (
	contentType = iota
	sessionID
	retryAfter
	allow
	authenticate // the first of at most authenticates; this field may come often
	lastField    = authenticate + authenticates

	authenticates = 4
)

// head is what the head of an answer says, as far as it matters.
type head struct {
	status  int
	length  int64 // Content-Length
	sized   bool  // it has one
	chunked bool
	close   bool // no further answer on this connection
	old     bool // HTTP/1.0
	kind    ContentKind
	fields  [lastField]span
}

func (h *head) statusLine(line []byte) error {
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return protocol("no HTTP/1 status line")
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return protocol("the status is no number")
		}
		h.status = h.status*10 + int(c-'0')
	}
	if h.status < 100 || h.status > 599 || len(line) > 12 && line[12] != ' ' || !printable(line[12:]) {
		return protocol("bad status line")
	}
	h.old = line[7] == '0'
	h.close = h.old
	return nil
}

// field reads one field line that begins at offset at of the buffer.
func (h *head) field(line []byte, at int) error {
	name, v, err := splitField(line)
	if err != nil {
		return err
	}
	return h.known(name, line[v.from:v.to], span{at + v.from, at + v.to})
}

// splitField returns the name of a field line and where its value is.
func splitField(line []byte) (name []byte, v span, err error) {
	colon := 0
	for colon < len(line) && isToken[line[colon]] {
		colon++
	}
	switch {
	case colon == len(line), colon == 0 && line[0] == ':':
		return nil, v, protocol("a field without a name")
	case line[colon] != ':': // a space before the colon, or a folded line, ends here too
		return nil, v, protocol("bad field name")
	}
	name = line[:colon]
	from, to := colon+1, len(line)
	for from < to && (line[from] == ' ' || line[from] == '\t') {
		from++
	}
	for to > from && (line[to-1] == ' ' || line[to-1] == '\t') {
		to--
	}
	if !printable(line[from:to]) {
		return nil, v, protocol("bad field value")
	}
	return name, span{from, to}, nil
}

func (h *head) known(name, value []byte, s span) error {
	switch len(name) {
	case len("allow"):
		if is(name, "allow") {
			return h.keep(allow, s)
		}
	case len("connection"):
		if is(name, "connection") {
			h.close = h.close || hasToken(value, "close")
		}
	case len("retry-after"):
		if is(name, "retry-after") {
			return h.keep(retryAfter, s)
		}
	case len("content-type"):
		if is(name, "content-type") {
			h.kind = kindOf(value)
			return h.keep(contentType, s)
		}
	case len("content-length"): // and mcp-session-id
		if is(name, "content-length") {
			return h.contentLength(value)
		}
		if is(name, "mcp-session-id") {
			return h.keep(sessionID, s)
		}
	case len("content-encoding"): // and www-authenticate
		if is(name, "content-encoding") && len(value) > 0 && !is(value, "identity") {
			return protocol("the body is packed although none was asked for")
		}
		if is(name, "www-authenticate") {
			for i := authenticate; i < lastField; i++ {
				if h.fields[i] == (span{}) {
					h.fields[i] = s
					break
				}
			}
		}
	case len("transfer-encoding"):
		if is(name, "transfer-encoding") {
			if h.chunked || !is(value, "chunked") {
				return protocol("unknown transfer encoding")
			}
			h.chunked = true
		}
	}
	return nil
}

// keep remembers a field that may come once only: which of two would count is
// a matter on which readers differ.
func (h *head) keep(i int, s span) error {
	if h.fields[i] != (span{}) {
		return protocol("a field that may come once came twice")
	}
	h.fields[i] = s
	return nil
}

func (h *head) contentLength(value []byte) error {
	if h.sized || len(value) == 0 || len(value) > 18 {
		return protocol("bad or second Content-Length")
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return protocol("Content-Length is no number")
		}
		h.length = h.length*10 + int64(c-'0')
	}
	h.sized = true
	return nil
}

// finish checks what only the whole head shows.
func (h *head) finish() error {
	if h.chunked && (h.sized || h.old) {
		return protocol("chunked together with a length or with HTTP/1.0")
	}
	return nil
}

// is reports whether b is the lower-case text in any case.
func is(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c != lower[i] && (c < 'A' || c > 'Z' || c+('a'-'A') != lower[i]) {
			return false
		}
	}
	return true
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func hasToken(list []byte, lower string) bool {
	for part := range bytes.SplitSeq(list, []byte(",")) {
		if is(bytes.TrimSpace(part), lower) {
			return true
		}
	}
	return false
}

// kindOf looks at the media type and leaves its parameters alone.
func kindOf(value []byte) ContentKind {
	media, _, _ := bytes.Cut(value, []byte(";"))
	media = bytes.TrimSpace(media)
	switch {
	case len(media) == 0:
		return None
	case is(media, "application/json"):
		return JSON
	case is(media, "text/event-stream"):
		return SSE
	default:
		return Other
	}
}
