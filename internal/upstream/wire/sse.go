package wire

import (
	"bytes"
	"time"
)

// Event is one event of a stream. Its bytes are good until the next call of
// NextEvent.
type Event struct {
	Name  []byte        // empty means "message"
	ID    []byte        // the last id the stream gave, in this event or before
	Data  []byte        // its lines joined by a newline
	Retry time.Duration // the last reconnection time the stream gave, or 0
}

// events is the state of an event stream. Offsets count from d0, which stays
// at the beginning of an event's first data line until the event is taken.
type events struct {
	begun   bool // past the place for a byte order mark
	skipLF  bool // the last line ended in CR; an LF now belongs to it
	scan    int  // nothing before it ends the present line
	line    int  // where the present line begins
	taken   int  // how far the event given out last reaches
	hasData bool
	data    span
	name    []byte
	id      []byte
	retry   time.Duration
}

// recycled keeps the small buffers for the next response.
func (e *events) recycled() events {
	if cap(e.name)+cap(e.id) > 1024 {
		return events{}
	}
	return events{name: e.name[:0], id: e.id[:0]}
}

// NextEvent returns the next event that has data, of at most max bytes
// (DefaultMaxBody when max is not positive; ErrTooLarge beyond). It returns
// io.EOF at the clean end of the stream; an event the end cuts off is dropped.
func (r *Response) NextEvent(max int) (Event, error) {
	if max <= 0 {
		max = DefaultMaxBody
	}
	e := &r.sse
	r.d0 += e.taken
	e.taken = 0
	for {
		line, ok := r.eventLine()
		if !ok {
			if r.d1-r.d0 > max+maxHead { // fields and comments among the data count a little
				return Event{}, r.fail(ErrTooLarge)
			}
			if err := r.more(); err != nil {
				return Event{}, err
			}
			continue
		}
		if len(line) == 0 && e.hasData {
			if e.data.to-e.data.from > max {
				return Event{}, r.fail(ErrTooLarge)
			}
			event := r.takeEvent()
			r.lookAhead()
			return event, nil
		}
		if len(line) == 0 {
			e.name = e.name[:0]
		} else {
			r.eventField(line)
		}
		if !e.hasData { // nothing to keep: comments must not pile up
			r.d0 += e.line
			e.line, e.scan = 0, 0
		}
	}
}

// Resume returns what a client sends, and how long it waits, to resume a
// stream that ended: the last id and the last reconnection time.
func (r *Response) Resume() (id string, retry time.Duration) {
	return string(r.sse.id), r.sse.retry
}

// lookAhead gives the connection back at once when the stream's end came with
// the event, which is how most answers come. It moves nothing.
func (r *Response) lookAhead() {
	if r.err != nil {
		return
	}
	if err := r.decode(); err != nil {
		r.fail(err) // seen once the events that are complete have been taken
	} else if r.done {
		r.giveBack()
	}
}

// eventLine returns the next line without its end and moves e.line past it.
func (r *Response) eventLine() (line []byte, ok bool) {
	e := &r.sse
	in := r.buf.b[r.d0:r.d1]
	if e.skipLF && e.line < len(in) {
		if in[e.line] == '\n' {
			e.line++
		}
		e.skipLF = false
	}
	e.scan = max(e.scan, e.line)
	rest := in[min(e.scan, len(in)):]
	end := bytes.IndexByte(rest, '\n')
	if end >= 0 {
		rest = rest[:end]
	}
	if cr := bytes.IndexByte(rest, '\r'); cr >= 0 {
		end = cr
	}
	if end < 0 {
		e.scan = len(in)
		return nil, false
	}
	end += e.scan
	line = in[e.line:end]
	e.skipLF = in[end] == '\r'
	e.line, e.scan = end+1, end+1
	if !e.begun {
		e.begun = true
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	return line, true
}

// eventField reads one line that is not empty.
func (r *Response) eventField(line []byte) {
	e := &r.sse
	name, value := line, line[len(line):]
	if colon := bytes.IndexByte(line, ':'); colon >= 0 {
		name, value = line[:colon], line[colon+1:]
		if len(value) > 0 && value[0] == ' ' {
			value = value[1:]
		}
	}
	switch string(name) { // a comment's name is empty
	case "data":
		r.eventData(value)
	case "event":
		e.name = append(e.name[:0], value...)
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			e.id = append(e.id[:0], value...)
		}
	case "retry":
		var ms int64
		for _, c := range value {
			if c < '0' || c > '9' || len(value) > 9 {
				return
			}
			ms = ms*10 + int64(c-'0')
		}
		if len(value) > 0 {
			e.retry = time.Duration(ms) * time.Millisecond
		}
	}
}

// eventData adds a data line. The first one stays where it is; the others move
// up to it, over line ends and fields that have been read.
func (r *Response) eventData(value []byte) {
	e := &r.sse
	in := r.buf.b[r.d0:r.d1]
	if !e.hasData {
		// value is a slice of in, and both end at the same capacity
		from := cap(in) - cap(value)
		e.hasData, e.data = true, span{from, from + len(value)}
		return
	}
	in[e.data.to] = '\n'
	e.data.to += 1 + copy(in[e.data.to+1:], value)
}

func (r *Response) takeEvent() Event {
	e := &r.sse
	in := r.buf.b[r.d0:r.d1]
	event := Event{Name: e.name, ID: e.id, Data: in[e.data.from:e.data.to:e.data.to], Retry: e.retry}
	e.taken = e.line
	e.line, e.scan, e.hasData = 0, 0, false
	e.name = e.name[:0] // the event still sees its bytes
	return event
}
