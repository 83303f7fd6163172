package upstream

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/upstream/wire"
)

// Binder tells how a caller reaches a server; it is the catalog's Resolver.
type Binder interface {
	Bind(ctx context.Context, s *catalog.Server, by *access.Principal) (*catalog.Binding, error)
}

// Channel speaks for servers of one transport that are not reached by
// Streamable HTTP: it returns a handler that is one.
type Channel interface {
	Open(ctx context.Context, s *catalog.Server, b *catalog.Binding) (http.Handler, error)
}

// Waker is a Channel whose servers sleep while nobody uses them. Wake returns
// once one is awake, or why it cannot be.
type Waker interface {
	Wake(ctx context.Context, s *catalog.Server, b *catalog.Binding) error
}

// Builtins are the servers that live in this process, by name.
type Builtins map[string]http.Handler

// Open implements Channel.
func (b Builtins) Open(_ context.Context, s *catalog.Server, _ *catalog.Binding) (http.Handler, error) {
	if h, ok := b[s.URL]; ok {
		return h, nil
	}
	return nil, ErrTransport
}

// Options are what a Hub needs. Zero bounds mean the defaults.
type Options struct {
	Binder   Binder
	Dial     wire.Dial // netguard's
	Channels map[catalog.Transport]Channel
	Wire     wire.Options
	Shelf    Shelf  // nil: what servers listed is forgotten with the process
	Version  string // of this program, for clientInfo
	Log      *slog.Logger
	Now      func() time.Time
	// Changed is told that a list of a server has changed; it must be quick.
	Changed func(server string, kind ListKind)

	SessionIdle time.Duration // 30 minutes: then an unused session is closed
	MaxSessions int           // 1,024 per server
	ListTTL     time.Duration // 5 minutes, for servers that do not say
	RetryAfter  time.Duration // 2 seconds: a failed probe or list is answered from memory as long
	Stretch     int           // 10: progress may extend a timeout to so many times itself
	Resume      time.Duration // 1 second: first wait before a stream is opened again
}

func (o *Options) fill() {
	o.Now = orFunc(o.Now, time.Now)
	o.SessionIdle = or(o.SessionIdle, 30*time.Minute)
	o.MaxSessions = or(o.MaxSessions, 1024)
	o.ListTTL = or(o.ListTTL, 5*time.Minute)
	o.RetryAfter = or(o.RetryAfter, 2*time.Second)
	o.Stretch = or(o.Stretch, 10)
	o.Resume = or(o.Resume, time.Second)
	o.Version = or(o.Version, "dev")
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Changed == nil {
		o.Changed = func(string, ListKind) {}
	}
}

// Hub is every connection to every server.
type Hub struct {
	opts    Options
	ctx     context.Context // ends at Close
	cancel  context.CancelFunc
	tasks   tasks // goroutines that outlive a call
	calls   *wire.Pool
	streams *wire.Pool // long ones, so that they cannot take the calls' connections

	mu      sync.RWMutex
	origins map[originKey]*origin
	closed  bool

	scratch sync.Pool // *exchange
	errands chan struct{}
	serial  atomic.Uint64
}

const (
	maxErrands  = 64 // small posts under way at once: cancellations, goodbyes
	errandTime  = 5 * time.Second
	maxStreams  = 16_384
	sweepPeriod = 20 * time.Second
)

// NewHub returns a hub. Close it when done.
func NewHub(o Options) *Hub {
	o.fill()
	h := &Hub{opts: o, origins: map[originKey]*origin{}, errands: make(chan struct{}, maxErrands)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.calls = wire.NewPool(o.Dial, o.Wire)
	long := o.Wire
	long.MaxConns, long.MaxIdle = maxStreams, 1
	h.streams = wire.NewPool(o.Dial, long)
	h.scratch.New = func() any { return newExchange(h) }
	h.spawn(h.sweep)
	return h
}

// Close says goodbye to the servers' sessions, ends every stream and waits, at
// most until the context ends.
func (h *Hub) Close(ctx context.Context) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	h.closed = true
	origins := h.origins
	h.origins = map[originKey]*origin{}
	h.mu.Unlock()
	var goodbyes sync.WaitGroup
	for _, o := range origins {
		o.close(goodbyes.Go)
	}
	wait(ctx, &goodbyes)
	h.cancel()
	h.tasks.end(ctx)
	h.calls.Close()
	h.streams.Close()
}

// tasks are goroutines that Close waits for.
type tasks struct {
	mu    sync.Mutex
	ended bool
	wg    sync.WaitGroup
}

// spawn runs f beside the calls; it reports false once the hub has closed.
func (h *Hub) spawn(f func()) bool {
	h.tasks.mu.Lock()
	defer h.tasks.mu.Unlock()
	if !h.tasks.ended {
		h.tasks.wg.Go(f)
	}
	return !h.tasks.ended
}

func (t *tasks) end(ctx context.Context) {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	wait(ctx, &t.wg)
}

func wait(ctx context.Context, wg *sync.WaitGroup) {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Exchange sends a request and returns the server's answer; see Exchanger. A
// context that ends cancels the request at the server too.
func (h *Hub) Exchange(ctx context.Context, r *Request, sink Sink) (*Answer, error) {
	start := h.opts.Now()
	p, err := h.peerAt(ctx, r.Server, r.By, start)
	if err != nil {
		return nil, err
	}
	if era := r.Revision.Era(); !p.knows(era, start) {
		if err := p.speaks(ctx, era); err != nil {
			return nil, err
		}
		start = h.opts.Now() // finding out is no part of the exchange
	}
	if err := p.origin.admit(start); err != nil {
		return nil, err
	}
	x := h.begin(p, r, sink, start)
	answer, err := x.run(ctx)
	p.origin.observe(start, h.opts.Now(), err)
	return answer, err
}

// EndSession closes the sessions that were opened for a downstream session.
func (h *Hub) EndSession(affinity string) {
	if affinity == "" {
		return
	}
	h.mu.RLock()
	origins := make([]*origin, 0, len(h.origins))
	for _, o := range h.origins {
		origins = append(origins, o)
	}
	h.mu.RUnlock()
	for _, o := range origins {
		for _, p := range o.all() {
			p.endAffinity(affinity)
		}
	}
}

// errand runs a small task that nobody waits for, unless too many are under way.
func (h *Hub) errand(task func(ctx context.Context)) {
	select {
	case h.errands <- struct{}{}:
	default:
		return
	}
	ok := h.spawn(func() {
		defer func() { <-h.errands }()
		ctx, cancel := context.WithTimeout(h.ctx, errandTime)
		defer cancel()
		task(ctx)
	})
	if !ok {
		<-h.errands
	}
}

// Stats counts what the hub keeps.
type Stats struct{ Servers, Peers, Sessions, Streams, Watchers int }

// Stats returns how much the hub keeps in memory.
func (h *Hub) Stats() (s Stats) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, o := range h.origins {
		s.Servers++
		for _, p := range o.all() {
			s.Peers++
			p.mu.Lock()
			s.Sessions += len(p.sessions)
			s.Streams += len(p.streams)
			for _, st := range p.streams {
				st.mu.Lock()
				s.Watchers += len(st.watchers)
				st.mu.Unlock()
			}
			p.mu.Unlock()
		}
	}
	return s
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

func orFunc[T any](f, fallback func() T) func() T {
	if f == nil {
		return fallback
	}
	return f
}
