package grants

import (
	"context"
	"errors"
	"time"

	"headgate/internal/fault"
	"headgate/internal/seal"
	"headgate/internal/upstream/oauth"
)

// fresh returns the entry with a token that is good for a while. Shortly
// before its end the token is renewed beside the caller; after it, the caller
// waits. A renewal that fails for the moment leaves the old token in use: the
// server says what it thinks of it.
func (s *Service) fresh(ctx context.Context, k key, e *entry) (*entry, error) {
	now := s.Now()
	if !e.renewable() || e.expiresAt.IsZero() || now.Before(e.expiresAt.Add(-early)) {
		return e, nil
	}
	done := s.renews.DoChan(k.place(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseTime-time.Second)
		defer cancel()
		return nil, s.renew(ctx, k)
	})
	if now.Before(e.expiresAt) {
		return e, nil
	}
	select {
	case r := <-done:
		if r.Err != nil {
			s.Log.Warn("a token was not renewed", "server", k.server, "user", k.user, "error", r.Err)
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.current(ctx, k)
}

// renew renews a grant, or waits for the replica that does.
func (s *Service) renew(ctx context.Context, k key) error {
	for wait := time.NewTicker(200 * time.Millisecond); ; {
		g, err := s.read(ctx, s.Store, k)
		if err != nil || g == nil || g.problem != "" || s.Now().Before(g.expiresAt.Add(-early)) {
			s.forget(k) // somebody else has renewed or removed it
			wait.Stop()
			return err
		}
		ours, err := s.lease(ctx, g)
		if err != nil || ours {
			wait.Stop()
			if err == nil {
				err = s.exchange(ctx, g)
			}
			return err
		}
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		}
	}
}

// exchange trades the refresh token in. The lease is ours.
func (s *Service) exchange(ctx context.Context, g *grant) error {
	if g.endpoint == "" {
		s.find(ctx, g)
	}
	var answer *oauth.Tokens
	err := errNoEndpoint
	if g.endpoint != "" {
		answer, err = s.ask(ctx, g)
	}
	switch {
	case errors.Is(err, oauth.ErrRefused):
		// The grant is over: the person has to sign in again.
		g.problem = fault.Of(err).Message
		return errors.Join(err, s.renewed(ctx, g))
	case err != nil:
		// The store must hear of it even when the time is over.
		return errors.Join(err, s.release(context.WithoutCancel(ctx), g))
	}
	g.secrets.Access = answer.Access.Reveal()
	if !answer.Refresh.Empty() && !g.secrets.Machine {
		g.secrets.Refresh = answer.Refresh.Reveal()
	}
	if answer.Scope != "" {
		g.scope = answer.Scope
	}
	g.expiresAt = s.end(answer.ExpiresIn)
	// The old refresh token is used up: what came for it must be kept.
	return s.renewed(context.WithoutCancel(ctx), g)
}

// ask sends the refresh token to the token endpoint, or the client's own
// credentials where it signs in for itself.
func (s *Service) ask(ctx context.Context, g *grant) (*oauth.Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	client := oauth.Registration{ID: g.clientID, Secret: seal.NewValue(g.secrets.Client), Key: seal.NewValue(g.secrets.Key), Method: g.secrets.Method}
	return s.client.Renew(ctx, oauth.Renewal{Endpoint: g.endpoint, Issuer: g.issuer, Client: client, Refresh: seal.NewValue(g.secrets.Refresh), Resource: g.resource, Scope: g.scope})
}

// end is when a lifetime is over; zero when nobody said.
func (s *Service) end(life time.Duration) time.Time {
	if life <= 0 {
		return time.Time{}
	}
	return s.Now().Add(life).UTC().Truncate(time.Millisecond)
}
