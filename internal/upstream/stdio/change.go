package stdio

import (
	"context"
	"errors"

	"headgate/internal/access"
	"headgate/internal/catalog"
)

// Changed is told of every committed change, see db.Store.OnChange.
func (h *Host) Changed(kind, ref string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.programs {
		if p.touchedBy(kind, ref) {
			h.doubtful[p] = true
		}
	}
	if len(h.doubtful) > 0 {
		select {
		case h.doubts <- struct{}{}:
		default:
		}
	}
}

func (p *program) touchedBy(kind, ref string) bool {
	switch kind {
	case "server":
		return ref == p.server.ID
	case "servers", "workspace":
		return ref == p.server.Workspace
	case "service", "configuration":
		return ref == p.server.Service
	}
	return false
}

// check ends the programs whose server is no longer what it was.
func (h *Host) check(ctx context.Context) {
	h.mu.Lock()
	doubtful := h.doubtful
	h.doubtful = map[*program]bool{}
	h.mu.Unlock()
	for p := range doubtful {
		if h.holds(ctx, p) {
			continue
		}
		h.mu.Lock()
		if h.programs[p.key] == p {
			delete(h.programs, p.key)
		}
		h.mu.Unlock()
		h.spawn(func() { p.retire(h.ctx, drainTime) })
	}
}

// holds reports whether a program is still the one its callers would get.
func (h *Host) holds(ctx context.Context, p *program) bool {
	by := &access.Principal{Organization: p.server.Organization, User: p.binding.User}
	w, err := h.opts.Resolver.Workspace(ctx, by.Organization, p.server.Workspace)
	if err != nil {
		return !errors.Is(err, catalog.ErrWorkspaceNotFound) // else the store could not be asked
	}
	s, ok := w.Server(p.server.ID)
	if p.server.ID == "" {
		s, err = h.opts.Resolver.Service(ctx, by, p.server.Workspace, p.server.Service)
		if err != nil {
			return !errors.Is(err, catalog.ErrServiceNotFound)
		}
		ok = s.ID == ""
	}
	if !ok || !s.Enabled || s.Version != p.key.version {
		return false
	}
	b, err := h.opts.Resolver.Bind(ctx, s, by)
	if err != nil {
		return !errors.Is(err, catalog.ErrUnconfigured)
	}
	return b.Identity == p.key.identity
}
