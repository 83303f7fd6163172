package stdio

import (
	"context"
	"errors"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/sandbox"
)

// facts are what a child said of itself.
type facts struct {
	era      mcp.Era
	revision mcp.Revision
	result   []byte // of initialize or server/discover, raw
}

// promises are what every client can be asked for through Headgate, or is
// refused on its behalf. The child is told once, for all its callers.
const promises = `{"elicitation":{"form":{},"url":{}},"sampling":{"context":{},"tools":{}}}`

// launch starts the program and shakes hands with it.
func (p *program) launch(ctx context.Context) (*conn, error) {
	leave, err := p.host.queue(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	spec, err := p.host.spec(ctx, p.server, p.binding)
	if err != nil {
		return nil, err
	}
	if err := p.host.room(ctx, p.server); err != nil {
		return nil, err
	}
	return p.shake(ctx, spec)
}

// shake starts a process and finds out what it speaks.
func (p *program) shake(ctx context.Context, spec sandbox.Spec) (*conn, error) {
	probe := p.era() == unprobed && p.server.Era == catalog.Auto
	c, err := p.attempt(ctx, spec, probe)
	// Some programs give up on what they do not know.
	if probe && ctx.Err() == nil && (errors.Is(err, errEnded) || errors.Is(err, sandbox.ErrExited)) {
		c, err = p.attempt(ctx, spec, false)
	}
	return c, err
}

func (p *program) attempt(ctx context.Context, spec sandbox.Spec, probe bool) (*conn, error) {
	free, err := p.host.claim(ctx, spec.WorkDir)
	if err != nil {
		return nil, err
	}
	proc, err := p.host.opts.Launcher.Start(ctx, spec)
	if err != nil {
		free()
		return nil, err
	}
	c := newConn(p, proc)
	c.began = p.host.opts.Now()
	if !p.host.spawn(func() { c.read(); free() }) {
		c.stop()
		free()
		return nil, ErrClosed
	}
	go c.write() // until read ends
	f, err := c.greet(ctx, probe)
	if err != nil {
		p.probed.Store(uint32(unprobed))
		c.stop()
		return nil, err
	}
	c.facts.Store(f)
	return c, nil
}

// greet finds out which era the child speaks, in the way of mcp-protocol.md
// 1.3: a modern question, and the old handshake upon silence or any error.
func (c *conn) greet(ctx context.Context, probe bool) (*facts, error) {
	if !probe {
		if pin := c.program.server.Era; pin == catalog.Modern || pin != catalog.Legacy && c.program.era() == modern {
			return c.discover(ctx)
		}
		return c.initialize(ctx)
	}
	brief, cancel := context.WithTimeout(ctx, c.program.host.opts.Probe)
	f, err := c.discover(brief)
	cancel()
	if err == nil || errors.Is(err, errEnded) || errors.Is(err, sandbox.ErrExited) || ctx.Err() != nil {
		return f, err
	}
	f, err = c.initialize(ctx)
	if errors.Is(err, ErrSpeech) {
		return c.discover(ctx) // perhaps it was only slow
	}
	return f, err
}

func (c *conn) discover(ctx context.Context) (*facts, error) {
	r, err := c.ask(ctx, mcp.MethodDiscover, c.alone())
	if err != nil {
		return nil, err
	}
	if r.kind != mcp.Response {
		return nil, ErrSpeech
	}
	versions, _ := mcp.Get(r.line, r.result, "supportedVersions")
	best := mcp.Revision("")
	for v := range mcp.Elements(r.line, versions) {
		text, _ := mcp.String(r.line, v)
		if revision, ok := mcp.Known(text); ok && revision.Era() == mcp.Modern && revision > best {
			best = revision
		}
	}
	if best == "" {
		return nil, ErrSpeech
	}
	return &facts{mcp.Modern, best, r.result.Of(r.line)}, nil
}

func (c *conn) initialize(ctx context.Context) (*facts, error) {
	params := []byte(`{"protocolVersion":"` + string(mcp.LatestLegacy) + `","capabilities":` + promises + `,"clientInfo":`)
	r, err := c.ask(ctx, mcp.MethodInitialize, append(c.clientInfo(params), '}'))
	if err != nil {
		return nil, err
	}
	if r.kind != mcp.Response {
		return nil, ErrSpeech
	}
	version, _ := mcp.Get(r.line, r.result, "protocolVersion")
	text, _ := mcp.String(r.line, version)
	revision, ok := mcp.Known(text)
	if !ok || revision.Era() != mcp.Legacy {
		return nil, ErrSpeech
	}
	if err := c.send(mcp.AppendRequest(nil, nil, mcp.NotifyInitialized, nil)); err != nil {
		return nil, err
	}
	return &facts{mcp.Legacy, revision, r.result.Of(r.line)}, nil
}

// alone is the params of a request of ours that stands alone (modern).
func (c *conn) alone() []byte {
	params := []byte(`{"_meta":{"` + mcp.MetaProtocolVersion + `":"` + string(mcp.LatestModern) + `","` + mcp.MetaClientCapabilities + `":{},"` + mcp.MetaClientInfo + `":`)
	return append(c.clientInfo(params), "}}"...)
}

func (c *conn) clientInfo(dst []byte) []byte {
	dst = append(dst, `{"name":"headgate","version":`...)
	return append(mcp.AppendString(dst, c.program.host.opts.Version), '}')
}

// restore tells a new child what callers had asked of the one before.
func (c *conn) restore() {
	p := c.program
	if c.facts.Load().era == mcp.Modern {
		for _, l := range p.listening() {
			c.attach(l)
		}
		return
	}
	subs, want := p.agreed()
	c.setLevel(want)
	for uri := range subs {
		c.tell(mcp.MethodResourcesSubscribe, append(mcp.AppendString([]byte(`{"uri":`), uri), '}'))
	}
}

// setLevel tells the child which log lines are wanted, where it has any.
func (c *conn) setLevel(want level) {
	f := c.facts.Load()
	if _, logs := mcp.Find(f.result, mcp.Root(f.result), "capabilities", "logging"); logs {
		c.tell(mcp.MethodSetLevel, append(mcp.AppendString([]byte(`{"level":`), want.String()), '}'))
	}
}

// rest is how long the program is left alone after it has ended in a row, and
// whether that is because it ended too often in a short time.
func (p *program) rest(now time.Time) time.Duration {
	return p.notBefore.Sub(now)
}

const (
	firstPause  = time.Second
	longestRest = time.Minute
	tripAfter   = 5 // ends within tripWithin
	tripWithin  = time.Minute
	healthyFor  = time.Minute // a child that ran so long was no failure to start
	patience    = 3 * time.Second
)

// failed counts an end that nobody asked for. The first one is followed by a
// start at once: a child may be killed for reasons of the host.
func (p *program) failed(now time.Time, ran time.Duration) {
	if ran >= healthyFor {
		p.streak = 0
	}
	p.streak++
	p.crashes = append(p.crashes, now)
	for len(p.crashes) > 0 && now.Sub(p.crashes[0]) > tripWithin {
		p.crashes = p.crashes[1:]
	}
	pause := time.Duration(0)
	if p.streak > 1 {
		pause = min(firstPause<<min(p.streak-2, 10), longestRest)
	}
	if p.tripped = len(p.crashes) >= tripAfter; p.tripped {
		pause = longestRest
		p.crashes = nil // the next one to start is a trial
	}
	p.notBefore = now.Add(pause)
}
