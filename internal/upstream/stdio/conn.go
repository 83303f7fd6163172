package stdio

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/sandbox"
)

const (
	maxCalls = 1024
	endGrace = 200 * time.Millisecond // for a child that takes no more to have ended by itself
	maxAsks  = 256
	maxJunk  = 10_000  // lines that are no message: some programs print a banner
	rawLine  = 1 << 20 // a buffer larger than this is not kept
)

// conn is one running child: a JSON-RPC connection that its callers share.
type conn struct {
	program *program
	proc    *sandbox.Process
	began   time.Time
	ready   time.Time
	ctx     context.Context // ends with the process
	cancel  context.CancelFunc
	gone    chan struct{} // closed when no answer will come any more
	over    chan struct{} // closed once the program knows it
	written chan struct{} // closed when nothing is written any more
	facts   atomic.Pointer[facts]

	mu    sync.Mutex
	dead  bool
	calls map[uint64]*call
	next  uint64
	asks  map[string]*session // who is to answer, by the child's id

	box       *outbox
	heard     atomic.Uint64 // lines of the child
	silence   silence       // guarded by mu
	queued    atomic.Int64
	pace      pace
	junk      int
	live      bool      // given to callers; guarded by program.mu, like the next three
	stopping  bool      // by us
	told      bool      // that it has ended
	unlistens time.Time // when a subscription was ended last; guarded by mu
}

func newConn(p *program, proc *sandbox.Process) *conn {
	c := &conn{program: p, proc: proc, gone: make(chan struct{}), over: make(chan struct{}), written: make(chan struct{}), calls: map[uint64]*call{}, asks: map[string]*session{}}
	c.box = newOutbox(proc.Write)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// buffers hold messages on their way.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func release(b *[]byte, used []byte) {
	if cap(used) <= rawLine {
		*b = used[:0]
		buffers.Put(b)
	}
}

// flat makes a message one line: what is a line break in valid JSON is space.
func flat(message []byte) []byte {
	for _, c := range []byte{'\n', '\r'} {
		for i := bytes.IndexByte(message, c); i >= 0; i = bytes.IndexByte(message, c) {
			message[i] = ' '
		}
	}
	return message
}

// send sends a message of our own. It does not wait for the child to read it.
func (c *conn) send(message []byte) error { return c.box.add(message) }

// pass sends a caller's message, once the child has read enough of what came
// before.
func (c *conn) pass(ctx context.Context, deadline time.Time, message []byte) error {
	return c.box.put(ctx, deadline, nil, func(dst []byte) []byte { return append(dst, message...) })
}

// write takes what is sent to the child. Calls that a child which takes no more
// had no whole message of are told, for the next child can have them. It may
// only have closed its input, so it is ended.
func (c *conn) write() {
	c.box.run(func(k *call) { c.answer(k.id, unsent) })
	close(c.written)
	select {
	case <-c.proc.Done():
	case <-time.After(endGrace):
		c.stopFor(sandbox.Deaf, "it closed its input")
	}
}

// stuck reports whether the child has not read its input for too long. Its time
// to read is its own affair, never that of a caller: one who leaves must not
// tear the channel of the others.
func (c *conn) stuck(patience time.Duration) bool {
	since, waits := c.box.waits()
	return waits && time.Since(since) > patience
}

// begin sends a caller's request under an id of our own.
func (c *conn) begin(ctx context.Context, deadline time.Time, k *call, body []byte, e *mcp.Envelope) error {
	if err := c.add(k); err != nil {
		return err
	}
	var digits [20]byte
	own := appendUint(digits[:0], k.id)
	edits := [2]mcp.Edit{{Span: e.ID, With: own}}
	used := 1
	if t := e.ProgressToken; !t.Empty() {
		k.token = slices.Clone(t.Of(body))
		edits[1], used = mcp.Edit{Span: t, With: own}, 2
		if t.Start < e.ID.Start {
			edits[0], edits[1] = edits[1], edits[0]
		}
	}
	err := c.box.put(ctx, deadline, k, func(dst []byte) []byte { return mcp.Splice(dst, body, edits[:used]...) })
	if err != nil {
		c.drop(k)
	}
	return err
}

// add registers a call and gives it its id.
func (c *conn) add(k *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errEnded
	}
	if len(c.calls) >= maxCalls {
		return errMany
	}
	c.next++
	k.id, k.queued = c.next, &c.queued
	k.began, k.heard = time.Now(), c.heard.Load()
	c.calls[k.id] = k
	return nil
}

// drop forgets a call: what is answered to it now is late and goes nowhere.
func (c *conn) drop(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, k.id)
}

// abandon drops a call and tells the child that nobody waits for it.
func (c *conn) abandon(k *call, reason string) {
	c.mu.Lock()
	_, open := c.calls[k.id]
	delete(c.calls, k.id)
	if k.listen {
		c.unlistens = time.Now()
	}
	c.mu.Unlock()
	if !open {
		return
	}
	params := appendUint([]byte(`{"requestId":`), k.id)
	params = append(mcp.AppendString(append(params, `,"reason":`...), reason), '}')
	_ = c.send(mcp.AppendRequest(nil, nil, mcp.NotifyCancelled, params)) // a child that is gone needs no word
}

// ask sends a request of our own and waits for the answer.
func (c *conn) ask(ctx context.Context, method string, params []byte) (*reply, error) {
	k := newCall(method)
	if err := c.add(k); err != nil {
		return nil, err
	}
	if err := c.send(mcp.AppendRequest(nil, appendUint(nil, k.id), method, params)); err != nil {
		c.drop(k)
		return nil, err
	}
	select {
	case r := <-k.answer:
		if r == unsent {
			return nil, c.ended()
		}
		return r, nil
	case <-c.gone:
		return nil, c.ended()
	case <-ctx.Done():
		c.abandon(k, "no answer in time")
		return nil, ctx.Err()
	}
}

// tell sends a request of our own whose answer does not matter.
func (c *conn) tell(method string, params []byte) {
	c.mu.Lock()
	c.next++
	id := c.next
	c.mu.Unlock()
	_ = c.send(mcp.AppendRequest(nil, appendUint(nil, id), method, params)) // a child that is gone needs no word
}

// ending reports whether the child is being stopped.
func (c *conn) ending() bool {
	c.program.mu.Lock()
	defer c.program.mu.Unlock()
	return c.stopping
}

// ended says how the child ended.
func (c *conn) ended() error {
	<-c.proc.Done()
	return errEnded.Saying("The server's program ended before it answered (%s).", c.proc.Exit())
}

// read takes the child's lines until its end.
func (c *conn) read() {
	var env mcp.Envelope
	for {
		line, err := c.proc.Receive()
		if err != nil {
			break
		}
		c.heard.Add(1)
		if !c.take(line, &env) {
			c.program.host.opts.Log.Warn("a stdio server writes what is no MCP, so it was ended", "server", c.program.server.Slug)
			c.stopFor(sandbox.Foreign, "it wrote too much that is no MCP")
			break
		}
	}
	c.proc.CloseInput()
	c.box.close(errEnded)
	<-c.written
	c.mu.Lock()
	c.dead = true
	c.calls, c.asks = map[uint64]*call{}, map[string]*session{}
	c.mu.Unlock()
	close(c.gone)
	c.stop()
	c.cancel()
	c.program.ended(c)
	close(c.over)
}

// stop ends the process.
func (c *conn) stop() {
	c.proc.Stop(c.program.host.ctx)
}

// stopFor ends it for a fault of its own, which is counted like a crash.
func (c *conn) stopFor(why sandbox.Reason, detail string) {
	c.proc.StopFor(c.program.host.ctx, why, detail)
}

// take acts on one line; false when there was too much that is no message.
func (c *conn) take(line []byte, e *mcp.Envelope) bool {
	if line = bytes.TrimSpace(line); len(line) == 0 {
		return true
	}
	line = flat(line)
	switch err := mcp.ScanReply(line, e, mcp.Limits{}); {
	case err == nil:
		c.hear(line, e)
	case errors.Is(err, mcp.ErrBatch):
		c.batch(line, e)
	default:
		c.broken(line, e)
	}
	return c.junk < maxJunk
}

// batch acts on the messages of a batch, which a child of 2025-03-26 may send.
// What another one says in a batch is not believed.
func (c *conn) batch(line []byte, e *mcp.Envelope) {
	spans, err := mcp.SplitBatch(line, mcp.Limits{Depth: mcp.DefaultReplyDepth})
	if err != nil {
		c.broken(nil, &mcp.Envelope{})
		return
	}
	f := c.facts.Load()
	batches := f == nil || f.revision == mcp.Revision20250326 // which is not known until the handshake is over
	for _, span := range spans {
		message := span.Of(line)
		if err := mcp.ScanReply(message, e, mcp.Limits{}); err == nil && batches {
			c.hear(message, e)
			continue
		}
		c.broken(message, e)
	}
}

// broken counts what is no message. Whoever waits for it waits no longer.
func (c *conn) broken(message []byte, e *mcp.Envelope) {
	c.junk++
	if id, ok := idOf(message, e.ID); ok && e.Method == "" { // the id of a request is the child's
		c.answer(id, &reply{})
	}
}

// hear acts on one message.
func (c *conn) hear(line []byte, e *mcp.Envelope) {
	switch e.Kind {
	case mcp.Request:
		c.pace.keep()
		c.question(line, e)
	case mcp.Notification:
		c.pace.keep()
		c.notified(line, e)
	default:
		if id, ok := idOf(line, e.ID); ok {
			c.answer(id, replyOf(line, e))
		}
	}
}

// pace slows a child down that says more of its own accord than anybody could
// read: it waits at its pipe, and costs the others nothing.
type pace struct {
	since time.Time
	count int
}

const (
	paceWindow = 100 * time.Millisecond
	paceCount  = 1000
)

func (p *pace) keep() {
	if p.count++; p.count < paceCount {
		return
	}
	if left := paceWindow - time.Since(p.since); left > 0 {
		time.Sleep(left)
	}
	p.since, p.count = time.Now(), 0
}

// answer gives a reply to the call with our id, if somebody still waits.
func (c *conn) answer(id uint64, r *reply) {
	c.mu.Lock()
	k := c.calls[id]
	delete(c.calls, id)
	c.mu.Unlock()
	if k != nil {
		k.answer <- r
	}
}
