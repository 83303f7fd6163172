package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/seal"
	"headgate/internal/vault"
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
		if b, err = r.bind(ctx, s, &row); err != nil {
			return nil, err
		}
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

// bind fills a server's headers in from a configuration, nil for none. Its
// error is the store's; what is wrong with the configuration is the binding's.
func (r *Resolver) bind(ctx context.Context, s *Server, row *configRow) (binding, error) {
	config := map[string]any{}
	identity := "shared"
	if row != nil {
		var err error
		if config, err = row.open(r.keys); err != nil {
			return binding{err: err}, nil
		}
		identity = fmt.Sprintf("%s:%s@%d", row.scope(), row.user, row.revision)
	}
	if s.schema != nil && s.schema.validate(config) != nil {
		return binding{err: ErrUnconfigured.With("serviceId", s.Service)}, nil
	}
	used := usedSecrets{r: r, ctx: ctx, s: s}
	headers, missing, err := render(s.headers, config, used.get)
	if err == nil && s.Transport == Stdio {
		var more []string
		if config, more, err = resolve(config, used.get); err == nil {
			missing = append(missing, more...)
		}
		if err == nil && len(missing) == 0 && s.schema != nil { // now a value stands where a reference did
			err = s.schema.strict(config)
		}
	}
	switch {
	case errors.Is(used.failed, seal.ErrOpen): // this one server cannot be used; the others of the workspace can
		return binding{err: used.failed}, nil
	case used.failed != nil:
		return binding{}, used.failed
	case err != nil:
		return binding{err: ErrUnconfigured.With("serviceId", s.Service).Because(err)}, nil
	case len(missing) > 0:
		return binding{err: ErrNoSecret.With("serviceId", s.Service).With("secrets", missing)}, nil
	}
	b := &Binding{Identity: identity + used.mark(), Headers: headers}
	if row != nil {
		b.User = row.user
	}
	if s.Transport == Stdio {
		b.Config = config
	}
	return binding{Binding: b}, nil
}

// Secrets gives the values of secrets as a workspace sees them; the vault does.
type Secrets interface {
	Get(ctx context.Context, at vault.Place, name string) (seal.Value, error)
}

// UseSecrets lets headers and configurations refer to secrets. Call it before
// the first look-up.
func (r *Resolver) UseSecrets(s Secrets) { r.secrets = s }

// usedSecrets reads the secrets of one binding and remembers which those were.
type usedSecrets struct {
	r      *Resolver
	ctx    context.Context //nolint:containedctx // lives as long as one bind
	s      *Server
	seen   strings.Builder
	failed error
}

func (u *usedSecrets) get(name string) (string, bool, error) {
	// Noted before it is read: a change from now on finds the server.
	u.s.uses.Store(name, struct{}{})
	if u.r.secrets == nil {
		return "", false, nil
	}
	value, err := u.r.secrets.Get(u.ctx, vault.Place{Organization: u.s.Organization, Workspace: u.s.Workspace}, name)
	if errors.Is(err, vault.ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		u.failed = fmt.Errorf("secret %s: %w", name, err)
		return "", false, u.failed
	}
	u.seen.WriteString(name + "\x00" + value.Reveal() + "\x00")
	return value.Reveal(), true, nil
}

// mark makes a binding with other secrets another one, so that the server's
// connections and sessions are made anew. It tells nothing of the values.
func (u *usedSecrets) mark() string {
	if u.seen.Len() == 0 {
		return ""
	}
	sum, _ := u.r.keys.Hash(u.seen.String())
	return fmt.Sprintf("+%x", sum[:8])
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
