package stdio

import (
	"maps"

	"headgate/internal/mcp"
)

// open adds a session.
func (p *program) open(capabilities []byte) (*session, error) {
	s := newSession(newID(), capabilities)
	s.touch(p.host.opts.Now())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired {
		return nil, ErrClosed
	}
	if len(p.sessions) >= maxSessions {
		return nil, ErrBusy
	}
	p.sessions[s.id] = s
	return s, nil
}

func (p *program) session(id string) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sessions[id]
	if s != nil {
		s.touch(p.host.opts.Now())
	}
	return s
}

// everybody lists the sessions.
func (p *program) everybody() []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*session, 0, len(p.sessions))
	for _, s := range p.sessions {
		all = append(all, s)
	}
	return all
}

// only returns the session if there is exactly one.
func (p *program) only() *session {
	if all := p.everybody(); len(all) == 1 {
		return all[0]
	}
	return nil
}

// part ends a session.
func (p *program) part(id string) bool {
	p.mu.Lock()
	s, c := p.sessions[id], p.conn
	delete(p.sessions, id)
	p.mu.Unlock()
	if s == nil {
		return false
	}
	s.close(nil)
	if c == nil {
		return true
	}
	c.desert(s)
	kept, want := p.agreed()
	s.mu.Lock()
	subs := maps.Clone(s.subs)
	s.mu.Unlock()
	for uri := range subs {
		if !kept[uri] {
			c.tell(mcp.MethodResourcesUnsubscribe, append(mcp.AppendString([]byte(`{"uri":`), uri), '}'))
		}
	}
	if level(s.level.Load()) != unset {
		c.setLevel(want)
	}
	return true
}

// agreed is what the child is to do for all sessions together: the resources
// to watch, and the lowest level of log lines anybody is to see.
func (p *program) agreed() (subs map[string]bool, want level) {
	subs, want = map[string]bool{}, silent
	for _, s := range p.everybody() {
		own := level(s.level.Load())
		if own == unset {
			own = info
		}
		want = min(want, own)
		s.mu.Lock()
		for uri := range s.subs {
			subs[uri] = true
		}
		s.mu.Unlock()
	}
	if want == silent { // nobody is there
		want = info
	}
	return subs, want
}
