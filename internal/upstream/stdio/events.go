package stdio

import (
	"strings"

	"headgate/internal/mcp"
)

// question routes what the child asks a client for.
func (c *conn) question(line []byte, e *mcp.Envelope) {
	id := e.ID.Of(line)
	switch e.Method {
	case mcp.MethodPing:
		_ = c.send(mcp.AppendResult(nil, id, []byte(`{}`)))
		return
	case mcp.MethodElicitCreate, mcp.MethodSamplingCreate:
	default:
		c.refuse(id, mcp.CodeMethodNotFound, "the client does not support this request")
		return
	}
	s, k := c.whose()
	switch {
	case s == nil:
		c.refuse(id, mcp.CodeInternal, "several clients, or none, have calls under way, so it cannot be told whom to ask")
	case !s.canBeAsked(e.Method):
		c.refuse(id, mcp.CodeMethodNotFound, "the client does not support this request")
	case !c.expect(string(id), s):
		c.refuse(id, mcp.CodeInternal, "too many requests to clients are open, or one with this id is")
	case k != nil && k.push(line), k == nil && s.push(line):
	default:
		c.takeAsk(string(id), s)
		c.refuse(id, mcp.CodeInternal, "the client does not read what it is asked")
	}
}

// refuse answers a child's request with an error.
func (c *conn) refuse(id []byte, code int, text string) {
	_ = c.send(mcp.AppendError(nil, id, code, text, nil)) // a child that is gone needs no answer
}

// whose finds the session that a message without a name belongs to: the one
// whose calls are under way, with the oldest of them; else the only session
// there is. Nil when that cannot be told.
func (c *conn) whose() (*session, *call) {
	c.mu.Lock()
	s, k, mixed := c.lone(func(k *call) bool { return works(k.method) })
	if k == nil {
		s, k, mixed = c.lone(func(k *call) bool { return !k.listen && k.session != nil })
	}
	c.mu.Unlock()
	switch {
	case mixed:
		return nil, nil
	case k != nil:
		return s, k
	}
	return c.program.only(), nil
}

// lone returns the session that all the matching calls belong to, with the
// oldest of them; mixed says that there are several.
func (c *conn) lone(match func(*call) bool) (s *session, oldest *call, mixed bool) {
	for _, k := range c.calls {
		if !match(k) {
			continue
		}
		if oldest != nil && k.session != s {
			return nil, nil, true
		}
		if oldest == nil || k.id < oldest.id {
			s, oldest = k.session, k
		}
	}
	return s, oldest, false
}

// expect notes who is to answer a child's request.
func (c *conn) expect(id string, s *session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, twice := c.asks[id]; twice || c.dead || len(c.asks) >= maxAsks {
		return false
	}
	c.asks[id] = s
	return true
}

// takeAsk ends a child's request if the session is the one that was asked.
func (c *conn) takeAsk(id string, s *session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for asked, whose := range c.asks {
		if whose == s && (asked == id || mcp.SameID([]byte(asked), []byte(id))) {
			delete(c.asks, asked)
			return true
		}
	}
	return false
}

// desert answers the child for a session that has ended.
func (c *conn) desert(s *session) {
	c.mu.Lock()
	var open []string
	for id, whose := range c.asks {
		if whose == s {
			open = append(open, id)
			delete(c.asks, id)
		}
	}
	c.mu.Unlock()
	for _, id := range open {
		c.refuse([]byte(id), mcp.CodeInternal, "the client has gone")
	}
}

// notified routes a notification of the child.
func (c *conn) notified(line []byte, e *mcp.Envelope) {
	if !e.SubscriptionID.Empty() {
		c.program.outdated(e.Method)
		c.subscribed(line, e)
		return
	}
	switch e.Method {
	case mcp.NotifyProgress:
		c.progress(line, e)
	case mcp.NotifyMessage:
		c.logged(line, e)
	case mcp.NotifyToolsChanged, mcp.NotifyPromptsChanged, mcp.NotifyResourcesChanged:
		c.program.outdated(e.Method)
		for _, s := range c.program.everybody() {
			s.changed(e.Method, line)
		}
	case mcp.NotifyResourceUpdated:
		uri, _ := mcp.String(line, e.URI)
		for _, s := range c.program.everybody() {
			if s.watches(uri) {
				c.deliver(s, line)
			}
		}
	case mcp.NotifyCancelled:
		c.unask(line, e)
	case mcp.NotifyElicitationComplete:
		for _, s := range c.program.everybody() {
			c.deliver(s, line)
		}
	default:
		if s, k := c.whose(); k != nil {
			k.push(line)
		} else if s != nil {
			s.push(line)
		}
	}
}

// progress goes to the call whose token it has, under the caller's own.
func (c *conn) progress(line []byte, e *mcp.Envelope) {
	id, ok := idOf(line, e.Progress)
	if !ok {
		return
	}
	c.mu.Lock()
	k := c.calls[id]
	c.mu.Unlock()
	if k != nil && k.token != nil {
		k.push(mcp.Splice(nil, line, mcp.Edit{Span: e.Progress, With: k.token}))
	}
}

// subscribed goes to the subscription whose id it has.
func (c *conn) subscribed(line []byte, e *mcp.Envelope) {
	id, ok := idOf(line, e.SubscriptionID)
	if !ok {
		return
	}
	c.mu.Lock()
	k := c.calls[id]
	c.mu.Unlock()
	if k != nil && k.listen && len(line) <= maxNews {
		k.inbox.put(mcp.Splice(nil, line, mcp.Edit{Span: e.SubscriptionID, With: k.rawID}))
	}
}

// logged routes a log line: to the only call under way, else to all who
// listen to this child.
func (c *conn) logged(line []byte, e *mcp.Envelope) {
	severity := info
	if v, ok := mcp.Get(line, e.Params, "level"); ok {
		name, _ := mcp.String(line, v)
		severity = max(levelOf(name), 0)
	}
	if f := c.facts.Load(); f != nil && f.era == mcp.Modern {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, k := range c.calls {
			if severity >= k.level {
				k.push(line)
			}
		}
		return
	}
	if s, k := c.whose(); k != nil && s != nil {
		if s.wants(severity) {
			k.push(line)
		}
		return
	}
	for _, s := range c.program.everybody() {
		if s.wants(severity) {
			s.push(line)
		}
	}
}

// unask passes on that the child no longer wants an answer.
func (c *conn) unask(line []byte, e *mcp.Envelope) {
	id := string(e.RequestID.Of(line))
	c.mu.Lock()
	s := c.asks[id]
	delete(c.asks, id)
	c.mu.Unlock()
	if s != nil {
		c.deliver(s, line)
	}
}

// deliver hands a message to a session: on its stream, else with a call of its
// that is under way.
func (c *conn) deliver(s *session, line []byte) {
	if s.push(line) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.calls {
		if k.session == s && k.push(line) {
			return
		}
	}
}

// covers reports whether a subscription to a resource holds for another: the
// same, or one below it.
func covers(subscribed, updated string) bool {
	return updated == subscribed || strings.HasPrefix(updated, strings.TrimSuffix(subscribed, "/")+"/")
}
