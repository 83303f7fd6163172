package upstream

import (
	"bytes"
	"context"
	"errors"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/upstream/wire"
)

const (
	maxAnswer  = 16 << 20
	maxRefusal = 64 << 10         // of a body that explains a refusal
	answerTime = 10 * time.Minute // for a person to answer what a server asks in between
)

// exchange is one request under way. It is recycled when its answer is released.
type exchange struct {
	hub     *Hub
	scanned // the message read last; the answer's in the end
	fields  []wire.Field
	again   []byte // the answer after its id was put back
	release func()
	hear    func(message []byte) error
	job
}

// job is what an exchange knows of its request.
type job struct {
	peer    *peer
	r       *Request
	sink    Sink
	start   time.Time
	session *session // legacy

	http wire.Request
	body [1][]byte
	resp *wire.Response

	id        []byte // as sent
	token     []byte // the caller's progress token, when another was sent; raw
	ownToken  []byte
	sent      bool // a request went out, so the server may be at work
	delivered bool // the sink has got something
	patience  time.Duration
	alarm     *time.Timer
	told      error // what the sink said to a Relay
}

func newExchange(h *Hub) *exchange {
	x := &exchange{hub: h, fields: make([]wire.Field, 0, 8)}
	x.release, x.hear = x.recycle, x.heed
	return x
}

func (h *Hub) begin(p *peer, r *Request, sink Sink, start time.Time) *exchange {
	x := h.scratch.Get().(*exchange)
	x.peer, x.r, x.sink, x.start, x.id = p, r, sink, start, r.ID
	return x
}

// recycle gives back what the exchange held.
func (x *exchange) recycle() {
	x.drop()
	clear(x.fields[:cap(x.fields)])
	x.fields = x.fields[:0]
	if cap(x.again) > 64<<10 {
		x.again = nil
	}
	x.job = job{}
	x.hub.scratch.Put(x)
}

// drop lets go of the response.
func (x *exchange) drop() {
	if x.resp != nil {
		x.resp.Release()
		x.resp = nil
	}
}

// run makes the exchange. After an error nothing of it is in use any more.
func (x *exchange) run(ctx context.Context) (*Answer, error) {
	ctx, stop := x.watchTime(ctx)
	answer, err := x.attempt(ctx)
	timedOut := stop()
	if err == nil {
		return answer, nil
	}
	if timedOut && !errors.Is(err, ErrUnreachable) {
		err = ErrTimeout.Because(context.DeadlineExceeded)
	}
	if x.sent && x.session != nil && (errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout)) {
		x.tellCancelled(errors.Is(err, context.Canceled))
	}
	x.recycle()
	return nil, err
}

func (x *exchange) attempt(ctx context.Context) (*Answer, error) {
	if x.r.Revision.Era() == mcp.Modern {
		return x.modern(ctx)
	}
	return x.legacy(ctx)
}

// watchTime sets the deadline. Where the caller asked for progress, each sign
// of it starts the timeout anew, up to a multiple in all, and a person who is
// asked something may take a while; only then a timer is needed. stop reports
// whether time ran out.
func (x *exchange) watchTime(ctx context.Context) (_ context.Context, stop func() bool) {
	x.patience = x.r.timeout()
	now := time.Now()
	asked := x.r.Client.asked() && x.r.Revision.Era() == mcp.Legacy
	if x.sink == nil || !asked && !x.r.Progress {
		x.http.Deadline = now.Add(x.patience)
		return ctx, func() bool { return false }
	}
	x.http.Deadline = now.Add(time.Duration(x.hub.opts.Stretch) * x.patience)
	if asked {
		x.http.Deadline = x.http.Deadline.Add(answerTime)
	}
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	x.alarm = time.AfterFunc(x.patience, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() bool {
		x.alarm.Stop()
		ran := outer.Err() == nil && context.Cause(ctx) == context.DeadlineExceeded
		cancel(nil)
		return ran
	}
}

// progressed gives the server its patience anew, and people theirs.
func (x *exchange) progressed(patience time.Duration) {
	if x.alarm != nil {
		x.alarm.Reset(patience)
	}
}

// modern sends the request as it is: it stands alone.
func (x *exchange) modern(ctx context.Context) (*Answer, error) {
	if era, ok := x.peer.pinned(); ok && era != mcp.Modern {
		return nil, ErrEra
	}
	x.body[0] = x.r.Body
	x.modernFields()
	answer, err := x.post(ctx)
	if err == nil && answer.Envelope.Kind == mcp.ErrorResponse && foreignEra(answer) || errors.Is(err, ErrRejected) {
		if gone := x.peer.recheck(ctx, mcp.Modern); gone != nil {
			return nil, gone
		}
	}
	return answer, err
}

// modernFields sets the headers that mirror the body.
func (x *exchange) modernFields() {
	r := x.r
	f := append(x.fields[:0], wire.Field{Name: mcp.HeaderProtocolVersion, Value: string(r.Revision)}, wire.Field{Name: mcp.HeaderMethod, Value: r.Method})
	if mcp.NamedBy(r.Method) != "" {
		f = append(f, wire.Field{Name: mcp.HeaderName, Value: mcp.EncodeHeader(r.Name)})
	}
	for _, p := range r.Params {
		f = append(f, wire.Field{Name: mcp.HeaderParamPrefix + p.Name, Value: p.Value})
	}
	if len(r.Params) == 0 && r.Method == mcp.MethodToolsCall {
		f = x.mirror(f)
	}
	x.fields = f
}

// legacy sends the request in a session, and once more in a fresh one when the
// server has lost it: it refused the request then, and did not act on it.
func (x *exchange) legacy(ctx context.Context) (*Answer, error) {
	key := keyOf(x.r)
	for try := 0; ; try++ {
		s, err := x.peer.session(ctx, key, x.r, x.http.Deadline)
		if err != nil {
			if errors.Is(err, ErrEra) {
				_ = x.peer.recheck(ctx, mcp.Legacy) // so that the next caller learns what it speaks now
			}
			return nil, err
		}
		if err := x.enter(s); err != nil {
			return nil, err
		}
		answer, err := x.post(ctx)
		s.leave()
		if !errors.Is(err, errSessionLost) {
			return answer, err
		}
		x.peer.lose(s)
		x.drop()
		x.sent = false
		if x.delivered || try > 0 {
			return nil, ErrSession
		}
	}
}

// enter prepares the request for a session.
func (x *exchange) enter(s *session) error {
	x.session = s
	s.enter(x.start)
	x.fields = append(x.fields[:0], s.fields...)
	x.body[0] = x.r.Body
	if _, direct := x.peer.target.Load().Inside().(Relay); direct || !s.shared {
		return nil
	}
	return x.disguise()
}

// disguise gives the request an id and a progress token of its own, for a
// session that several callers use: a server refuses an id twice.
func (x *exchange) disguise() error {
	if err := mcp.Scan(x.r.Body, &x.Envelope, mcp.Limits{}); err != nil {
		return err
	}
	n := x.peer.serial.Add(1)
	edits := make([]mcp.Edit, 0, 2)
	x.id = appendUint(nil, n)
	edits = append(edits, mcp.Edit{Span: x.Envelope.ID, With: x.id})
	if t := x.Envelope.ProgressToken; !t.Empty() {
		x.token, x.ownToken = t.Of(x.r.Body), x.id
		edits = append(edits, mcp.Edit{Span: t, With: x.ownToken})
	}
	if len(edits) == 2 && edits[0].Start > edits[1].Start {
		edits[0], edits[1] = edits[1], edits[0]
	}
	x.body[0] = mcp.Splice(make([]byte, 0, len(x.r.Body)+40), x.r.Body, edits...)
	return nil
}

// post sends the request and reads up to its answer.
func (x *exchange) post(ctx context.Context) (*Answer, error) {
	if relay, direct := x.peer.target.Load().Inside().(Relay); direct {
		return x.hand(ctx, relay)
	}
	x.http.Target, x.http.Fields, x.http.Body = x.peer.target.Load(), x.fields, x.body[:]
	resp, err := x.hub.calls.Do(ctx, &x.http)
	x.sent = !errors.Is(err, ErrUnreachable)
	if err != nil {
		return nil, honest(err)
	}
	x.resp = resp
	switch {
	case resp.Status >= 300:
		return x.refused()
	case resp.Status == 202 || resp.Status == 204:
		return nil, nonsense("a request was answered as if it were a notification")
	case resp.Kind == wire.JSON:
		body, err := resp.ReadAll(maxAnswer)
		if err != nil {
			return nil, honest(err)
		}
		return x.whole(body)
	case resp.Kind == wire.SSE:
		return x.stream(ctx)
	}
	return nil, nonsense("the answer is neither JSON nor an event stream")
}

// honest makes bad HTTP the same fault as bad MCP.
func honest(err error) error {
	if errors.Is(err, wire.ErrProtocol) {
		return ErrNonsense.Because(err)
	}
	return err
}

// whole takes a body that must be the answer.
func (x *exchange) whole(body []byte) (*Answer, error) {
	if err := mcp.ScanReply(body, &x.Envelope, mcp.Limits{}); err != nil {
		answer, err := x.several(body, err)
		if answer == nil && err == nil {
			err = nonsense("no answer is in the batch")
		}
		return answer, err
	}
	if !x.Envelope.Kind.IsReply() || !mcp.SameID(x.id, x.Envelope.ID.Of(body)) {
		return nil, nonsense("the answer has another request's id")
	}
	return x.answer(body, x.resp.Status)
}

// answer completes the exchange with a scanned body.
func (x *exchange) answer(body []byte, status int) (*Answer, error) {
	if len(x.id) > 0 && !bytes.Equal(x.id, x.r.ID) {
		x.again = mcp.Splice(x.again[:0], body, mcp.Edit{Span: x.Envelope.ID, With: x.r.ID})
		body = x.again
		if err := mcp.ScanReply(body, &x.Envelope, mcp.Limits{}); err != nil {
			return nil, ErrNonsense.Because(err)
		}
	}
	if x.resp != nil {
		x.resp.Close() // the connection is free for others; what was read stays
	}
	return x.answered(body, status), nil
}

// answered returns the answer that was scanned last.
func (x *exchange) answered(body []byte, status int) *Answer {
	return &Answer{body, &x.scanned, status, x.release}
}
