package lane

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
)

// kept is what a connection's requests have in common, mostly all of it but
// the body. Strings are made once and never written to again, so handlers may
// keep them; what changed is made anew.
type kept struct {
	past    past
	request http.Request
	lines   []line
	length  int      // which of them says the body's
	values  []string // theirs, beside one another; handlers get parts of it and may change them
}

// line is a header line as the last request had it at this place.
type line struct {
	key, value string // the name as net/http writes it
	sent       string // the name as sent
}

func (k *kept) init(remote string) {
	k.request = http.Request{URL: new(url.URL), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, RemoteAddr: remote}
}

// forget lets go of the texts.
func (k *kept) forget() {
	clear(k.lines[:cap(k.lines)])
	k.lines, k.values = k.lines[:0], nil
	clear(k.request.Header)
}

// take makes the texts of a head.
func (k *kept) take(b []byte, h *head) {
	r := &k.request
	if r.Method = http.MethodPost; h.get {
		r.Method = http.MethodGet
	}
	if target := h.target.of(b); r.RequestURI != string(target) {
		r.RequestURI = string(target)
	}
	if host := h.host.of(b); r.Host != string(host) {
		r.Host = string(host)
	}
	k.lines = slices.Grow(k.lines[:0], len(h.fields))[:len(h.fields)]
	for i, f := range h.fields {
		if f.value == h.digits {
			k.length = i
		}
		k.lines[i].set(f.name.of(b), f.value.of(b))
	}
	k.past.keep(b, h)
}

// fill makes the header map what was sent. Mostly it has these keys already;
// when it has others too, of the request before or of its handler, it is made
// anew.
func (k *kept) fill() {
	if !k.intact() {
		k.values = make([]string, len(k.lines))
		for i := range k.lines {
			k.values[i] = k.lines[i].value
		}
	}
	h := k.request.Header
	for range 2 {
		for i := range k.lines {
			h[k.lines[i].key] = k.values[i : i+1 : i+1]
		}
		if len(h) == len(k.lines) {
			return
		}
		clear(h)
	}
}

// intact reports whether the values are still those of the lines. Where one is
// not, all are made anew: a handler may have kept the others.
func (k *kept) intact() bool {
	if len(k.values) != len(k.lines) {
		return false
	}
	for i := range k.lines {
		if k.values[i] != k.lines[i].value {
			return false
		}
	}
	return true
}

// request makes the request of the head that was read.
func (c *conn) request(ctx context.Context, t *turn) *http.Request {
	k, b := &c.kept, c.buf[c.start:c.end]
	if c.head.again {
		k.lines[k.length].say(c.head.digits.of(b))
	} else {
		k.take(b, &c.head)
	}
	r := &k.request
	if want := (url.URL{Path: r.RequestURI}); *r.URL != want {
		r.URL = &want
	}
	k.fill()
	r.ContentLength = c.head.length
	t.response.init(c, &t.body)
	t.body = body{c: c, left: c.head.length}
	r.Body = &t.body
	if c.head.length == 0 {
		r.Body = http.NoBody
	}
	return r.WithContext(ctx)
}

// turn is what one request has to itself; a handler that goes on after its end
// meets nobody else's.
type turn struct {
	response
	body body
}

func (l *line) set(name, value []byte) {
	if l.sent != string(name) {
		l.key = shared(textproto.CanonicalMIMEHeaderKey(string(name)))
		if l.sent = l.key; l.key != string(name) {
			l.sent = string(name)
		}
	}
	l.say(value)
}

func (l *line) say(value []byte) {
	if l.value != string(value) {
		l.value = string(value)
	}
}

// shared returns the one text of a name for all connections, of names that
// net/http does not share.
func shared(key string) string {
	switch key {
	case "Mcp-Session-Id":
		return "Mcp-Session-Id"
	case "Mcp-Protocol-Version":
		return "Mcp-Protocol-Version"
	case "Mcp-Method":
		return "Mcp-Method"
	case "Mcp-Name":
		return "Mcp-Name"
	}
	return key
}
