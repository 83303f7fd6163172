package eras

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

const (
	parkTime     = 10 * time.Minute     // for a client to come back
	gatherTime   = 5 * time.Millisecond // for further questions that come with the first
	maxParked    = 10_000
	maxParkedOne = 64 // of one principal
	maxQuestions = 32 // of one call at once
	statePlace   = "eras:request-state"
)

// parked is a legacy server's call that goes on while its modern client
// gathers what the server asks for.
type parked struct {
	t         *Translator
	handle    string
	principal string
	digest    [sha256.Size]byte
	sent      upstream.Request // as the server got it; owned
	cancel    context.CancelFunc
	asked     chan struct{} // a question has come
	done      chan struct{} // the answer has
	answer    *answer
	err       error

	mu        sync.Mutex
	d         *descent // of the client's request that waits now; nil while parked
	questions []question
	serial    int
	nonce     string // of the requestState that resumes it
	leave     *time.Timer
}

// question is something a server asks for.
type question struct {
	key     string // in inputRequests
	id      []byte // of the server's request; empty when there is none to answer
	request []byte // method and params, raw
}

// state is what a requestState holds.
type state struct {
	Handle    string
	Nonce     string
	Principal string
	Digest    []byte
	Expires   int64
}

// converse makes a request during which the server may ask for input.
func (d *descent) converse(ctx context.Context) (*answer, error) {
	p := d.t.park(d)
	p.sent = owned(&d.sent)
	slot := d.t.slots.take(ctx, p)
	if slot != nil {
		p.sent.Affinity = slot.r.Affinity
		// Ids are unique in a session, and this one sees many clients' calls.
		p.sent.ID = append(strconv.AppendUint([]byte(`"headgate-`), d.t.serial.Add(1), 10), '"')
		id, _ := mcp.Get(p.sent.Body, mcp.Root(p.sent.Body), "id")
		p.sent.Body = mcp.Splice(nil, p.sent.Body, mcp.Edit{Span: id, With: p.sent.ID})
	}
	// The call outlives this request, so its end is told to it by hand.
	call, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel = cancel
	go func() {
		defer close(p.done)
		defer cancel()
		p.answer, p.err = d.t.hub.Exchange(call, &p.sent, p)
		if slot != nil {
			d.t.slots.give(slot, p.err == nil)
		}
	}()
	return p.wait(ctx, d)
}

// wait waits for the answer, or for questions to ask the client.
func (p *parked) wait(ctx context.Context, d *descent) (*answer, error) {
	select {
	case <-p.done:
		return p.finish(d)
	case <-ctx.Done():
		p.abandon()
		<-p.done
		p.answer.Release()
		return nil, context.Cause(ctx)
	case <-p.asked:
	}
	t := time.NewTimer(gatherTime)
	defer t.Stop()
	select {
	case <-p.done:
		return p.finish(d)
	case <-t.C:
	}
	return p.ask(d)
}

// finish returns the server's answer to the request that waits for it.
func (p *parked) finish(d *descent) (*answer, error) {
	p.t.unpark(p)
	p.detach()
	if p.err != nil {
		return nil, p.err
	}
	return d.conclude(p.answer)
}

// abandon ends a call that nobody waits for any more.
func (p *parked) abandon() {
	p.detach()
	p.cancel()
	p.t.unpark(p)
}

func (p *parked) detach() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.d = nil
	if p.leave != nil {
		p.leave.Stop()
	}
}

// ask answers the client with what the server asks for, and parks the call.
func (p *parked) ask(d *descent) (*answer, error) {
	if err := p.t.admit(p); err != nil {
		p.abandon()
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.d, p.nonce = nil, rand.Text()
	p.leave = time.AfterFunc(parkTime, p.expire)
	out := []byte(`{"resultType":"input_required","inputRequests":{`)
	for i, q := range p.questions {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(mcp.AppendString(out, q.key), ':'), q.request...)
	}
	out = append(out, `},"requestState":`...)
	out = append(mcp.AppendString(out, p.state()), '}')
	return made(mcp.AppendResult(nil, d.r.ID, out), http.StatusOK)
}

// expire gives up a call whose client has not come back.
func (p *parked) expire() {
	p.abandon()
	<-p.done
	p.answer.Release()
}

// state seals what lets this call be resumed, once.
func (p *parked) state() string {
	text, err := json.Marshal(state{p.handle, p.nonce, p.principal, p.digest[:], p.t.now().Add(parkTime).Unix()})
	if err != nil {
		panic(err) // strings and numbers
	}
	return base64.RawURLEncoding.EncodeToString(p.t.keys.Seal(statePlace, text))
}

// Event implements upstream.Sink: what the server says goes to the request
// that waits, and what it asks is kept.
func (p *parked) Event(message []byte, e *mcp.Envelope) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case e.Kind == mcp.Request:
		return p.question(message, e)
	case e.Method == mcp.NotifyCancelled: // the server does not want to know any more
		p.questions = slices.DeleteFunc(p.questions, func(q question) bool { return mcp.SameID(q.id, e.RequestID.Of(message)) })
		return nil
	case p.d == nil || !p.d.passes(message, e):
		return nil
	}
	if e.Method != mcp.NotifyProgress {
		return p.d.sink.Event(message, e)
	}
	return p.progress(message, e)
}

// progress passes progress on under the token of the request that waits.
func (p *parked) progress(message []byte, e *mcp.Envelope) error {
	token := p.d.e.ProgressToken.Of(p.d.r.Body)
	switch {
	case len(token) == 0:
		return nil
	case slices.Equal(token, e.Progress.Of(message)):
		return p.d.sink.Event(message, e)
	}
	out := mcp.Splice(nil, message, mcp.Edit{Span: e.Progress, With: token})
	var env mcp.Envelope
	if err := mcp.ScanReply(out, &env, mcp.Limits{}); err != nil {
		return err
	}
	return p.d.sink.Event(out, &env)
}

// question keeps a server's request; the caller holds the lock.
func (p *parked) question(message []byte, e *mcp.Envelope) error {
	if !Asks(e.Method) || !Offers(p.sent.Client.Capabilities, e.Method, e.Params.Of(message)) || len(p.questions) >= maxQuestions {
		(&descent{t: p.t, sent: p.sent}).refuse(message, e)
		return nil
	}
	p.serial++
	q := question{key: "q" + strconv.Itoa(p.serial), id: slices.Clone(e.ID.Of(message)), request: mcp.AppendString([]byte(`{"method":`), e.Method)}
	if !e.Params.Empty() {
		q.request = append(append(q.request, `,"params":`...), asked(message, e)...)
	}
	q.request = append(q.request, '}')
	p.questions = append(p.questions, q)
	select {
	case p.asked <- struct{}{}:
	default:
	}
	return nil
}

// asked returns the params of a server's request without what only legacy
// clients know: the id of an elicitation that completes on its own.
func asked(message []byte, e *mcp.Envelope) []byte {
	edits, _ := mcp.RemoveMembers(nil, message, e.Params, func(m mcp.Member) bool {
		return e.Method == mcp.MethodElicitCreate && m.Is(message, "elicitationId")
	})
	start := e.Params.Start
	for i := range edits {
		edits[i].Start, edits[i].End = edits[i].Start-start, edits[i].End-start
	}
	return mcp.Splice(nil, e.Params.Of(message), edits...)
}

// resume goes on with a parked call.
func (d *descent) resume(ctx context.Context) (*answer, error) {
	p, err := d.open()
	if err != nil {
		return nil, err
	}
	if err := d.translate(); err != nil {
		return nil, err
	}
	replies, err := p.take(d)
	if err != nil {
		return nil, err
	}
	if p.sent.Server == nil { // nothing waits: the request is made anew
		p.t.unpark(p)
		if d.declined() {
			return nil, ErrDeclined
		}
		return d.converse(ctx)
	}
	for _, reply := range replies {
		if err := d.t.hub.Reply(ctx, &p.sent, reply); err != nil {
			p.abandon()
			return nil, err
		}
	}
	p.mu.Lock()
	missing := len(p.questions) > 0
	p.mu.Unlock()
	if missing {
		return p.ask(d)
	}
	return p.wait(ctx, d)
}

// declined reports whether the user did not want to visit a page.
func (d *descent) declined() bool {
	for m := range mcp.Members(d.r.Body, d.e.InputResponses) {
		if v, ok := mcp.Get(d.r.Body, m.Value, "action"); ok && !mcp.Equal(d.r.Body, v, "accept") {
			return true
		}
	}
	return false
}

// open finds the parked call that a requestState stands for.
func (d *descent) open() (*parked, error) {
	text, err := mcp.String(d.r.Body, d.e.RequestState)
	if err != nil || len(text) > 4096 {
		return nil, ErrState
	}
	blob, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, ErrState
	}
	plain, err := d.t.keys.Open(statePlace, blob)
	if err != nil {
		return nil, ErrState
	}
	var s state
	digest := d.digest()
	if json.Unmarshal(plain, &s) != nil || s.Principal != d.r.By.ID || !slices.Equal(s.Digest, digest[:]) || d.t.now().Unix() > s.Expires {
		return nil, ErrState
	}
	d.t.mu.Lock()
	p := d.t.parked[s.Handle]
	d.t.mu.Unlock()
	if p == nil {
		return nil, ErrState
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nonce == "" || p.nonce != s.Nonce {
		return nil, ErrState
	}
	return p, nil
}

// take makes the request the one that waits, and its answers the replies to
// the server's questions. What is not answered stays asked.
func (p *parked) take(d *descent) (replies [][]byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nonce == "" {
		return nil, ErrState // another request was quicker
	}
	var open []question
	for _, q := range p.questions {
		v, ok := mcp.Get(d.r.Body, d.e.InputResponses, q.key)
		switch {
		case !ok:
			open = append(open, q)
		case d.r.Body[v.Start] != '{':
			return nil, ErrResponses
		case len(q.id) > 0:
			replies = append(replies, mcp.AppendResult(nil, q.id, v.Of(d.r.Body)))
		}
	}
	p.nonce, p.questions, p.d = "", open, d
	p.leave.Stop()
	select { // what was asked has been told
	case <-p.asked:
	default:
	}
	return replies, nil
}

// elicit turns a legacy server's refusal that names URLs to visit first
// (2025-11-25) into questions; the request is made anew afterwards.
func (d *descent) elicit(a *answer) (*answer, error) {
	defer a.Release()
	list, _ := mcp.Find(a.Body, a.Envelope.ErrorData, "elicitations")
	var questions []question
	for v := range mcp.Elements(a.Body, list) {
		params := slices.Clone(v.Of(a.Body))
		edits, _ := mcp.RemoveMembers(nil, params, mcp.Root(params), func(m mcp.Member) bool { return m.Is(params, "elicitationId") })
		request := append([]byte(`{"method":"`+mcp.MethodElicitCreate+`","params":`), mcp.Splice(nil, params, edits...)...)
		questions = append(questions, question{key: "q" + strconv.Itoa(len(questions)+1), request: append(request, '}')})
	}
	capabilities := d.sent.Client.Capabilities
	if _, ok := mcp.Find(capabilities, mcp.Root(capabilities), "elicitation", "url"); !ok || questions == nil {
		data := []byte(`{"requiredCapabilities":{"elicitation":{"url":{}}}}`)
		return made(mcp.AppendError(nil, d.r.ID, mcp.CodeMissingCapability, "The MCP server wants the user to visit a page first.", data), http.StatusBadRequest)
	}
	p := d.t.park(d)
	p.questions = questions[:min(len(questions), maxQuestions)]
	p.cancel = func() {}
	close(p.done)
	return p.ask(d)
}
