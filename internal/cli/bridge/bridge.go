package bridge

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"headgate/internal/mcp"
)

const (
	maxLine     = 16 << 20
	maxInFlight = 256
	// grace is how long requests in flight may last once the input has ended.
	grace = 10 * time.Second
	// brief bounds exchanges that nobody waits for.
	brief = 30 * time.Second
)

// Options are what a bridge needs.
type Options struct {
	URL        string
	Credential func(context.Context) (string, error) // asked before each exchange
	In         io.Reader
	Out        io.Writer
	Log        func(format string, args ...any) // for people; never the content of messages
	HTTP       *http.Client
	UserAgent  string
}

type bridge struct {
	Options
	whole context.Context // of the run: what the session's streams live in
	stop  context.CancelFunc
	work  sync.WaitGroup // requests in flight
	back  sync.WaitGroup // streams of the session

	writing sync.Mutex

	mu      sync.Mutex
	flights map[string]*flight // by raw id
	params  map[string][]mcp.ParamHeader

	session session
}

// flight is a request that has no answer yet.
type flight struct {
	modern    bool
	listens   bool // it ends only when somebody hangs up
	cancelled bool
	cancel    context.CancelFunc
	done      chan struct{}
}

// Run relays until the input ends or ctx does. When ctx ends first, a read of
// the input may be left waiting.
func Run(ctx context.Context, o Options) error {
	ctx, stop := context.WithCancel(ctx)
	b := &bridge{Options: o, whole: ctx, stop: stop, flights: map[string]*flight{}, params: map[string][]mcp.ParamHeader{}}
	defer b.back.Wait()
	defer b.work.Wait()
	defer stop()
	lines, failed := make(chan []byte), make(chan error, 1)
	go read(ctx, o.In, lines, failed)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case line := <-lines:
			b.line(ctx, line)
		case err := <-failed:
			b.finish(ctx)
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// read sends each line that is not empty; one that is too long is sent as far
// as needed to be refused.
func read(ctx context.Context, in io.Reader, lines chan<- []byte, failed chan<- error) {
	r := bufio.NewReaderSize(in, 64<<10)
	for {
		line, err := readLine(r)
		if line = bytes.TrimSpace(line); len(line) > 0 {
			select {
			case lines <- line:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			failed <- err
			return
		}
	}
}

func readLine(r *bufio.Reader) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if len(line) <= maxLine {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// line takes one message of the client.
func (b *bridge) line(ctx context.Context, text []byte) {
	m := &message{body: text}
	switch err := b.scan(m); {
	case err != nil:
		b.write(mcp.AppendError(nil, m.id, mcp.RPCCode(err), messageOf(err), nil))
	case m.batch || m.e.Kind == mcp.Request:
		b.request(ctx, m)
	case m.e.Method == mcp.NotifyCancelled && b.hangUp(m.e.RequestID.Of(text)):
	default:
		b.tell(ctx, m)
	}
}

var errLong = mcp.ErrUnreadable.Saying("The message is longer than %d MiB.", maxLine>>20)

// scan finds out what a line is. The id survives an error where it was seen.
func (b *bridge) scan(m *message) error {
	if len(m.body) > maxLine {
		return errLong
	}
	err := mcp.Scan(m.body, &m.e, mcp.Limits{})
	if errors.Is(err, mcp.ErrBatch) {
		m.batch, m.e = true, mcp.Envelope{}
		return nil
	}
	m.id = m.e.ID.Of(m.body)
	if err == nil {
		m.modern = mcp.EraOf("", &m.e) == mcp.Modern
	}
	return err
}

// request starts a request; its answer comes when it comes.
func (b *bridge) request(ctx context.Context, m *message) {
	ctx, cancel := context.WithCancel(ctx)
	f := &flight{modern: m.modern, listens: m.e.Method == mcp.MethodSubscriptionsListen, cancel: cancel, done: make(chan struct{})}
	if !b.depart(m, f) {
		cancel()
		return
	}
	b.work.Go(func() {
		defer close(f.done)
		defer cancel()
		err := b.relay(ctx, m)
		if b.arrive(m, f) || m.answered || m.batch && err == nil || b.whole.Err() != nil {
			return
		}
		if err == nil {
			err = errNoAnswer
		}
		b.Log("%s", messageOf(err))
		b.write(mcp.AppendError(nil, m.id, mcp.RPCCode(err), messageOf(err), nil))
	})
	if m.e.Method == mcp.MethodInitialize {
		<-f.done // what a hasty client sends next needs the session
	}
}

// depart notes a request in flight. It refuses one too many, and an id that is
// in use.
func (b *bridge) depart(m *message, f *flight) bool {
	b.mu.Lock()
	_, used := b.flights[string(m.id)]
	full := len(b.flights) >= maxInFlight
	if !used && !full {
		b.flights[m.key()] = f
	}
	b.mu.Unlock()
	switch {
	case full:
		b.write(mcp.AppendError(nil, m.id, mcp.CodeInternal, "Too many requests are in flight. Wait for some to be answered.", nil))
	case used:
		b.write(mcp.AppendError(nil, m.id, mcp.CodeInvalidRequest, "A request with this id is in flight. Use another id.", nil))
	default:
		return true
	}
	return false
}

// arrive takes a request out and reports whether the client cancelled it.
func (b *bridge) arrive(m *message, f *flight) (cancelled bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.flights, m.key())
	return f.cancelled
}

// hangUp cancels a modern request, for which hanging up is the way to say so.
func (b *bridge) hangUp(id []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, f := range b.flights {
		if f.modern && len(id) > 0 && mcp.SameID([]byte(key), id) {
			f.cancelled = true
			f.cancel()
			return true
		}
	}
	return false
}

// tell passes on what has no answer, in order.
func (b *bridge) tell(ctx context.Context, m *message) {
	ctx, cancel := context.WithTimeout(ctx, brief)
	defer cancel()
	if err := b.relay(ctx, m); err != nil {
		b.Log("%s was not delivered: %s", m.name(), messageOf(err))
		return
	}
	if m.e.Method == mcp.NotifyInitialized && !m.modern {
		b.listen()
	}
}

// finish lets what is in flight come home, and closes the session.
func (b *bridge) finish(ctx context.Context) {
	b.mu.Lock()
	for _, f := range b.flights {
		if f.listens {
			f.cancelled = true
			f.cancel()
		}
	}
	b.mu.Unlock()
	home := make(chan struct{})
	go func() {
		b.work.Wait()
		close(home)
	}()
	select {
	case <-home:
	case <-time.After(grace):
	case <-ctx.Done():
	}
	b.leave(ctx)
	b.stop()
	<-home
}

// write puts one message on a line of its own.
func (b *bridge) write(message []byte) {
	line := make([]byte, 0, len(message)+1)
	for _, c := range message {
		if c == '\n' || c == '\r' { // white space in JSON, never part of a value
			c = ' '
		}
		line = append(line, c)
	}
	b.writing.Lock()
	defer b.writing.Unlock()
	if _, err := b.Out.Write(append(line, '\n')); err != nil {
		b.stop() // nobody listens any more
	}
}
