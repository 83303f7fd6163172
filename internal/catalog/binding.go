package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"headgate/internal/access"
	"headgate/internal/db"
)

// Binding is a server as one caller reaches it.
type Binding struct {
	// Identity names the credentials in use: two callers with the same Identity
	// are the same to the server, so what it tells one may be told the other.
	Identity string
	Headers  []Header

	// What a program started for the caller gets: who fills in a schema ForUser
	// has one of their own, the others of the organization share theirs.
	User   string
	Config map[string]any // as filled in, secrets included; only with Stdio
}

// binding is a Binding or why there is none.
type binding struct {
	*Binding
	err error
}

// maxUserBindings bounds the users whose bindings one server keeps in memory.
const maxUserBindings = 10_000

type userBindings struct {
	m sync.Map // user to binding
	n atomic.Int64
}

func (u *userBindings) put(user string, b binding) {
	if u.n.Add(1) > maxUserBindings {
		u.m.Clear()
		u.n.Store(1)
	}
	u.m.Store(user, b)
}

// Bind returns how the caller reaches the server, or ErrUnconfigured. Once a
// caller's binding is in memory it takes no lock and no query.
func (r *Resolver) Bind(ctx context.Context, s *Server, by *access.Principal) (*Binding, error) {
	if by.Organization != s.Organization {
		return nil, ErrServerNotFound
	}
	if s.ConfigScope != ForUser || by.User == "" || s.schema == nil && s.Transport != Stdio {
		return s.shared.Binding, s.shared.err
	}
	if v, ok := s.users.m.Load(by.User); ok {
		b := v.(binding)
		return b.Binding, b.err
	}
	row, err := configuration(ctx, r.store, s.Service, s.Organization, by.User)
	b := s.shared
	switch {
	case err == nil:
		b = r.bind(s, &row)
	case errors.Is(err, db.ErrNone) && s.Transport == Stdio && b.Binding != nil:
		own := *b.Binding
		own.User, own.Identity = by.User, "user:"+by.User+"/"+own.Identity
		b.Binding = &own
	case !errors.Is(err, db.ErrNone):
		return nil, err
	}
	s.users.put(by.User, b)
	return b.Binding, b.err
}

// Configured reports whether the caller can use the server as far as its
// schema goes.
func (r *Resolver) Configured(ctx context.Context, s *Server, by *access.Principal) (bool, error) {
	_, err := r.Bind(ctx, s, by)
	if errors.Is(err, ErrUnconfigured) {
		return false, nil
	}
	return err == nil, err
}

// bind fills a server's headers in from a configuration, nil for none.
func (r *Resolver) bind(s *Server, row *configRow) binding {
	config := map[string]any{}
	identity := "shared"
	if row != nil {
		var err error
		if config, err = row.open(r.keys); err != nil {
			return binding{err: err}
		}
		identity = fmt.Sprintf("%s:%s@%d", row.scope(), row.user, row.revision)
	}
	if s.schema != nil && s.schema.validate(config) != nil {
		return binding{err: ErrUnconfigured.With("serviceId", s.Service)}
	}
	headers, err := render(s.headers, config)
	if err != nil {
		return binding{err: ErrUnconfigured.With("serviceId", s.Service).Because(err)}
	}
	b := &Binding{Identity: identity, Headers: headers}
	if row != nil {
		b.User = row.user
	}
	if s.Transport == Stdio {
		b.Config = config
	}
	return binding{Binding: b}
}

// schemaCache keeps compiled schemas by their text.
type schemaCache struct {
	mu sync.Mutex
	m  map[string]*configSchema
}

const maxSchemas = 512

func (c *schemaCache) compile(text []byte) (*configSchema, error) {
	if text == nil {
		return nil, nil
	}
	c.mu.Lock()
	s, ok := c.m[string(text)]
	c.mu.Unlock()
	if ok {
		return s, nil
	}
	s, err := compile(text)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxSchemas {
		c.m = map[string]*configSchema{}
	}
	c.m[string(text)] = s
	return s, nil
}
