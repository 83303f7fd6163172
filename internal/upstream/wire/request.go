package wire

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Client exchanges one request for one response. Pool and Transport are clients.
type Client interface {
	// Do sends r and returns when the head of the answer is in. The response
	// must be closed or released. A non-nil error is one of this package's faults.
	Do(ctx context.Context, r *Request) (*Response, error)
}

// Dial connects to "host:port"; it is netguard's DialContext.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Field is one header field.
type Field struct{ Name, Value string }

// Target is where requests go, prepared once per server. It is immutable but for a hint.
type Target struct {
	url    *url.URL
	key    string // what connections are shared by: scheme and authority
	addr   string // host:port to dial
	host   string // name in the certificate
	secure bool
	static []Field
	tail   []byte // of every head: what follows the method
	inside http.Handler
	hint   atomic.Int32 // the class of buffer the last answer needed
}

// Request is one HTTP request. It is only read, and not kept after Do returns.
type Request struct {
	Method   string // POST when empty; GET and DELETE have no body
	Target   *Target
	Accept   string    // JSON and event streams when empty
	Fields   []Field   // for this request, after the target's own
	Body     [][]byte  // one JSON message, in parts
	Deadline time.Time // for the whole exchange, the reading of the answer included; zero means the context's alone
}

const (
	acceptBoth = "application/json, text/event-stream"
	bodyType   = "application/json"
	userAgent  = "headgate"
)

// ownFields are written by this package or would change how a message is framed.
var ownFields = []string{
	"accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
	"keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
}

// NewTarget prepares requests to u, each with the static fields. It returns
// ErrRequest when they can't be written; it does not judge where u leads.
func NewTarget(u *url.URL, static []Field) (*Target, error) {
	kept := *u // the caller's may change
	t := &Target{url: &kept, host: u.Hostname(), secure: u.Scheme == "https", static: slices.Clone(static)}
	path := u.RequestURI()
	if t.host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil ||
		!visible(u.Host) || !visible(path) || path[0] != '/' {
		return nil, ErrRequest
	}
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[t.secure]
	}
	t.addr = net.JoinHostPort(t.host, port)
	t.key = u.Scheme + "://" + strings.ToLower(t.addr)

	var b strings.Builder
	b.WriteString(" " + path + " HTTP/1.1\r\nHost: " + u.Host + "\r\nAccept-Encoding: identity\r\n")
	if !slices.ContainsFunc(static, func(f Field) bool { return strings.EqualFold(f.Name, "User-Agent") }) {
		t.static = append(t.static, Field{"User-Agent", userAgent})
	}
	for _, f := range t.static {
		if !f.valid() {
			return nil, ErrRequest
		}
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	t.tail = []byte(b.String())
	return t, nil
}

// String returns scheme and authority, for logs.
func (t *Target) String() string { return t.key }

func (f Field) valid() bool {
	if f.Name == "" || len(f.Name) > 128 {
		return false
	}
	for i := range len(f.Name) {
		if !isToken[f.Name[i]] {
			return false
		}
	}
	for i := range len(f.Value) {
		if c := f.Value[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	for _, own := range ownFields {
		if len(own) == len(f.Name) && strings.EqualFold(own, f.Name) {
			return false
		}
	}
	return len(f.Name) < 6 || !strings.EqualFold(f.Name[:6], "proxy-")
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// check reports what would make the request unwritable, and its sizes.
func (r *Request) check() (head, body int, err error) {
	if r.Target == nil || r.Accept != "" && !(Field{"x", r.Accept}).valid() {
		return 0, 0, ErrRequest
	}
	for _, part := range r.Body {
		body += len(part)
	}
	switch r.Method {
	case "", "POST":
	case "GET", "DELETE":
		if body > 0 {
			return 0, 0, ErrRequest
		}
	default:
		return 0, 0, ErrRequest
	}
	head = len(r.Target.tail) + len(r.Accept) + 160 // 160: method, Accept, Content-Type, Content-Length
	for _, f := range r.Fields {
		if !f.valid() {
			return 0, 0, ErrRequest
		}
		head += len(f.Name) + len(f.Value) + 4
	}
	return head, body, nil
}

func (r *Request) method() string {
	if r.Method == "" {
		return "POST"
	}
	return r.Method
}

func (r *Request) accept() string {
	if r.Accept == "" {
		return acceptBoth
	}
	return r.Accept
}

// appendHead appends the head of a checked request to b.
func (r *Request) appendHead(b []byte, body int) []byte {
	b = append(b, r.method()...)
	b = append(b, r.Target.tail...)
	b = append(b, "Accept: "...)
	b = append(b, r.accept()...)
	if r.method() == "POST" {
		b = append(b, "\r\nContent-Type: "+bodyType+"\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(body), 10)
	}
	b = append(b, "\r\n"...)
	for _, f := range r.Fields {
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = append(b, f.Value...)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}
