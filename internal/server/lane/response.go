package lane

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// unframed is how much of an answer without a length waits for the
	// handler's end, which tells it; net/http's bound.
	unframed = 2048
	// together is how much is copied to leave in one write.
	together = 32 << 10
	// keptOut is the largest buffer that is kept for the next answer.
	keptOut = 64 << 10
)

var errLate = errors.New("lane: the handler has returned")

// buffer is reused from answer to answer.
type buffer struct{ out, body []byte }

// response implements http.ResponseWriter, as net/http's does for POST and GET.
type response struct {
	mu     sync.Mutex // a handler that writes too late must not meet the next answer
	c      *conn
	in     *body // the request's
	buf    *buffer
	status int
	length int64 // of the body; -1 when it is not known
	sent   int64 // of the body, so far

	opened   bool // the head is complete, in buf.out or on its way
	bare     bool // the status has no body
	typed    bool // Content-Type need not be found out
	chunked  bool
	last     bool        // the connection ends with this answer
	err      error       // of writing
	deadline atomic.Bool // the handler has set one
	done     atomic.Bool // the handler has returned
}

func (w *response) init(c *conn, in *body) {
	clear(c.header)
	w.c, w.in, w.length = c, in, -1
	w.buf = c.lane.outs.Get().(*buffer)
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.c.header }

// WriteHeader implements http.ResponseWriter. The headers are taken as they
// are now.
func (w *response) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("lane: %d is no HTTP status", status))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.done.Load(), status < 200: // hints before the answer are not sent
	case w.status != 0:
		w.c.lane.cfg.Log.LogAttrs(w.c.ctx, slog.LevelDebug, "status of an answer set twice", slog.Int("status", w.status), slog.Int("then", status))
	default:
		w.begin(status)
	}
}

// begin writes the head up to what is known of the body only later.
func (w *response) begin(status int) {
	w.status = status
	w.bare = status == http.StatusNoContent || status == http.StatusNotModified
	b := append(w.buf.out[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	if text := http.StatusText(status); text != "" {
		b = append(b, text...)
	} else {
		b = strconv.AppendInt(append(b, "status code "...), int64(status), 10)
	}
	w.buf.out = append(b, "\r\n"...)
	w.fields()
}

// fields writes the handler's headers. Those that frame the answer are made
// here, from what they say.
func (w *response) fields() {
	b, dated := w.buf.out, false
	for name, values := range w.c.header {
		switch name {
		case "Content-Length":
			if n, err := strconv.ParseInt(first(values), 10, 64); err == nil && n >= 0 {
				w.length = n
			}
		case "Connection":
			w.last = w.last || hasClose(values)
		case "Content-Type":
			w.typed = true
			if w.status == http.StatusNotModified {
				continue
			}
		case "Content-Encoding":
			w.typed = w.typed || first(values) != ""
		case "Date":
			dated = true
		}
		if frames(name) || !isToken(name) { // a http.TrailerPrefix is no token
			continue
		}
		for _, v := range values {
			b = append(append(b, name...), ": "...)
			b = append(appendValue(b, v), "\r\n"...)
		}
	}
	if !dated {
		b = append(b, w.c.lane.now.Load().date...)
	}
	w.buf.out = b
}

// open completes the head. first is the body's beginning, or all of it.
func (w *response) open(first []byte, all bool) {
	w.opened = true
	if !w.in.drain() || w.c.lane.draining.Load() {
		w.last = true
	}
	b := w.buf.out
	if !w.typed && !w.bare && len(first) > 0 {
		b = append(append(append(b, "Content-Type: "...), http.DetectContentType(first)...), "\r\n"...)
	}
	if all && w.length < 0 {
		w.length = int64(len(first))
	}
	switch {
	case w.bare:
	case w.length >= 0:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), w.length, 10), "\r\n"...)
	default:
		w.chunked = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if w.last {
		b = append(b, "Connection: close\r\n"...)
	}
	w.buf.out = append(b, "\r\n"...)
}

// Write implements http.ResponseWriter. What fits goes out together, at the
// handler's end or at Flush.
func (w *response) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done.Load() {
		return 0, errLate
	}
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if w.bare {
		return 0, http.ErrBodyNotAllowed
	}
	w.sent += int64(len(p))
	if w.length >= 0 && w.sent > w.length {
		return 0, http.ErrContentLength
	}
	if !w.opened {
		if w.length < 0 && len(w.buf.body)+len(p) <= unframed {
			w.buf.body = append(w.buf.body, p...)
			return len(p), nil
		}
		w.openWith(p)
	}
	w.put(p)
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// openWith completes the head before all of the body is there, and puts what
// has waited for that behind it.
func (w *response) openWith(next []byte) {
	if waited := w.buf.body; len(waited) > 0 {
		next = waited
	}
	w.open(next, false)
	w.put(w.buf.body)
	w.buf.body = w.buf.body[:0]
}

// put adds to what goes out, and sends it when it is too much to keep.
func (w *response) put(p []byte) {
	if len(p) == 0 {
		return
	}
	b := w.buf.out
	if w.chunked {
		b = append(strconv.AppendInt(b, int64(len(p)), 16), "\r\n"...)
	}
	if len(b)+len(p) <= together {
		b = append(b, p...)
	} else {
		w.send(b, p)
		b = b[:0]
	}
	if w.chunked {
		b = append(b, "\r\n"...)
	}
	w.buf.out = b
}

// send writes to the connection. A client that does not take its answer
// cancels its request.
func (w *response) send(b, more []byte) {
	c := w.c
	switch {
	case w.err != nil:
		return
	case len(more) == 0:
		if len(b) > 0 {
			_, w.err = c.net.Write(b)
		}
	default:
		w.err = c.writev(b, more)
	}
	if w.err != nil {
		c.fail()
	}
}

// FlushError sends what there is; http.ResponseController finds it.
func (w *response) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done.Load() {
		return errLate
	}
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	if !w.opened {
		w.openWith(nil)
	}
	w.send(w.buf.out, nil)
	w.buf.out = w.buf.out[:0]
	w.in.release()
	return w.err
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// SetWriteDeadline is for http.ResponseController. The deadline ends with the
// answer, and may be set while a write waits.
func (w *response) SetWriteDeadline(t time.Time) error {
	if w.done.Load() {
		return errLate
	}
	w.deadline.Store(true)
	return w.c.net.SetWriteDeadline(t)
}

// finish ends the answer and reports whether another may follow.
func (w *response) finish() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done.Store(true)
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	if !w.opened {
		w.open(w.buf.body, true)
		w.buf.out = append(w.buf.out, w.buf.body...)
	} else if w.chunked {
		w.buf.out = append(w.buf.out, "0\r\n\r\n"...)
	}
	w.send(w.buf.out, nil)
	_ = w.in.Close()
	if w.deadline.Load() && w.err == nil {
		w.err = w.c.net.SetWriteDeadline(time.Time{})
	}
	w.buf.out, w.buf.body = w.buf.out[:0], w.buf.body[:0]
	if cap(w.buf.out) <= keptOut {
		w.c.lane.outs.Put(w.buf)
	}
	w.buf = nil
	return w.err == nil && !w.last && (w.bare || w.chunked || w.sent == w.length)
}

// writev writes two parts with one system call, where the connection can.
func (c *conn) writev(head, rest []byte) (err error) {
	c.vec = append(c.vec[:0], head, rest)
	all := c.vec // writing uses it up
	if v, ok := c.net.(interface {
		WriteBuffers(*net.Buffers) (int64, error)
	}); ok {
		_, err = v.WriteBuffers(&all)
	} else {
		_, err = all.WriteTo(c.net)
	}
	clear(c.vec)
	return err
}
