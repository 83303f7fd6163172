package gateway

import (
	"net/http"
	"slices"
	"time"

	"headgate/internal/access"
	"headgate/internal/mcp"
	"headgate/internal/server/request"
)

// end ends the stream from our side.
func (st *stream) end() {
	st.once.Do(func() {
		close(st.over)
		st.mu.Lock()
		away := st.rest != nil && st.rest.Stop()
		st.mu.Unlock()
		if away {
			go st.leave() // no connection does it
		}
	})
}

// leave takes the stream out of everything that knows it.
func (st *stream) leave() {
	st.end()
	st.mu.Lock()
	if st.left {
		st.mu.Unlock()
		return
	}
	st.left = true
	st.forget(0)
	s := st.session
	for key, w := range st.watches {
		st.close(key, w)
	}
	st.mu.Unlock()
	if s != nil {
		s.mu.Lock()
		if s.stream == st {
			s.stream = nil
		}
		s.mu.Unlock()
	}
	st.g.streams.leave(st)
}

// ending says why a stream is not written to a connection any more.
type ending uint8

const (
	gone    ending = iota // the client has hung up
	taken                 // another connection goes on with it
	over                  // ended by us
	drained               // all streams end
)

// take makes the caller's connection the one that the stream is written to;
// false when the stream has ended.
func (st *stream) take() (turn chan struct{}, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.left {
		return nil, false
	}
	if st.turn != nil {
		close(st.turn)
	}
	if st.rest != nil {
		st.rest.Stop()
		st.rest = nil
	}
	st.turn = make(chan struct{})
	return st.turn, true
}

// serve writes to a connection until the client hangs up, the credential ends,
// or we stop.
func (st *stream) serve(l line, r *http.Request, turn chan struct{}) ending {
	alive := time.NewTicker(st.g.KeepAlive)
	defer alive.Stop()
	var expires <-chan time.Time
	if by := st.ep.by; !by.ExpiresAt.IsZero() && by.Kind != access.Session {
		t := time.NewTimer(by.ExpiresAt.Sub(st.g.Now()))
		defer t.Stop()
		expires = t.C
	}
	for {
		if err := st.flush(l, turn); err != nil {
			return gone
		}
		select {
		case <-st.wake:
		case <-alive.C:
			if l.put([]byte(": keep-alive\n\n")) != nil {
				return gone
			}
		case <-turn:
			return taken
		case <-r.Context().Done():
			return gone
		case <-st.over:
			return over
		case <-st.ep.by.Revoked():
			return over
		case <-expires:
			return over
		case <-request.Draining(r.Context()):
			return drained
		}
	}
}

// flush writes what is in the queue, if it is still this connection's turn.
func (st *stream) flush(l line, turn chan struct{}) error {
	st.mu.Lock()
	if st.turn != turn || len(st.queue) == 0 {
		st.mu.Unlock()
		return nil
	}
	queue := st.queue
	st.queue, st.size = nil, 0
	var out []byte
	for _, message := range queue {
		start := len(out)
		if st.id != "" {
			out = append(eventID(out, st.id, st.first+len(st.sent)), '\n')
		}
		out = appendEvent(out, message)
		if st.id != "" {
			st.keep(slices.Clone(out[start:]))
		}
	}
	st.mu.Unlock()
	return l.put(out)
}

// keep keeps an event for a client that loses its connection and comes back.
// The caller holds the lock.
func (st *stream) keep(frame []byte) {
	st.sent = append(st.sent, frame)
	st.kept += len(frame)
	st.g.tapes.bytes.Add(int64(len(frame)))
	for len(st.sent) > maxSent || st.kept > maxSentSize || len(st.sent) > 0 && st.g.tapes.bytes.Load() > maxTapesAll {
		st.forget(len(st.sent) - 1)
	}
}

// forget drops the oldest events but for some; the caller holds the lock.
func (st *stream) forget(stay int) {
	for len(st.sent) > stay {
		st.kept -= len(st.sent[0])
		st.g.tapes.bytes.Add(-int64(len(st.sent[0])))
		st.sent, st.first = st.sent[1:], st.first+1
	}
}

// play serves the stream of a session to a connection, from behind an event on.
// When the client goes away it may come back: the stream stays for a while, and
// with it what it is to hear.
func (st *stream) play(w http.ResponseWriter, r *http.Request, after int) {
	turn, ok := st.take()
	if !ok {
		deny(w, r, errSession.Saying("This stream is over. Open another one, without Last-Event-ID."))
		return
	}
	st.mu.Lock()
	var missed []byte
	for i, frame := range st.sent {
		if st.first+i > after {
			missed = append(missed, frame...)
		}
	}
	if after < 0 && st.session.revision.AtLeast(mcp.Revision20251125) { // so that the client has an id to come back with
		missed = append(append(eventID(nil, st.id, 0), "\nretry: "+retryMillis+"\ndata: \n\n"...), missed...)
	}
	st.mu.Unlock()
	streamHeaders(w)
	l, end := direct{w}, gone
	if l.put(missed) == nil {
		end = st.serve(l, r, turn)
	}
	switch end {
	case taken:
	case gone:
		st.linger(turn)
	default:
		st.leave()
	}
}

// linger ends the stream in a while, unless its client comes back.
func (st *stream) linger(turn chan struct{}) {
	st.mu.Lock()
	defer st.mu.Unlock()
	select {
	case <-st.over:
		go st.leave()
	default:
		if st.turn == turn {
			st.rest = time.AfterFunc(st.g.Linger, st.leave)
		}
	}
}
