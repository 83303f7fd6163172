package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
)

// maxEvent bounds one event of a stream.
const maxEvent = 16 << 20

// Stream is a stream of server-sent events. Close it, or cancel the context
// it was opened with.
type Stream struct {
	body  io.ReadCloser
	lines *bufio.Scanner
}

// StreamEvent is one event.
type StreamEvent struct {
	ID   string
	Name string // "message" when the event has none
	Data []byte
}

// events opens a stream.
func (c *Client) events(ctx context.Context, r call) (*Stream, error) {
	r.accept = "text/event-stream"
	resp, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	return NewStream(resp.Body), nil
}

// NewStream reads server-sent events from an answer's body.
func NewStream(body io.ReadCloser) *Stream {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxEvent)
	return &Stream{body, lines}
}

// download opens an answer that is not read at once. The caller closes it.
func (c *Client) download(ctx context.Context, r call) (io.ReadCloser, error) {
	if r.accept == "" {
		r.accept = "*/*"
	}
	resp, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Close ends the stream.
func (s *Stream) Close() error { return s.body.Close() }

// All yields the events until the stream ends; an end other than the server's
// own is yielded as an error, last.
func (s *Stream) All() iter.Seq2[StreamEvent, error] {
	return func(yield func(StreamEvent, error) bool) {
		for {
			e, err := s.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// next reads up to the empty line that ends an event. Comments keep the
// connection alive and say nothing.
func (s *Stream) next() (StreamEvent, error) {
	e, some, size := StreamEvent{Name: "message"}, false, 0
	for s.lines.Scan() {
		line := s.lines.Text()
		if size += len(line); size > maxEvent {
			return StreamEvent{}, bufio.ErrTooLong
		}
		if line == "" {
			if some {
				return e, nil
			}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "data":
			if some {
				e.Data = append(e.Data, '\n')
			}
			e.Data, some = append(e.Data, value...), true
		case "event":
			e.Name = value
		case "id":
			e.ID = value
		}
	}
	if err := s.lines.Err(); err != nil {
		return StreamEvent{}, fmt.Errorf("read the stream: %w", err)
	}
	return StreamEvent{}, io.EOF
}
