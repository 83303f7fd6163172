package gateway

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"headgate/internal/fault"
	"headgate/internal/server/request"
)

// outlet is where the answer to a message goes.
type outlet interface {
	// event sends what comes before the answer. A client that cannot be told is
	// no reason to stop: what the server answers is recorded all the same.
	event(message []byte)
	// answer sends the answer; nothing follows.
	answer(status int, message []byte)
	// refuse sends a fault as the answer.
	refuse(status int, message []byte, f *fault.Error)
	// accept ends a message that has no answer.
	accept()
	// streams reports whether the client hears events.
	streams() bool
	// wait says that the answer may take long.
	wait()
}

// web is the answer to one POST: JSON, or a stream of events once something
// comes before the answer or it takes long.
type web struct {
	g    *Gateway
	w    http.ResponseWriter
	r    *http.Request
	s    *session // legacy: its client may ask again for what it missed
	tape *tape    // keeps that, once the stream has begun

	mu    sync.Mutex // against beat
	busy  bool       // between wait and end
	open  bool       // the stream has begun
	last  time.Time  // something was sent
	timer *time.Timer
	armed bool // the timer runs, maybe since a message that has been answered
	buf   []byte
}

func (o *web) use(g *Gateway, w http.ResponseWriter, r *http.Request) { o.g, o.w, o.r = g, w, r }

// streams implements outlet.
func (o *web) streams() bool {
	for _, a := range o.r.Header["Accept"] {
		if strings.Contains(a, "text/event-stream") || strings.Contains(a, "*/*") {
			return true
		}
	}
	return o.r.Header["Accept"] == nil
}

// wait implements outlet: when it does take long the stream begins by itself,
// and proxies in between see that it lives.
func (o *web) wait() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy, o.last = true, request.At(o.r.Context())
	switch {
	case o.armed: // and looks how long the quiet has lasted: few calls are worth setting it
	case o.timer == nil:
		o.timer = time.AfterFunc(o.g.KeepAlive, o.beat)
	default:
		o.timer.Reset(o.g.KeepAlive)
	}
	o.armed = true
}

// beat sends a comment when nothing else was said for a while.
func (o *web) beat() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.busy || !o.streams() {
		o.armed = false
		return
	}
	if quiet := time.Since(o.last); quiet < o.g.KeepAlive {
		o.timer.Reset(o.g.KeepAlive - quiet)
		return
	}
	o.begin()
	o.put([]byte(": keep-alive\n\n"))
	o.timer.Reset(o.g.KeepAlive)
}

// end takes the outlet out of use.
func (o *web) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy = false
	if o.tape != nil {
		o.tape.leave(o.w)
	}
	o.g, o.w, o.r, o.s, o.tape, o.open, o.last, o.buf = nil, nil, nil, nil, nil, false, time.Time{}, spare(o.buf)
}

// begin sends the head of the stream.
func (o *web) begin() {
	if o.open {
		return
	}
	o.open = true
	streamHeaders(o.w)
	if o.s != nil {
		o.tape = o.g.tapes.make(o.s.revision)
		o.s.keep(o.tape, time.Now())
		o.tape.start(o.w)
	}
}

// event implements outlet.
func (o *web) event(message []byte) {
	if !o.streams() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begin()
	o.send(message, false)
}

func (o *web) send(message []byte, last bool) {
	o.last = time.Now()
	if o.tape != nil {
		o.tape.add(message, last)
		return
	}
	o.buf = appendEvent(o.buf[:0], message)
	o.put(o.buf)
}

// put writes to the stream.
func (o *web) put(text []byte) {
	if o.tape != nil {
		o.tape.put(text)
		return
	}
	_ = write(o.w, text)
}

// answer implements outlet.
func (o *web) answer(status int, message []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open {
		o.send(message, true)
		return
	}
	o.busy = false
	writeJSON(o.w, status, message)
}

// refuse implements outlet.
func (o *web) refuse(status int, message []byte, f *fault.Error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open {
		o.send(message, true)
		return
	}
	o.busy = false
	refuse(o.w, status, message, f)
}

// accept implements outlet.
func (o *web) accept() { o.w.WriteHeader(http.StatusAccepted) }

func streamHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-store, no-transform") // nor packed on the way
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
}

// line is an open stream to a client.
type line interface{ put(text []byte) error }

// direct is a line that nobody else writes to.
type direct struct{ http.ResponseWriter }

func (d direct) put(text []byte) error { return write(d.ResponseWriter, text) }

// write sends a part of a stream at once. It is bounded in time: the client may
// have stopped reading.
func write(w http.ResponseWriter, text []byte) error {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout)) // not all writers have deadlines
	if _, err := w.Write(text); err != nil {
		return err
	}
	return c.Flush()
}

// appendEvent frames a message as one event. Between its tokens JSON may hold
// line breaks, which would end a field: each line is a field of its own.
func appendEvent(dst, message []byte) []byte {
	dst = append(dst, "event: message\ndata: "...)
	for {
		i := bytes.IndexAny(message, "\r\n")
		if i < 0 {
			break
		}
		dst = append(dst, message[:i]...)
		if message[i] == '\n' {
			dst = append(dst, "\ndata: "...)
		}
		message = message[i+1:]
	}
	return append(append(dst, message...), "\n\n"...)
}

// counted is how much the servers in front of us hold back and count
// themselves, when it is written at once.
const counted = 2048

// writeJSON sends a whole answer.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	if len(body) > counted {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone is the transport's business
}
