package grants

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/seal"
	"headgate/internal/upstream"
)

// Binder is an upstream.Binder that adds the person's token to what another
// one says. Calls of people who brought none cost one look into memory.
type Binder struct {
	grants *Service
	next   upstream.Binder
}

// Binder returns a binder in front of next, which is the catalog's Resolver.
func (s *Service) Binder(next upstream.Binder) *Binder { return &Binder{s, next} }

// boundTo is the binding made for one grant over one binding.
type boundTo struct {
	from *catalog.Binding
	made *catalog.Binding
}

// Bind implements upstream.Binder.
func (b *Binder) Bind(ctx context.Context, s *catalog.Server, by *access.Principal) (*catalog.Binding, error) {
	from, err := b.next.Bind(ctx, s, by)
	if err != nil || by == nil || by.User == "" || s.ID == "" {
		return from, err
	}
	k := key{by.Organization, by.User, s.ID}
	e, err := b.grants.current(ctx, k)
	if err != nil {
		return nil, err
	}
	if !e.usable(s) {
		return from, nil
	}
	if e, err = b.grants.fresh(ctx, k, e); err != nil || !e.usable(s) {
		return from, err
	}
	if m := e.bound.Load(); m != nil && m.from == from {
		return m.made, nil
	}
	made := e.over(from)
	e.bound.Store(&boundTo{from, made})
	return made, nil
}

// over puts the token in the place of a configured Authorization header. The
// identity tells this person's token, and each renewal of it, from all others.
func (e *entry) over(from *catalog.Binding) *catalog.Binding {
	headers := slices.DeleteFunc(slices.Clone(from.Headers), func(h catalog.Header) bool { return strings.EqualFold(h.Name, "Authorization") })
	headers = append(headers, catalog.Header{Name: "Authorization", Value: seal.NewValue("Bearer " + e.secrets.Access)})
	return &catalog.Binding{Identity: from.Identity + "+grant:" + e.user + "@" + strconv.FormatInt(e.revision, 10), Headers: headers}
}
