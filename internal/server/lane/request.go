package lane

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
)

// kept is what a connection's requests have in common, mostly all of it but
// the body. Strings are made once and never written to again, so handlers may
// keep them; what changed is made anew.
type kept struct {
	request http.Request
	lines   []line
}

// line is a header line as the last request had it at this place.
type line struct {
	sent, key string // the name as sent, and as net/http writes it
	values    []string
	value     string // values may have been changed by a handler
}

func (k *kept) init(remote string) {
	k.request = http.Request{URL: new(url.URL), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, RemoteAddr: remote}
}

// forget lets go of the texts.
func (k *kept) forget() {
	clear(k.lines)
	k.lines = k.lines[:0]
	clear(k.request.Header)
}

// request makes the request of the head that was read.
func (c *conn) request(ctx context.Context, t *turn) *http.Request {
	k, b := &c.kept, c.buf[c.start:c.end]
	r := &k.request
	if r.Method = http.MethodPost; c.head.get {
		r.Method = http.MethodGet
	}
	if target := c.head.target.of(b); r.RequestURI != string(target) {
		r.RequestURI = string(target)
	}
	if want := (url.URL{Path: r.RequestURI}); *r.URL != want {
		r.URL = &want
	}
	if host := c.head.host.of(b); r.Host != string(host) {
		r.Host = string(host)
	}
	clear(r.Header)
	for i, f := range c.head.fields {
		if i == len(k.lines) {
			k.lines = append(k.lines, line{})
		}
		l := &k.lines[i]
		l.set(f.name.of(b), f.value.of(b))
		r.Header[l.key] = l.values
	}
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
		l.sent = string(name)
		l.key = textproto.CanonicalMIMEHeaderKey(l.sent)
		l.values = nil
	}
	if len(l.values) != 1 || l.value != string(value) || l.values[0] != l.value {
		l.value = string(value)
		l.values = []string{l.value}
	}
}
