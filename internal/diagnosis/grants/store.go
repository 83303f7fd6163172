package grants

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"headgate/internal/db"
)

// key names a grant.
type key struct{ organization, user, server string }

func (k key) place() string { return "grants:" + k.organization + ":" + k.user + ":" + k.server }

// grant is a row, opened.
type grant struct {
	key
	serverURL string
	resource  string
	issuer    string // "" until it was found
	endpoint  string // of tokens
	clientID  string
	scope     string
	secrets   secrets
	expiresAt time.Time // zero: nobody said
	revision  int64
	problem   string // why it is not used any more
	createdAt time.Time
	updatedAt time.Time
	leased    time.Time // until when somebody renews it

	sealed []byte
}

// secrets is what is sealed.
type secrets struct {
	Access  string `json:"access"`
	Refresh string `json:"refresh,omitempty"`
	Client  string `json:"client,omitempty"`  // the client's secret
	Key     string `json:"key,omitempty"`     // or its private key
	Method  string `json:"method,omitempty"`  // how it shows who it is
	Machine bool   `json:"machine,omitempty"` // it signs in for itself
}

// renewable reports whether new tokens can be had without the person.
func (g *grant) renewable() bool { return g.secrets.Refresh != "" || g.secrets.Machine }

const columns = `organization_id, user_id, server_id, server_url, resource, issuer, token_endpoint, client_id, scope, sealed, expires_at, revision, refreshing_until, problem, created_at, updated_at`

func (g *grant) fields() []any {
	return []any{&g.organization, &g.user, &g.server, &g.serverURL, &g.resource, &g.issuer, &g.endpoint, &g.clientID, &g.scope, &g.sealed,
		(*db.Time)(&g.expiresAt), &g.revision, (*db.Time)(&g.leased), &g.problem, (*db.Time)(&g.createdAt), (*db.Time)(&g.updatedAt)}
}

// read returns a grant; nil when there is none.
func (s *Service) read(ctx context.Context, q db.Querier, k key) (*grant, error) {
	g, err := db.One(ctx, q, (*grant).fields, `SELECT `+columns+` FROM upstream_grants WHERE organization_id = $1 AND user_id = $2 AND server_id = $3`, k.organization, k.user, k.server)
	if errors.Is(err, db.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := s.Keys.Open(k.place(), g.sealed)
	if err == nil {
		err = json.Unmarshal(text, &g.secrets)
	}
	if err != nil {
		return nil, fmt.Errorf("the grant of %s for %s: %w", k.user, k.server, err)
	}
	return &g, nil
}

func (s *Service) seal(g *grant) []byte {
	text, _ := json.Marshal(g.secrets) // texts always marshal
	return s.Keys.Seal(g.place(), text)
}

// put writes a grant over an older one of the same key.
func (s *Service) put(ctx context.Context, tx *db.Tx, g *grant) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO upstream_grants (`+columns+`) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,1,NULL,'',$12,$12)
		ON CONFLICT (organization_id, user_id, server_id) DO UPDATE SET server_url = excluded.server_url, resource = excluded.resource, issuer = excluded.issuer,
		token_endpoint = excluded.token_endpoint, client_id = excluded.client_id, scope = excluded.scope, sealed = excluded.sealed, expires_at = excluded.expires_at,
		revision = upstream_grants.revision + 1, refreshing_until = NULL, problem = '', updated_at = excluded.updated_at`,
		g.organization, g.user, g.server, g.serverURL, g.resource, g.issuer, g.endpoint, g.clientID, g.scope, s.seal(g), db.Millis(g.expiresAt), s.Now().UnixMilli())
	tx.Changed(changed, g.place())
	return err
}

// lease claims the renewal of a grant as it was read; false when somebody else
// renews it, or has.
func (s *Service) lease(ctx context.Context, g *grant) (bool, error) {
	now := s.Now()
	n, err := db.Exec(ctx, s.Store, `UPDATE upstream_grants SET refreshing_until = $5 WHERE organization_id = $1 AND user_id = $2 AND server_id = $3 AND revision = $4
		AND (refreshing_until IS NULL OR refreshing_until < $6)`, g.organization, g.user, g.server, g.revision, now.Add(leaseTime).UnixMilli(), now.UnixMilli())
	return n == 1, err
}

// renewed writes what a renewal came to, unless the grant is another by now.
func (s *Service) renewed(ctx context.Context, g *grant) error {
	return s.Store.Tx(ctx, func(tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `UPDATE upstream_grants SET sealed = $5, expires_at = $6, problem = $7, issuer = $8, token_endpoint = $9, scope = $10,
			revision = revision + 1, refreshing_until = NULL, updated_at = $11
			WHERE organization_id = $1 AND user_id = $2 AND server_id = $3 AND revision = $4`,
			g.organization, g.user, g.server, g.revision, s.seal(g), db.Millis(g.expiresAt), g.problem, g.issuer, g.endpoint, g.scope, s.Now().UnixMilli())
		tx.Changed(changed, g.place())
		return err
	})
}

// release gives a lease back after a renewal that came to nothing.
func (s *Service) release(ctx context.Context, g *grant) error {
	_, err := db.Exec(ctx, s.Store, `UPDATE upstream_grants SET refreshing_until = NULL WHERE organization_id = $1 AND user_id = $2 AND server_id = $3 AND revision = $4`,
		g.organization, g.user, g.server, g.revision)
	return err
}

func remove(ctx context.Context, tx *db.Tx, k key) (int64, error) {
	tx.Changed(changed, k.place())
	return db.Exec(ctx, tx, `DELETE FROM upstream_grants WHERE organization_id = $1 AND user_id = $2 AND server_id = $3`, k.organization, k.user, k.server)
}

// Erase forgets every grant for a workspace's servers, in the caller's
// transaction: a workspace that is erased keeps no credential.
func (s *Service) Erase(ctx context.Context, tx *db.Tx, organization, workspace string) error {
	gone, err := db.All(ctx, tx, func(k *key) []any { return []any{&k.organization, &k.user, &k.server} }, `DELETE FROM upstream_grants
		WHERE organization_id = $1 AND server_id IN (SELECT id FROM servers WHERE organization_id = $1 AND workspace_id = $2)
		RETURNING organization_id, user_id, server_id`, organization, workspace)
	for _, k := range gone {
		tx.Changed(changed, k.place())
	}
	return err
}
