package upstream

import (
	"context"
	"errors"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/upstream/wire"
)

const (
	factsTTL   = time.Hour
	absentTTL  = 10 * time.Minute // how long an era counts as not spoken
	recheckGap = 30 * time.Second
	probeTime  = 10 * time.Second
	maxFacts   = 1 << 20

	initializeID = `"headgate-initialize"`
	discoverID   = `"headgate-discover"`
	setLevelID   = `"headgate-level"`
)

// Facts are what a server says of itself, in the era it is best spoken to.
type Facts struct {
	Era          mcp.Era
	Revision     mcp.Revision // the newest that both sides know
	Capabilities []byte       // raw JSON, an object
	ServerInfo   []byte       // raw JSON, an object or empty
	Instructions string
}

// eras is what is known of the eras a peer speaks.
type eras struct {
	mu      sync.Mutex
	known   [2]*knowledge // by era
	failed  error         // of the last look
	until   time.Time     // as long as failed counts
	checked time.Time     // the last recheck
	look    [2]flight[*Facts]
}

// knowledge is Facts or, without any, that the era is not spoken.
type knowledge struct {
	*Facts
	until time.Time
}

// learn notes facts of an era; nil that it is not spoken.
func (e *eras) learn(era mcp.Era, f *Facts, until time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known[era] = &knowledge{f, until}
	if f != nil {
		e.failed = nil
	}
}

func (e *eras) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known, e.failed = [2]*knowledge{}, nil
}

// recall returns what is known for a caller of an era: facts of it, else, when
// it is not spoken, of the other.
func (e *eras) recall(want mcp.Era, now time.Time) (*Facts, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if k := e.known[want]; k != nil && now.Before(k.until) {
		if k.Facts != nil {
			return k.Facts, nil
		}
		if k := e.known[1-want]; k != nil && k.Facts != nil && now.Before(k.until) {
			return k.Facts, nil
		}
	}
	if e.failed != nil && now.Before(e.until) {
		return nil, e.failed
	}
	return nil, nil
}

// knows reports that the server speaks the era, as far as is known.
func (p *peer) knows(era mcp.Era, now time.Time) bool {
	if pin, ok := p.pinned(); ok {
		return pin == era
	}
	return p.eras.state(era, now) == spoken
}

// speaks returns ErrEra when the server is known not to speak the era. A legacy
// handshake finds that out by itself; a modern request would be work for a
// server that does not know what it is asked, so it is preceded by a look.
func (p *peer) speaks(ctx context.Context, era mcp.Era) error {
	if pin, ok := p.pinned(); ok {
		if pin != era {
			return ErrEra
		}
		return nil
	}
	switch p.eras.state(era, p.hub.opts.Now()) {
	case spoken:
		return nil
	case absent:
		return ErrEra
	}
	if era == mcp.Legacy {
		return nil
	}
	f, err := p.facts(ctx, era, cached)
	if err == nil && f.Era != era {
		err = ErrEra
	}
	return err
}

type state uint8

const (
	unknown state = iota
	spoken
	absent
)

// state tells what is known of an era.
func (e *eras) state(era mcp.Era, now time.Time) state {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch k := e.known[era]; {
	case k == nil || !now.Before(k.until):
		return unknown
	case k.Facts == nil:
		return absent
	}
	return spoken
}

// mode says whether what is in memory may answer.
type mode bool

const (
	cached mode = false
	force  mode = true
)

// Eras returns how a server is best spoken to on behalf of a caller of an era:
// in the same, where it speaks that, so that bytes can be relayed.
func (h *Hub) Eras(ctx context.Context, s *catalog.Server, by *access.Principal, want mcp.Era) (*Facts, error) {
	p, err := h.peer(ctx, s, by)
	if err != nil {
		return nil, err
	}
	return p.facts(ctx, want, cached)
}

// preferred is the era that the hub itself uses where it may choose.
func preferred(p *peer) mcp.Era {
	if era, ok := p.pinned(); ok {
		return era
	}
	return mcp.Modern
}

func (p *peer) facts(ctx context.Context, want mcp.Era, m mode) (*Facts, error) {
	if era, ok := p.pinned(); ok {
		want = era
	}
	if m == cached {
		now := p.hub.opts.Now()
		if f, err := p.eras.recall(want, now); f != nil || err != nil {
			return f, err
		}
		if err := p.origin.admit(now); err != nil {
			return nil, err
		}
	}
	return p.eras.look[want].do(ctx, p.hub, 2*probeTime, func(ctx context.Context) (*Facts, error) {
		start := p.hub.opts.Now()
		f, err := p.probe(ctx, want)
		end := p.hub.opts.Now()
		p.origin.observe(start, end, err)
		if err != nil {
			p.eras.mu.Lock()
			p.eras.failed, p.eras.until = err, end.Add(p.hub.opts.RetryAfter)
			p.eras.mu.Unlock()
		}
		return f, err
	})
}

// probe asks the server, in the wanted era first and then in the other one
// (mcp-protocol.md 1.3). What it learns for certain is kept.
func (p *peer) probe(ctx context.Context, want mcp.Era) (*Facts, error) {
	if p.paired.Load() {
		if f, err := p.greet(ctx); err == nil {
			return f, nil
		}
		if err := p.unpair(ctx); err != nil {
			return nil, err
		}
	}
	ask := [2]func(context.Context) (*Facts, error){mcp.Legacy: p.greet, mcp.Modern: p.discover}
	f, err := ask[want](ctx)
	if _, alone := p.pinned(); alone || err == nil {
		return f, err
	}
	// A sign-in, a dead line or a late answer says nothing about eras; a 5xx might
	// be an old server's way to refuse what it does not know.
	if !errors.Is(err, ErrEra) && !errors.Is(err, ErrFailed) && !errors.Is(err, ErrNonsense) {
		return nil, err
	}
	other, err2 := ask[1-want](ctx)
	if err2 != nil {
		if errors.Is(err, ErrEra) && errors.Is(err2, ErrEra) {
			if f, err := p.pair(ctx); err == nil {
				return f, nil
			}
			return nil, nonsense("neither initialize nor server/discover is answered")
		}
		if errors.Is(err, ErrEra) {
			err = err2
		}
		return nil, err
	}
	p.eras.learn(want, nil, p.hub.opts.Now().Add(absentTTL))
	return other, nil
}

// greet opens the session that the hub itself uses, which tells what a legacy
// server says of itself. Where that is forgotten, it asks in a new session.
func (p *peer) greet(ctx context.Context) (*Facts, error) {
	r := p.own()
	p.mu.Lock()
	s := p.sessions[keyOf(r)]
	p.mu.Unlock()
	if s != nil && s.open.Load() {
		p.retire(s)
	}
	s, err := p.session(ctx, keyOf(r), r, time.Now().Add(probeTime))
	if err != nil {
		return nil, err
	}
	return s.facts, nil
}

// own is the request of the hub itself, for sessions and lists.
func (p *peer) own() *Request {
	return &Request{Server: p.server.Load(), Revision: mcp.LatestLegacy}
}

// discover asks a modern server. One that refuses the revision in the modern
// era's own words, and names one that is known here, is asked once more.
func (p *peer) discover(ctx context.Context) (*Facts, error) {
	f, err := p.discoverOnce(ctx)
	var rpc *rpcError
	if errors.As(err, &rpc) && rpc.code == mcp.CodeUnsupportedVersion {
		supported, _ := mcp.Get(rpc.data, mcp.Root(rpc.data), "supported")
		if knownModern(rpc.data, supported) != "" {
			f, err = p.discoverOnce(ctx)
		}
	}
	switch {
	case errors.Is(err, errRPC), refusesEra(err), errors.Is(err, ErrNonsense):
		return nil, ErrEra.Because(err)
	}
	return f, err
}

func (p *peer) discoverOnce(ctx context.Context) (*Facts, error) {
	body := p.hub.appendModern(nil, []byte(discoverID), mcp.MethodDiscover, nil)
	resp, err := p.hub.calls.Do(ctx, &wire.Request{Target: p.target.Load(), Body: [][]byte{body}, Deadline: time.Now().Add(probeTime),
		Fields: []wire.Field{{Name: mcp.HeaderProtocolVersion, Value: string(mcp.LatestModern)}, {Name: mcp.HeaderMethod, Value: mcp.MethodDiscover}}})
	if err != nil {
		return nil, honest(err)
	}
	defer resp.Release()
	reply, err := p.hub.oneReply(resp, []byte(discoverID))
	if err != nil {
		return nil, err
	}
	f, ttl, err := modernFacts(reply)
	if err != nil {
		return nil, err
	}
	p.eras.learn(mcp.Modern, f, p.hub.opts.Now().Add(ttl))
	return f, nil
}

// recheck looks again whether the server speaks an era after an answer that
// makes it doubtful, and returns ErrEra if it does not any more. It looks at
// most every half minute.
func (p *peer) recheck(ctx context.Context, era mcp.Era) error {
	now := p.hub.opts.Now()
	p.eras.mu.Lock()
	due := now.Sub(p.eras.checked) >= recheckGap
	if due {
		p.eras.checked = now
	}
	p.eras.mu.Unlock()
	if due {
		p.eras.forget()
	}
	f, err := p.facts(ctx, era, cached)
	if err == nil && f.Era != era {
		return ErrEra
	}
	return nil
}

// foreignEra reports whether an error looks like that of a server which does
// not speak the modern era.
func foreignEra(a *Answer) bool {
	switch a.Envelope.ErrorCode {
	case mcp.CodeUnsupportedVersion:
		return true
	case mcp.CodeInvalidRequest, -32000:
		return a.Status >= 400
	}
	return false
}

// legacyFacts reads the result of initialize.
func legacyFacts(r *reply) (*Facts, error) {
	version, _ := r.member("protocolVersion")
	text, _ := mcp.String(r.body, version)
	revision, ok := mcp.Known(text)
	if !ok || revision.Era() != mcp.Legacy {
		return nil, nonsense("initialize agreed on a revision that does not exist")
	}
	return r.facts(mcp.Legacy, revision), nil
}

// modernFacts reads the result of server/discover; ErrEra when it names no
// modern revision that is known here.
func modernFacts(r *reply) (*Facts, time.Duration, error) {
	versions, _ := r.member("supportedVersions")
	revision := knownModern(r.body, versions)
	if revision == "" {
		return nil, 0, ErrEra
	}
	ttl := factsTTL
	if ms, ok := r.ttl(); ok {
		ttl = min(max(ms, time.Minute), factsTTL)
	}
	return r.facts(mcp.Modern, revision), ttl, nil
}

// knownModern returns the newest modern revision of a list that is known here,
// "" when there is none.
func knownModern(b []byte, list mcp.Span) (newest mcp.Revision) {
	for v := range mcp.Elements(b, list) {
		text, _ := mcp.String(b, v)
		if revision, ok := mcp.Known(text); ok && revision.Era() == mcp.Modern && revision.Compare(newest) > 0 {
			newest = revision
		}
	}
	return newest
}
