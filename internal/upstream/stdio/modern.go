package stdio

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"headgate/internal/mcp"
)

// unlisten is how long a child has to take note of a subscription's end before
// a new one starts: some servers mix up two that overlap.
const unlisten = 100 * time.Millisecond

// modern takes a message that stands alone.
func (x *exchange) modern() {
	f, err := x.known()
	switch {
	case err != nil:
		x.out.fail(err)
	case f.era == mcp.Legacy:
		x.refuse(http.StatusBadRequest, mcp.CodeUnsupportedVersion, "this server speaks the revisions with a handshake")
	case x.env.Kind != mcp.Request:
		x.out.reply(http.StatusAccepted, nil) // what a client may say without asking means nothing over HTTP
	case x.env.Method == mcp.MethodDiscover:
		x.result(f.result)
	case x.env.Method == mcp.MethodSubscriptionsListen:
		x.subscription()
	default:
		if known := x.program.asleep(x.body, &x.env); known != nil {
			x.result(known)
			return
		}
		k := newCall(x.env.Method)
		if !x.env.LogLevel.Empty() {
			name, _ := mcp.String(x.body, x.env.LogLevel)
			k.level = max(levelOf(name), 0)
		}
		x.relay(k)
	}
}

// listen is a subscription of a caller. It outlives the child, which may sleep
// meanwhile.
type listen struct {
	body   []byte
	env    mcp.Envelope
	inbox  *inbox
	answer chan *reply // the child's end of it
	over   chan struct{}
	once   sync.Once

	mu   sync.Mutex
	conn *conn // where it is in force
}

func (l *listen) end() { l.once.Do(func() { close(l.over) }) }

// subscription serves subscriptions/listen.
func (x *exchange) subscription() {
	p := x.program
	l := &listen{body: slices.Clone(x.body), inbox: newInbox(), answer: make(chan *reply, 1), over: make(chan struct{})}
	_ = mcp.Scan(l.body, &l.env, mcp.Limits{Depth: mcp.DefaultReplyDepth}) // it was readable before
	p.mu.Lock()
	if p.retired || len(p.listens) >= maxSessions {
		p.mu.Unlock()
		x.out.fail(ErrBusy)
		return
	}
	p.listens[l] = struct{}{}
	c := p.conn
	p.mu.Unlock()
	defer p.unlisten(l)
	if c != nil {
		c.attach(l)
	} else {
		_ = x.web.event(x.acknowledgement())
	}
	x.listening(l)
}

// listening passes on what the subscription brings.
func (x *exchange) listening(l *listen) {
	for {
		select {
		case <-l.inbox.news:
			x.heard(l)
		case r := <-l.answer:
			if r.line == nil {
				x.out.fail(ErrSpeech)
				return
			}
			x.heard(l)
			x.out.reply(statusOf(&call{}, r), r.append(nil, x.id()))
			return
		case <-l.over:
			return
		case <-x.ctx.Done():
			return
		}
	}
}

// heard passes on what has come. A child that was started anew acknowledges the
// subscription again, which its caller knows already.
func (x *exchange) heard(l *listen) {
	for _, m := range l.inbox.take() {
		var e mcp.Envelope
		if mcp.ScanReply(m, &e, mcp.Limits{}) == nil && e.Method == mcp.NotifySubscriptionsAck && x.web.flowing {
			continue
		}
		_ = x.web.event(m)
	}
}

// acknowledgement is ours while the child sleeps: nothing changes then.
func (x *exchange) acknowledgement() []byte {
	filter := []byte(`{}`)
	if v, ok := mcp.Get(x.body, x.env.Params, "notifications"); ok {
		filter = flat(slices.Clone(v.Of(x.body)))
	}
	params := append([]byte(`{"_meta":{"`+mcp.MetaSubscriptionID+`":`), x.id()...)
	params = append(append(append(params, `},"notifications":`...), filter...), '}')
	return mcp.AppendRequest(nil, nil, mcp.NotifySubscriptionsAck, params)
}

// attach puts a subscription in force at a child, in a goroutine of its own.
func (c *conn) attach(l *listen) {
	l.mu.Lock()
	twice := l.conn == c
	l.conn = c
	l.mu.Unlock()
	if twice {
		return
	}
	k := newCall(mcp.MethodSubscriptionsListen)
	k.listen, k.rawID, k.inbox = true, l.env.ID.Of(l.body), l.inbox
	c.program.host.spawn(func() {
		c.mu.Lock()
		wait := time.Until(c.unlistens.Add(unlisten))
		c.mu.Unlock()
		if pause(c.ctx, wait) != nil || c.begin(c.ctx, time.Time{}, k, l.body, &l.env) != nil {
			return // the next child gets it again
		}
		select {
		case r := <-k.answer:
			if c.ending() || r == unsent {
				return // it says goodbye because it goes to sleep; or the next one gets it
			}
			select {
			case l.answer <- r:
			default:
			}
		case <-c.gone:
		case <-l.over:
			c.abandon(k, "the client does not listen any more")
		}
	})
}

// unlisten ends a subscription.
func (p *program) unlisten(l *listen) {
	l.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.listens, l)
}

// listening returns the subscriptions that are open.
func (p *program) listening() []*listen {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*listen, 0, len(p.listens))
	for l := range p.listens {
		all = append(all, l)
	}
	return all
}
