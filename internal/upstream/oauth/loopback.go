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
	"time"
)

const callback = "/callback"

// Loopback hears the redirect of a sign-in on this machine (RFC 8252), for a
// program whose user has a browser here.
type Loopback struct {
	listener net.Listener
	server   *http.Server
	waiting  chan waiting
}

type waiting struct {
	state  string
	answer chan url.Values
}

// Listen listens on 127.0.0.1; port 0 is any. Close it.
func Listen(port int) (*Loopback, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	l := &Loopback{listener: listener, waiting: make(chan waiting, 1)}
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
	w := waiting{u.Query().Get("state"), make(chan url.Values, 1)}
	select {
	case <-l.waiting: // nobody came for the last one
	default:
	}
	l.waiting <- w
	select {
	case answer := <-w.answer:
		return answer, nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, ErrWaited
		}
		return nil, ctx.Err()
	}
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
	select {
	case wait := <-l.waiting:
		answer := r.URL.Query()
		if subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(wait.state)) == 1 {
			wait.answer <- answer
			_, _ = io.WriteString(w, "Headgate has the answer. You can close this page and go back to the terminal.\n")
			return
		}
		select {
		case l.waiting <- wait:
		default: // another sign-in has begun
		}
	default:
	}
	http.Error(w, "No sign-in is waiting for this answer. Begin again in the terminal.", http.StatusBadRequest)
}
