package gateway

import (
	"context"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
)

// exchange is one POST: the message, and the way its answer goes out. It is
// reused, buffers included.
type exchange struct {
	g        *Gateway
	w        http.ResponseWriter
	r        *http.Request
	by       *access.Principal
	ep       *endpoint
	s        *session // legacy only
	era      mcp.Era
	rev      mcp.Revision
	body     []byte
	e        mcp.Envelope
	noEvents bool            // the answer must come alone
	asking   *catalog.Server // whose requests the answer's stream may carry
	sent     []byte          // the message as the server gets it, when a name was rewritten
	out      []byte          // answers made here
	sink     sink
}

func (g *Gateway) begin(w http.ResponseWriter, r *http.Request, by *access.Principal, ep *endpoint) *exchange {
	x := g.buffers.Get().(*exchange)
	x.g, x.w, x.r, x.by, x.ep = g, w, r, by, ep
	x.sink.x = x
	return x
}

func (x *exchange) end() {
	x.sink.stop()
	g := x.g
	*x = exchange{body: spare(x.body), sent: spare(x.sent), out: spare(x.out), e: x.e}
	g.buffers.Put(x)
}

// spare returns a buffer for the next message, unless it grew beyond what is
// worth keeping for each of them.
func spare(b []byte) []byte {
	if cap(b) > 128<<10 {
		return nil
	}
	return b[:0]
}

// read reads the whole body, at most maxBody.
func (x *exchange) read() error {
	ct := x.r.Header.Get("Content-Type")
	if ct != "application/json" {
		if t, _, err := mime.ParseMediaType(ct); err != nil || t != "application/json" {
			return errMedia
		}
	}
	n := x.r.ContentLength
	if n > maxBody {
		return errTooLarge
	}
	if n >= 0 {
		if int64(cap(x.body)) < n {
			x.body = make([]byte, n)
		}
		x.body = x.body[:n]
		_, err := io.ReadFull(x.r.Body, x.body)
		if err != nil {
			return mcp.ErrUnreadable.Because(err)
		}
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(x.r.Body, maxBody+1))
	if err != nil {
		return mcp.ErrUnreadable.Because(err)
	}
	if len(b) > maxBody {
		return errTooLarge
	}
	x.body = b
	return nil
}

// id returns the raw id of the message, nil for none.
func (x *exchange) id() []byte {
	if x.e.ID.Empty() {
		return nil
	}
	return x.e.ID.Of(x.body)
}

// fail answers with a fault; after the stream has begun, as its last event.
func (x *exchange) fail(err error) {
	f := note(x.r, err)
	x.out = appendFault(x.out[:0], x.id(), x.era, x.r, f)
	if x.sink.begun() {
		x.sink.last(x.out)
		return
	}
	refuse(x.w, x.r, statusOf(f, x.era), x.out, f)
}

// answer sends the final message, as JSON, or as the last event of a stream
// that has begun.
func (x *exchange) answer(status int, body []byte) {
	if x.sink.begun() {
		x.sink.last(body)
		return
	}
	writeJSON(x.w, status, body)
}

// result answers with a result built here.
func (x *exchange) result(result []byte) {
	x.out = mcp.AppendResult(x.out[:0], x.id(), result)
	x.answer(http.StatusOK, x.out)
}

// streams reports whether the client takes an event stream.
func (x *exchange) streams() bool {
	if x.noEvents {
		return false
	}
	a := x.r.Header.Get("Accept")
	return a == "" || strings.Contains(a, "text/event-stream") || strings.Contains(a, "*/*")
}

// sink writes what comes before the answer as server-sent events, beginning
// the stream with the first of them.
type sink struct {
	x    *exchange
	mu   sync.Mutex
	open bool
	buf  []byte
	quit chan struct{}
	gone chan struct{} // keepAlive has returned
}

func (k *sink) begun() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.open
}

// Event implements upstream.Sink.
func (k *sink) Event(message []byte, e *mcp.Envelope) error {
	if e.Kind == mcp.Request {
		return k.x.question(message, e)
	}
	return k.send(message)
}

func (k *sink) send(message []byte) error {
	if !k.x.streams() {
		return nil // the client takes no events; the answer is what counts
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.open {
		k.open = true
		streamHeaders(k.x.w)
		k.quit, k.gone = make(chan struct{}), make(chan struct{})
		go k.keepAlive(k.quit, k.gone)
	}
	return k.write(message)
}

// write sends one event; the caller holds the lock. A client that has gone is
// no reason to stop: what the server answers is recorded all the same.
func (k *sink) write(message []byte) error {
	k.buf = appendEvent(k.buf[:0], "", message)
	soon(k.x.w)
	if _, err := k.x.w.Write(k.buf); err != nil {
		return nil
	}
	_ = http.NewResponseController(k.x.w).Flush()
	return nil
}

func (k *sink) last(message []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	_ = k.write(message)
}

// keepAlive sends comments while nothing else is said, so that proxies keep
// the stream open.
func (k *sink) keepAlive(quit, gone chan struct{}) {
	defer close(gone)
	t := time.NewTicker(keepAlive)
	defer t.Stop()
	for {
		select {
		case <-quit:
			return
		case <-t.C:
			k.mu.Lock()
			select {
			case <-quit: // ended while we waited for the lock
			default:
				soon(k.x.w)
				_, _ = io.WriteString(k.x.w, ": keep-alive\n\n")
				_ = http.NewResponseController(k.x.w).Flush()
			}
			k.mu.Unlock()
		}
	}
}

// stop ends the stream's own goroutine and waits for it: the sink is used
// again for another message.
func (k *sink) stop() {
	k.mu.Lock()
	quit, gone := k.quit, k.gone
	k.open, k.quit, k.gone = false, nil, nil
	k.mu.Unlock()
	if quit != nil {
		close(quit)
		<-gone
	}
}

func streamHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
}

// appendEvent frames a message as one event. JSON holds no raw line break
// outside white space, and there it may be one: each line is a data field.
func appendEvent(dst []byte, id string, message []byte) []byte {
	if id != "" {
		dst = append(append(append(dst, "id: "...), id...), '\n')
	}
	dst = append(dst, "event: message\ndata: "...)
	for _, c := range message {
		switch c {
		case '\n':
			dst = append(dst, "\ndata: "...)
		case '\r': // white space between tokens; SSE would end the line
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, "\n\n"...)
}

// context returns the call's context: a modern client that hangs up cancels
// it, a legacy one must say so (mcp-protocol 1.1, Cancellation).
func (x *exchange) context() (context.Context, context.CancelFunc) {
	if x.era == mcp.Modern {
		return context.WithCancel(x.r.Context())
	}
	return context.WithCancel(context.WithoutCancel(x.r.Context()))
}
