package checkup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"headgate/internal/mcp"
)

// oldLine is the transport of 2024-11-05: requests are posted to the address
// that a stream names, and answered on the stream.
type oldLine struct {
	line    *line
	post    string
	replies chan []byte
	ended   chan struct{}
	close   func()
}

var errNoEndpoint = errors.New("the stream names no address to post to")

// openOld opens the stream and waits for the address. The address must be of
// the stream's own origin: another one would get the credentials.
func openOld(ctx context.Context, l *line) (*oldLine, error) {
	ctx, cancel := context.WithCancel(ctx)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream")
	for _, f := range l.fields {
		r.Header.Set(f.Name, f.Value.Reveal())
	}
	resp, err := l.client.Do(r)
	if err != nil {
		cancel()
		return nil, err
	}
	o := &oldLine{line: l, replies: make(chan []byte, 16), ended: make(chan struct{})}
	o.close = func() { cancel(); resp.Body.Close(); <-o.ended }
	endpoint := make(chan string, 1)
	go o.listen(ctx, resp.Body, endpoint)
	wait := time.NewTimer(l.patience)
	defer wait.Stop()
	select {
	case at := <-endpoint:
		if o.post = resolve(l.url, at); o.post != "" {
			return o, nil
		}
	case <-o.ended:
	case <-wait.C:
	case <-ctx.Done():
	}
	o.close()
	return nil, errNoEndpoint
}

func resolve(base, ref string) string {
	b, err1 := url.Parse(base)
	u, err2 := url.Parse(ref)
	if err1 != nil || err2 != nil {
		return ""
	}
	u = b.ResolveReference(u)
	if u.Scheme != b.Scheme || u.Host != b.Host {
		return ""
	}
	return u.String()
}

func (o *oldLine) listen(ctx context.Context, body io.Reader, endpoint chan<- string) {
	defer close(o.ended)
	_ = events(body, func(name string, data []byte) bool {
		if name == "endpoint" {
			select {
			case endpoint <- string(data):
			default:
			}
			return true
		}
		select {
		case o.replies <- bytes.Clone(data):
		case <-ctx.Done():
			return false
		}
		return true
	})
}

// send posts a message and waits for its answer on the stream.
func (o *oldLine) send(ctx context.Context, body, id []byte) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, o.line.patience)
	defer cancel()
	start := time.Now()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.post, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	for _, f := range o.line.fields {
		r.Header.Set(f.Name, f.Value.Reveal())
	}
	resp, err := o.line.client.Do(r)
	if err != nil {
		return nil, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxNoise))
	resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header, kind: "sse", proto: resp.Proto, tls: resp.TLS, wrong: "There is no reply."}
	for len(id) > 0 && resp.StatusCode < 300 {
		select {
		case message := <-o.replies:
			if a.take(message, id) {
				a.took, a.firstEvent = time.Since(start), time.Since(start)
				return a, nil
			}
			o.line.odd.note(mcp.Legacy, a.body, &a.env)
			a.env = mcp.Envelope{}
		case <-o.ended:
			return a, io.ErrUnexpectedEOF
		case <-ctx.Done():
			return a, ctx.Err()
		}
	}
	a.took = time.Since(start)
	return a, nil
}
