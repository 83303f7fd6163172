package oauth

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

const callback = "/callback"

// Loopback hears the redirect of a sign-in on this machine (RFC 8252), for a
// program whose user has a browser here.
type Loopback struct {
	listener net.Listener
	server   *http.Server

	mu     sync.Mutex
	state  string          // that is waited for; "": none
	answer chan url.Values // to whoever waits
}

// Listen listens on 127.0.0.1; port 0 is any. Close it.
func Listen(port int) (*Loopback, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	l := &Loopback{listener: listener}
	l.server = &http.Server{Handler: http.HandlerFunc(l.hear), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 32 << 10}
	go func() { _ = l.server.Serve(listener) }()
	return l, nil
}

// Redirect is the URL that redirects go to.
func (l *Loopback) Redirect() string { return "http://" + l.listener.Addr().String() + callback }

// Close stops listening; a page that is being answered is answered.
func (l *Loopback) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := l.server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		_ = l.server.Close()
	}
}

// Wait waits for the redirect that answers an authorization page.
func (l *Loopback) Wait(ctx context.Context, page string) (url.Values, error) {
	u, err := url.Parse(page)
	if err != nil {
		return nil, ErrEndpoint
	}
	answer := make(chan url.Values, 1)
	l.mu.Lock()
	l.state, l.answer = u.Query().Get("state"), answer
	l.mu.Unlock()
	select {
	case a := <-answer:
		return a, nil
	case <-ctx.Done():
		l.take(u.Query().Get("state"))
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, ErrWaited
		}
		return nil, ctx.Err()
	}
}

// take ends the wait for the answer with a state and returns where that goes;
// nil when nobody waits for it.
func (l *Loopback) take(state string) chan url.Values {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == "" || subtle.ConstantTimeCompare([]byte(state), []byte(l.state)) != 1 {
		return nil
	}
	l.state = ""
	return l.answer
}

// hear takes the one redirect with the state that is waited for. Any page in
// the browser can come here, so others change nothing.
func (l *Loopback) hear(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet || r.URL.Path != callback || r.Host != l.listener.Addr().String() {
		http.Error(w, "There is nothing here.", http.StatusNotFound)
		return
	}
	given := r.URL.Query()
	answer := l.take(given.Get("state"))
	if answer == nil {
		http.Error(w, "No sign-in is waiting for this answer. Begin again in the terminal.", http.StatusBadRequest)
		return
	}
	answer <- given
	_, _ = io.WriteString(w, "Headgate has the answer. You can close this page and go back to the terminal.\n")
}
