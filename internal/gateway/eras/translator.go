package eras

import (
	"context"
	"errors"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/seal"
	"headgate/internal/upstream"
)

// Translator is an upstream.Exchanger for callers of every era.
type Translator struct {
	hub  *upstream.Hub
	keys *seal.Keys
	now  func() time.Time
}

// New returns a translator in front of a hub. keys seal what clients keep for
// it between two requests.
func New(hub *upstream.Hub, keys *seal.Keys, now func() time.Time) *Translator {
	return &Translator{hub: hub, keys: keys, now: now}
}

// Exchange implements upstream.Exchanger.
func (t *Translator) Exchange(ctx context.Context, r *upstream.Request, sink upstream.Sink) (*upstream.Answer, error) {
	a, err := t.hub.Exchange(ctx, r, sink)
	if !errors.Is(err, upstream.ErrEra) {
		return a, err
	}
	f, ferr := t.hub.Eras(ctx, r.Server, r.By, r.Revision.Era())
	switch {
	case ferr != nil:
		return nil, ferr
	case f.Era == r.Revision.Era():
		return nil, err // it changed its mind a moment ago
	case f.Era == mcp.Legacy:
		return nil, err
	}
	return nil, err
}

// Reply passes on a legacy client's answer to a server's request, or its
// notification; see Hub.Reply.
func (t *Translator) Reply(ctx context.Context, r *upstream.Request, message []byte) error {
	return t.hub.Reply(ctx, r, message)
}
