package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
)

// Transport is a Client over net/http, for upstreams that need HTTP/2.
type Transport struct {
	next *http.Transport
	rc   recycler
}

// NewTransport returns a transport that connects with dial.
func NewTransport(dial Dial, o Options) *Transport {
	o = o.filled()
	return &Transport{next: &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        o.TLS,
		TLSHandshakeTimeout:    connectTimeout,
		MaxConnsPerHost:        o.MaxConns,
		MaxIdleConnsPerHost:    o.MaxIdle,
		MaxIdleConns:           o.MaxIdleAll,
		IdleConnTimeout:        o.IdleTimeout,
		MaxResponseHeaderBytes: maxHead,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}}
}

// Close closes idle connections.
func (t *Transport) Close() { t.next.CloseIdleConnections() }

// Do implements Client.
func (t *Transport) Do(ctx context.Context, r *Request) (*Response, error) {
	_, size, err := r.check()
	if err != nil {
		return nil, err
	}
	s := &stream{}
	ctx, s.cancel = withDeadline(ctx, r.Deadline)
	s.ctx = ctx
	req, err := s.request(r, size)
	if err != nil {
		s.cancel()
		return nil, ErrRequest.Because(err)
	}
	answer, err := t.next.RoundTrip(req)
	if err != nil {
		err = s.fault(err)
		s.cancel()
		return nil, err
	}
	s.body = answer.Body
	resp := t.rc.response(s, classes[0])
	if err := resp.adopt(answer); err != nil {
		resp.Release()
		return nil, err
	}
	return resp, nil
}

// stream is the source of an answer that came by net/http.
type stream struct {
	ctx    context.Context
	cancel context.CancelFunc
	body   io.ReadCloser
	sent   bool // a connection was found, so something may have left
}

func (s *stream) request(r *Request, size int) (*http.Request, error) {
	ctx := httptrace.WithClientTrace(s.ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { s.sent = true },
	})
	req, err := http.NewRequestWithContext(ctx, r.method(), r.Target.url.String(), nil)
	if err != nil {
		return nil, err
	}
	if r.method() == http.MethodPost {
		// Without GetBody net/http can't send the body a second time.
		req.Body = io.NopCloser(bytes.NewReader(bytes.Join(r.Body, nil)))
		req.ContentLength = int64(size)
		req.Header.Set("Content-Type", bodyType)
	}
	req.Header.Set("Accept", r.accept())
	req.Header.Set("Accept-Encoding", "identity")
	for _, f := range r.Target.static {
		req.Header.Add(f.Name, f.Value)
	}
	for _, f := range r.Fields {
		req.Header.Add(f.Name, f.Value)
	}
	return req, nil
}

// adopt writes the part of the head that matters into the buffer and reads it
// with the rules of Pool, so that both clients see an answer alike. Framing is
// net/http's.
func (r *Response) adopt(answer *http.Response) error {
	b := append(r.buf.b[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(answer.StatusCode), 10)
	b = append(b, "\r\n"...)
	for _, name := range []string{"Content-Type", "Mcp-Session-Id", "Retry-After", "Allow", "Www-Authenticate", "Content-Encoding"} {
		for _, value := range answer.Header[name] {
			b = append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
		}
	}
	b = append(b, "\r\n"...)
	if len(b) > len(r.buf.b) {
		r.rc.free(r.buf)
		r.buf = r.rc.buffer(len(b))
	}
	r.r1 = copy(r.buf.b, b)
	return r.readHead()
}

// Read implements source.
func (s *stream) Read(p []byte) (int, error) { return s.body.Read(p) }

// glance implements source; net/http can't look without waiting.
func (s *stream) glance([]byte) int { return 0 }

// fault implements source.
func (s *stream) fault(err error) error {
	cause := s.ctx.Err()
	var bad *http.ProtocolError
	var text textproto.ProtocolError
	switch {
	case !s.sent:
		return ErrDial.Because(errors.Join(cause, err))
	case errors.Is(cause, context.DeadlineExceeded):
		return ErrTimeout.Because(cause)
	case cause != nil:
		return ErrSent.Because(cause)
	case errors.As(err, &bad), errors.As(err, &text):
		return ErrProtocol.Because(err)
	default:
		return ErrSent.Because(err)
	}
}

// finish implements source; net/http knows itself what may be used again.
func (s *stream) finish(bool) {
	s.body.Close()
	s.cancel()
}
