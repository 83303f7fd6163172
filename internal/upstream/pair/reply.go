package pair

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"

	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/upstream/wire"
)

var (
	errFull     = errors.New("too many sessions with this server")
	errEndpoint = errors.New("the stream does not name a URL of its own origin to post to")
)

// refusal is a status that the server answered instead of a stream.
type refusal struct {
	status    int
	challenge string
}

func (r *refusal) Error() string { return fmt.Sprintf("the server answered %d", r.status) }

// fail answers for a server that could not be reached or refused.
func fail(w http.ResponseWriter, err error) {
	var r *refusal
	switch {
	case errors.As(err, &r) && r.status >= 400:
		if r.challenge != "" {
			w.Header().Set("WWW-Authenticate", r.challenge)
		}
		w.WriteHeader(r.status)
	case errors.Is(err, errFull):
		w.WriteHeader(http.StatusServiceUnavailable)
	case errors.Is(err, wire.ErrSent):
		panic(http.ErrAbortHandler) // it may have acted on it
	default:
		refuse(w, http.StatusBadGateway, nil, mcp.CodeInternal, fault.Of(err).Message)
	}
}

func refuse(w http.ResponseWriter, status int, id []byte, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(mcp.AppendError(nil, id, code, text, nil))
}

// answer is what goes back to a request.
type answer struct {
	w      http.ResponseWriter
	stream bool // it has begun
}

func (a *answer) begin() {
	a.stream = true
	a.w.Header().Set("Content-Type", "text/event-stream")
	a.w.WriteHeader(http.StatusOK)
	a.flush()
}

func (a *answer) flush() { _ = http.NewResponseController(a.w).Flush() }

// event sends a message as an event. White space between its tokens may hold
// line breaks, which would end the field.
func (a *answer) event(message []byte) {
	if !a.stream {
		a.begin()
	}
	line := bytes.ReplaceAll(bytes.ReplaceAll(message, []byte("\r"), nil), []byte("\n"), []byte(" "))
	_, _ = a.w.Write(append(append([]byte("data: "), line...), "\n\n"...))
	a.flush()
}

// end sends the last message.
func (a *answer) end(message []byte) {
	if a.stream {
		a.event(message)
		return
	}
	a.w.Header().Set("Content-Type", "application/json")
	_, _ = a.w.Write(message)
}
