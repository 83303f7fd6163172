package upstream

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/upstream/wire"
)

const (
	maxSessionID = 1024
	handshake    = 30 * time.Second // the most that opening a session may take
)

// sessionKey says whose session it is: a downstream session's own, or one that
// a principal's stateless calls with equal promises share.
type sessionKey struct {
	affinity     string
	principal    string
	revision     mcp.Revision
	capabilities string
	level        string
}

// keyOf returns the key of a request's session.
func keyOf(r *Request) sessionKey {
	if r.Affinity != "" {
		return sessionKey{affinity: r.Affinity}
	}
	key := sessionKey{revision: r.Revision, capabilities: string(r.Client.Capabilities), level: r.Client.Level}
	if r.By != nil {
		key.principal = r.By.ID
	}
	return key
}

// session is a session with a legacy server. A server that gives no session id
// has one all the same, to remember what was agreed.
type session struct {
	key    sessionKey
	shared bool
	ready  chan struct{} // closed once the handshake has ended
	open   atomic.Bool   // and went well
	err    error
	id     string // never leaves this package
	facts  *Facts
	fields []wire.Field // of every message in it
	used   atomic.Int64 // unix milliseconds
	busy   atomic.Int32
	lost   atomic.Bool
}

func (s *session) enter(now time.Time) {
	s.busy.Add(1)
	s.used.Store(now.UnixMilli())
}

func (s *session) leave() { s.busy.Add(-1) }

// session returns the open session of a key, opening it if need be. Callers
// that come meanwhile wait for the same handshake.
func (p *peer) session(ctx context.Context, key sessionKey, r *Request, deadline time.Time) (*session, error) {
	if era, ok := p.pinned(); ok && era != mcp.Legacy {
		return nil, ErrEra
	}
	p.mu.Lock()
	s := p.sessions[key]
	if s != nil {
		p.mu.Unlock()
		if s.open.Load() {
			return s, nil
		}
	} else {
		s = &session{key: key, shared: key.affinity == "", ready: make(chan struct{})}
		s.used.Store(p.hub.opts.Now().UnixMilli())
		err := p.add(s)
		p.mu.Unlock()
		if err != nil {
			return nil, err
		}
		p.handshake(s, r)
	}
	wait, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	select {
	case <-s.ready:
		if s.err != nil {
			return nil, s.err
		}
		return s, nil
	case <-wait.Done():
		return nil, cut(wait, false)
	}
}

// add puts a session in its place, and an idle one out when there are too many.
func (p *peer) add(s *session) error {
	if p.gone {
		return ErrClosed
	}
	if len(p.sessions) >= p.hub.opts.MaxSessions {
		var oldest *session
		for _, o := range p.sessions {
			if o.open.Load() && o.busy.Load() == 0 && p.streams[o.key] == nil && (oldest == nil || o.used.Load() < oldest.used.Load()) {
				oldest = o
			}
		}
		if oldest == nil {
			return ErrBusy
		}
		delete(p.sessions, oldest.key)
		p.hub.errand(func(ctx context.Context) { p.goodbye(ctx, oldest) })
	}
	p.sessions[s.key] = s
	return nil
}

// handshake opens a session beside the calls that wait for it.
func (p *peer) handshake(s *session, r *Request) {
	client := r.Client // the caller may leave before the handshake has ended
	client.Capabilities, client.Info = slices.Clone(client.Capabilities), slices.Clone(client.Info)
	revision, limit := r.Revision, min(or(r.Server.TimeoutOf(""), handshake), handshake)
	ok := p.hub.spawn(func() {
		ctx, cancel := context.WithTimeout(p.hub.ctx, limit)
		defer cancel()
		p.finish(s, p.initialize(ctx, s, revision, client))
	})
	if !ok {
		p.finish(s, ErrClosed)
	}
}

func (p *peer) finish(s *session, err error) {
	s.err = err
	s.open.Store(err == nil)
	if err != nil {
		p.lose(s)
	}
	close(s.ready)
}

// initialize shakes hands: initialize, then notifications/initialized.
func (p *peer) initialize(ctx context.Context, s *session, revision mcp.Revision, c Client) error {
	if revision == "" || revision.Era() != mcp.Legacy {
		revision = mcp.LatestLegacy
	}
	body := p.hub.appendInitialize(nil, revision, c.Capabilities, c.Info)
	resp, err := p.hub.calls.Do(ctx, &wire.Request{Target: p.target.Load(), Body: [][]byte{body}, Deadline: deadlineOf(ctx)})
	if err != nil {
		return honest(err)
	}
	defer resp.Release()
	id := resp.Header(mcp.HeaderSessionID)
	reply, err := p.hub.oneReply(resp, []byte(initializeID))
	if err != nil {
		return notLegacy(err)
	}
	f, err := legacyFacts(reply)
	if err != nil {
		return err
	}
	if !visible(id) {
		return nonsense("a session id with characters it must not have")
	}
	s.id, s.facts = id, f
	s.fields = sessionFields(id, f.Revision)
	p.eras.learn(mcp.Legacy, f, p.hub.opts.Now().Add(factsTTL))
	if err := p.confirm(ctx, s); err != nil || c.Level == "" || !f.Has("logging") {
		return err
	}
	return p.setLevel(ctx, s, c.Level)
}

// setLevel gives a new session the logging level its client asked for before.
func (p *peer) setLevel(ctx context.Context, s *session, level string) error {
	params := append(mcp.AppendString([]byte(`{"level":`), level), '}')
	body := mcp.AppendRequest(nil, []byte(setLevelID), mcp.MethodSetLevel, params)
	resp, err := p.hub.calls.Do(ctx, &wire.Request{Target: p.target.Load(), Fields: s.fields, Body: [][]byte{body}, Deadline: deadlineOf(ctx)})
	if err != nil {
		return honest(err)
	}
	defer resp.Release()
	if _, err := p.hub.oneReply(resp, []byte(setLevelID)); err != nil && !errors.Is(err, errRPC) && !errors.Is(err, ErrRejected) {
		return err
	}
	return nil // a server that refuses the level works all the same
}

func (p *peer) confirm(ctx context.Context, s *session) error {
	note := mcp.AppendRequest(nil, nil, mcp.NotifyInitialized, nil)
	status, err := p.post(ctx, s, note)
	switch {
	case err != nil:
		return err
	case status == 401:
		return ErrAuth.Because(&Challenge{})
	case status == 404 && s.id != "":
		return ErrSession
	case status >= 500:
		return ErrFailed.With("status", status)
	}
	return nil // some servers refuse the notification and work all the same
}

func sessionFields(id string, r mcp.Revision) []wire.Field {
	var f []wire.Field
	if id != "" {
		f = append(f, wire.Field{Name: mcp.HeaderSessionID, Value: id})
	}
	if r.AtLeast(mcp.Revision20250618) { // the first one with the header
		f = append(f, wire.Field{Name: mcp.HeaderProtocolVersion, Value: string(r)})
	}
	return f
}

// visible reports whether a session id is one: visible ASCII, not too long.
func visible(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] >= 0x7f {
			return false
		}
	}
	return len(id) <= maxSessionID
}

// lose forgets a session that the server has lost, unless it is gone already.
func (p *peer) lose(s *session) {
	s.lost.Store(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sessions[s.key] == s {
		delete(p.sessions, s.key)
	}
}

// retire takes a session out of use and says goodbye.
func (p *peer) retire(s *session) {
	p.mu.Lock()
	if p.sessions[s.key] == s {
		delete(p.sessions, s.key)
	}
	p.mu.Unlock()
	p.hub.errand(func(ctx context.Context) { p.goodbye(ctx, s) })
}

// goodbye ends a session at the server. Nobody minds if that fails.
func (p *peer) goodbye(ctx context.Context, s *session) {
	if s.id == "" || s.lost.Load() {
		return
	}
	resp, err := p.hub.calls.Do(ctx, &wire.Request{Method: "DELETE", Target: p.target.Load(), Fields: s.fields, Deadline: deadlineOf(ctx)})
	if err == nil {
		resp.Release()
	}
}

// closeIdle says goodbye to sessions that were not used since the moment, and
// reports whether nothing of the peer is in use any more.
func (p *peer) closeIdle(before time.Time) (idle bool) {
	p.mu.Lock()
	var old []*session
	for key, s := range p.sessions {
		if s.open.Load() && s.busy.Load() == 0 && p.streams[key] == nil && s.used.Load() < before.UnixMilli() {
			delete(p.sessions, key)
			old = append(old, s)
		}
	}
	idle = len(p.sessions) == 0 && len(p.streams) == 0 && p.used.Load() < before.Unix()
	p.mu.Unlock()
	for _, s := range old {
		p.hub.errand(func(ctx context.Context) { p.goodbye(ctx, s) })
	}
	return idle
}

func (p *peer) endAffinity(affinity string) {
	key := sessionKey{affinity: affinity}
	p.mu.Lock()
	s, st := p.sessions[key], p.streams[key]
	delete(p.sessions, key)
	delete(p.streams, key)
	p.mu.Unlock()
	if st != nil {
		st.cancel()
	}
	if s != nil && s.open.Load() {
		p.hub.errand(func(ctx context.Context) { p.goodbye(ctx, s) })
	}
}

// close ends every stream and session. run starts the goodbyes.
func (p *peer) close(run func(func())) {
	p.mu.Lock()
	p.gone = true
	sessions, streams := p.sessions, p.streams
	p.sessions, p.streams = map[sessionKey]*session{}, map[sessionKey]*stream{}
	p.mu.Unlock()
	for _, st := range streams {
		st.cancel()
	}
	for _, s := range sessions {
		if s.open.Load() {
			run(func() {
				ctx, cancel := context.WithTimeout(p.hub.ctx, errandTime)
				defer cancel()
				p.goodbye(ctx, s)
			})
		}
	}
}

func deadlineOf(ctx context.Context) time.Time {
	d, _ := ctx.Deadline()
	return d
}

func appendUint(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) }

// notLegacy turns a refusal of initialize into ErrEra.
func notLegacy(err error) error {
	if refusesEra(err) || errors.Is(err, errRPC) {
		return ErrEra.Because(err)
	}
	return err
}

// refusesEra reports whether a refusal may be one of the whole era: not one of
// the credentials or the rate.
func refusesEra(err error) bool {
	if !errors.Is(err, ErrRejected) {
		return false
	}
	status := fault.Of(err).Details["status"]
	return status != 403 && status != 429
}
