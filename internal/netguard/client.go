package netguard

import (
	"io"
	"net/http"
	"time"
)

const (
	defaultMaxBody = 16 << 20
	maxHeadBytes   = 64 << 10
)

// HTTPClient returns a client for occasional requests: every connection is
// checked, redirects are answers and not followed, proxy variables are ignored,
// and reading more than maxBody bytes of an answer (16 MiB when it is not
// positive) fails with ErrBodyTooLarge. The timeout covers the whole exchange.
func (g *Guard) HTTPClient(timeout time.Duration, maxBody int64) *http.Client {
	if maxBody <= 0 {
		maxBody = defaultMaxBody
	}
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &transport{guard: g, maxBody: maxBody, next: &http.Transport{
			DialContext:            g.DialContext,
			TLSHandshakeTimeout:    connectTimeout,
			MaxIdleConnsPerHost:    4,
			MaxIdleConns:           64,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: maxHeadBytes,
			ForceAttemptHTTP2:      true,
		}},
	}
}

type transport struct {
	guard   *Guard
	maxBody int64
	next    *http.Transport
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.guard.checkParts(r.URL); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &limitedBody{ReadCloser: resp.Body, left: t.maxBody}
	return resp, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the pool.
func (t *transport) CloseIdleConnections() { t.next.CloseIdleConnections() }

// limitedBody counts what is read after decompression, so that a small packed
// answer can't become a large one.
type limitedBody struct {
	io.ReadCloser
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrBodyTooLarge
	}
	// One byte more than is left tells an answer of exactly the limit from a longer one.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, ErrBodyTooLarge
	}
	return n, err
}
