package grants

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"headgate/internal/netguard"
)

// fresh returns the entry with a token that is good for a while. Shortly
// before its end the token is renewed beside the caller; after it, the caller
// waits. A renewal that fails for the moment leaves the old token in use: the
// server says what it thinks of it.
func (s *Service) fresh(ctx context.Context, k key, e *entry) (*entry, error) {
	now := s.Now()
	if e.secrets.Refresh == "" || e.expiresAt.IsZero() || now.Before(e.expiresAt.Add(-early)) {
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
	var answer tokenAnswer
	err := errNoEndpoint
	if g.endpoint != "" {
		answer, err = s.ask(ctx, g)
	}
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		// The grant is over: the person has to sign in again.
		g.problem = refused.Error()
		return errors.Join(err, s.renewed(ctx, g))
	case err != nil:
		// The store must hear of it even when the time is over.
		return errors.Join(err, s.release(context.WithoutCancel(ctx), g))
	}
	g.secrets.Access = answer.Access
	if answer.Refresh != "" {
		g.secrets.Refresh = answer.Refresh
	}
	if answer.Scope != "" {
		g.scope = answer.Scope
	}
	g.expiresAt = time.Time{}
	if answer.ExpiresIn > 0 {
		g.expiresAt = s.Now().Add(time.Duration(min(answer.ExpiresIn, 10*365*24*3600)) * time.Second).UTC().Truncate(time.Millisecond)
	}
	// The old refresh token is used up: what came for it must be kept.
	return s.renewed(context.WithoutCancel(ctx), g)
}

type tokenAnswer struct {
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	Type      string `json:"token_type"`
	ExpiresIn int64  `json:"expires_in"`
	Scope     string `json:"scope"`
	Error     string `json:"error"`
}

// refusedError is the authorization server's last word on a grant.
type refusedError struct{ code string }

func (e *refusedError) Error() string {
	return "The authorization server refused the refresh token (" + e.code + ")."
}

// final are the OAuth errors that no repetition changes.
var final = map[string]bool{"invalid_grant": true, "invalid_client": true, "unauthorized_client": true, "unsupported_grant_type": true, "invalid_scope": true, "invalid_target": true}

// private reports whether nobody reads along: TLS, or this machine.
func private(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

// ask sends the refresh token to the token endpoint.
func (s *Service) ask(ctx context.Context, g *grant) (a tokenAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.secrets.Refresh}, "client_id": {g.clientID}, "resource": {g.resource}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.endpoint, strings.NewReader(form.Encode()))
	if err != nil || !private(r.URL) {
		return a, errNoEndpoint
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if g.secrets.Client != "" {
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(g.clientID)+":"+url.QueryEscape(g.secrets.Client))))
	}
	client := s.Guard.HTTPClient(askTime, 1<<20)
	defer client.CloseIdleConnections()
	resp, err := client.Do(r)
	if err != nil {
		return a, fmt.Errorf("ask for a token: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return a, fmt.Errorf("read the token answer: %w", err)
	}
	_ = json.Unmarshal(text, &a) // what is no JSON has no token
	switch {
	case resp.StatusCode >= 400 && resp.StatusCode < 500 && final[a.Error]:
		return a, &refusedError{a.Error}
	case resp.StatusCode != http.StatusOK || a.Access == "" || a.Type != "" && !strings.EqualFold(a.Type, "Bearer"),
		netguard.CheckHeader("Authorization", "Bearer "+a.Access) != nil:
		return a, fmt.Errorf("the token endpoint answered %d without a Bearer token", resp.StatusCode)
	}
	return a, nil
}
