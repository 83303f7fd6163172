package upstream

import (
	"context"
	"net/http"
	"net/url"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/upstream/pair"
	"headgate/internal/upstream/wire"
)

// Pairs is the channel of HTTP+SSE, the transport of 2024-11-05.
type Pairs struct {
	pool *wire.Pool
	ctx  context.Context // ends at Close
	stop context.CancelFunc
}

// NewPairs returns the channel. Close it when done.
func NewPairs(dial wire.Dial, o wire.Options) *Pairs {
	o.MaxConns = maxStreams
	c := &Pairs{pool: wire.NewPool(dial, o)}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// Open implements Channel.
func (c *Pairs) Open(_ context.Context, s *catalog.Server, b *catalog.Binding) (http.Handler, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, wire.ErrRequest.Because(err)
	}
	fields := make([]wire.Field, len(b.Headers))
	for i, f := range b.Headers {
		fields[i] = wire.Field{Name: f.Name, Value: f.Value.Reveal()}
	}
	return pair.New(c.ctx, c.pool, u, fields)
}

// Close ends every session and lets go of every connection.
func (c *Pairs) Close() {
	c.stop()
	c.pool.Close()
}

// pair tries HTTP+SSE with a server that answers nothing newer, and stays with
// it when that works.
func (p *peer) pair(ctx context.Context) (*Facts, error) {
	s := p.server.Load()
	if s.Transport != catalog.HTTP || p.hub.opts.Channels[catalog.SSE] == nil {
		return nil, ErrTransport
	}
	t, err := p.hub.channel(ctx, catalog.SSE, s, p.bound)
	if err != nil {
		return nil, err
	}
	direct := p.target.Swap(t)
	f, err := p.greet(ctx)
	p.mu.Lock()
	if err == nil && p.gone {
		err = ErrClosed
	}
	if err != nil {
		p.target.Store(direct)
		p.mu.Unlock()
		return nil, err
	}
	p.mu.Unlock()
	p.paired.Store(true)
	p.eras.learn(mcp.Modern, nil, p.hub.opts.Now().Add(absentTTL))
	return f, nil
}

// unpair goes back to the server itself, which has stopped speaking HTTP+SSE.
func (p *peer) unpair(ctx context.Context) error {
	t, err := p.hub.target(ctx, p.server.Load(), p.bound)
	if err != nil {
		return err
	}
	p.target.Store(t)
	p.paired.Store(false)
	return nil
}
