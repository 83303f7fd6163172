package checkup

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/netguard"
)

const failStep = 250 * time.Millisecond

// Client returns a client for one run, so that what the run measures is not
// warmed by others.
func Client(guard *netguard.Guard, timeout time.Duration) *http.Client {
	c := guard.HTTPClient(timeout, maxBody)
	c.Transport = steady{c.Transport}
	return c
}

// steady makes every failed connection take a whole number of steps, so that
// its time does not tell a closed port from a name that does not exist.
type steady struct{ next http.RoundTripper }

func (s steady) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := s.next.RoundTrip(r)
	if err == nil || !errors.Is(err, netguard.ErrBlocked) {
		return resp, err
	}
	wait := time.NewTimer(failStep - time.Since(start)%failStep)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-r.Context().Done():
	}
	return nil, err
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the pool.
func (s steady) CloseIdleConnections() {
	if c, ok := s.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// secretsOf returns what must not be in a report: the values of the headers
// that were sent, and what follows their scheme; and the values of the URL's
// query, in which people put keys.
func secretsOf(raw string, fields []catalog.Header) []string {
	var list []string
	if u, err := url.Parse(raw); err == nil {
		for _, values := range u.Query() {
			list = append(list, values...)
		}
	}
	for _, f := range fields {
		v := f.Value.Reveal()
		list = append(list, v)
		if _, rest, ok := strings.Cut(v, " "); ok {
			list = append(list, rest)
		}
	}
	return list
}
