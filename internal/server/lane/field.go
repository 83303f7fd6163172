package lane

import (
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// appendValue appends a header value as net/http writes it: without space
// around it, and line breaks, which would begin a header of their own, as
// spaces.
func appendValue(b []byte, v string) []byte {
	from := len(b)
	b = append(b, textproto.TrimString(v)...)
	if strings.IndexByte(v, '\n') < 0 && strings.IndexByte(v, '\r') < 0 {
		return b
	}
	for i := from; i < len(b); i++ {
		if b[i] == '\r' || b[i] == '\n' {
			b[i] = ' '
		}
	}
	return b
}

// frames reports whether a header says where the answer ends, in any case of
// letters.
func frames(name string) bool {
	switch len(name) {
	case len("Trailer"):
		return strings.EqualFold(name, "Trailer")
	case len("Connection"):
		return strings.EqualFold(name, "Connection")
	case len("Content-Length"):
		return strings.EqualFold(name, "Content-Length")
	case len("Transfer-Encoding"):
		return strings.EqualFold(name, "Transfer-Encoding")
	}
	return false
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func hasClose(values []string) bool {
	for _, v := range values {
		for word := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(textproto.TrimString(word), "close") {
				return true
			}
		}
	}
	return false
}

// isToken reports whether a header name can be written.
func isToken(name string) bool {
	for i := range len(name) {
		if !token[name[i]] {
			return false
		}
	}
	return name != ""
}

var token = func() (t [256]bool) {
	for c := range 256 {
		t[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	}
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		t[c] = true
	}
	return t
}()

// moment is the time as the sweeper saw it last: exact enough for a Date and
// for idle connections, and no look at the clock for each request.
type moment struct {
	at   time.Time
	date string // the line
}

func (l *Lane) note(now time.Time) {
	m := l.now.Load()
	if m == nil || m.at.Unix() != now.Unix() {
		l.now.Store(&moment{now, "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"})
	} else {
		l.now.Store(&moment{now, m.date})
	}
}
