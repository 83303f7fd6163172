package apikey

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
)

const columns = `id, kind, tenant_id, organization_id, workspace_id, user_id, account_id, name, prefix, last_four, scopes, created_by, created_at, expires_at, last_used_at, revoked_at, replaced_by`

func (k *Key) fields() []any {
	return []any{&k.ID, (*kindColumn)(&k.Kind), (*db.Text)(&k.Tenant), (*db.Text)(&k.Organization), (*db.Text)(&k.Workspace), (*db.Text)(&k.User),
		(*db.Text)(&k.Account), &k.Name, &k.Prefix, &k.LastFour, (*scopesColumn)(&k.Scopes), (*db.Text)(&k.CreatedBy), (*db.Time)(&k.CreatedAt),
		(*db.Time)(&k.ExpiresAt), (*db.Time)(&k.LastUsedAt), (*db.Time)(&k.RevokedAt), (*db.Text)(&k.ReplacedBy)}
}

type kindColumn access.Kind

// Scan implements sql.Scanner. A word that is no key's kind becomes Anonymous,
// which nothing accepts.
func (c *kindColumn) Scan(src any) error {
	word, ok := src.(string)
	if !ok {
		return fmt.Errorf("a kind column holds %T", src)
	}
	*c = kindColumn(kindOfWord(word))
	return nil
}

type scopesColumn access.Scopes

// Scan implements sql.Scanner. A word that is no scope makes the set empty.
func (c *scopesColumn) Scan(src any) error {
	text, ok := src.(string)
	if !ok {
		return fmt.Errorf("a scopes column holds %T", src)
	}
	set, _ := access.ParseScopes(strings.Fields(text))
	*c = scopesColumn(set)
	return nil
}

func insert(ctx context.Context, tx *db.Tx, k Key, sum [32]byte, pepper string) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO keys (id, kind, hash, pepper_id, tenant_id, organization_id, workspace_id, user_id, account_id, name, prefix, last_four, scopes, created_by, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
		k.ID, k.Kind.String(), sum[:], pepper, db.Null(k.Tenant), db.Null(k.Organization), db.Null(k.Workspace), db.Null(k.User), db.Null(k.Account),
		k.Name, k.Prefix, k.LastFour, k.Scopes.String(), db.Null(k.CreatedBy), k.CreatedAt.UnixMilli(), db.Millis(k.ExpiresAt))
	if err != nil {
		return fmt.Errorf("insert key: %w", err)
	}
	return nil
}

// isLive is the condition of keys that can be used at $1.
const isLive = `revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)`

// withinLimits refuses a key that would be one too many. A key that is being
// replaced does not count.
func withinLimits(ctx context.Context, tx *db.Tx, k Key, replaces string) error {
	if k.Kind == access.OrganizationKey {
		if err := withinMints(ctx, tx, k); err != nil {
			return err
		}
	}
	n, err := db.Value[int64](ctx, tx, `SELECT COUNT(*) FROM keys WHERE `+isLive+` AND kind = $2 AND id <> $3
		AND COALESCE(organization_id, '') = $4 AND COALESCE(user_id, '') = $5 AND COALESCE(workspace_id, '') = $6 AND COALESCE(account_id, '') = $7`,
		k.CreatedAt.UnixMilli(), k.Kind.String(), replaces, k.Organization, k.User, k.Workspace, k.Account)
	if err != nil {
		return fmt.Errorf("count keys: %w", err)
	}
	if n < live[k.Kind] {
		return nil
	}
	if k.Kind == access.AccountKey {
		return ErrExists
	}
	return ErrTooMany.With("limit", live[k.Kind])
}

// withinMints refuses the eleventh organization key of an hour, revoked ones
// counted: it is the making that is limited.
func withinMints(ctx context.Context, tx *db.Tx, k Key) error {
	const window = time.Hour
	tenth, err := db.Value[int64](ctx, tx, `SELECT created_at FROM keys WHERE organization_id = $1 AND kind = 'organization' ORDER BY created_at DESC LIMIT 1 OFFSET $2`, k.Organization, maxMints-1)
	if errors.Is(err, db.ErrNone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("count mints: %w", err)
	}
	if wait := time.UnixMilli(tenth).Add(window).Sub(k.CreatedAt); wait > 0 {
		return ErrMints.After(wait)
	}
	return nil
}

func tenantOf(ctx context.Context, q db.Querier, organization string) (string, error) {
	tenant, err := db.Value[string](ctx, q, `SELECT tenant_id FROM organizations WHERE id = $1 AND removed_at IS NULL`, organization)
	if errors.Is(err, db.ErrNone) {
		return "", ErrNotFound.Saying("There is no such organization, or it is not yours. List yours to find the id.")
	}
	return tenant, err
}

func roleIn(ctx context.Context, q db.Querier, organization, user string) (access.Role, error) {
	role, err := db.Value[string](ctx, q, `SELECT role FROM memberships WHERE organization_id = $1 AND user_id = $2 AND active`, organization, user)
	return access.Role(role), err
}

func inOrganization(ctx context.Context, q db.Querier, workspace, organization string) error {
	_, err := db.Value[string](ctx, q, `SELECT id FROM workspaces WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL`, organization, workspace)
	if errors.Is(err, db.ErrNone) {
		return ErrNotFound.Saying("There is no such workspace, or it is not yours. List the workspaces to find the id.")
	}
	return err
}

// record is a key with the present state of everything it depends on.
type record struct {
	Key
	hash                            []byte
	organization                    string // "" when it is gone
	tenant                          string
	orgRemoved, orgSuspended        time.Time
	tenantSuspended                 time.Time
	owner                           string // "" when the user is gone
	ownerSuspended                  time.Time
	role                            string // "" without an active membership
	workspaceOf                     string // the organization of the key's own workspace
	workspaceRemoved                time.Time
	defaultWorkspace, payingAccount string
	accountOff                      bool // the key's own account was switched off
}

func (r *record) fields() []any {
	return append(r.Key.fields(), &r.hash, (*db.Text)(&r.organization), (*db.Text)(&r.tenant), (*db.Time)(&r.orgRemoved), (*db.Time)(&r.orgSuspended),
		(*db.Time)(&r.tenantSuspended), (*db.Text)(&r.owner), (*db.Time)(&r.ownerSuspended), (*db.Text)(&r.role),
		(*db.Text)(&r.workspaceOf), (*db.Time)(&r.workspaceRemoved), (*db.Text)(&r.defaultWorkspace), (*db.Text)(&r.payingAccount), &r.accountOff)
}

// selectRecord reads a key and what it depends on in one statement, so that
// the parts are of one moment. An organization's account has no user.
var selectRecord = `SELECT k.` + strings.ReplaceAll(columns, ", ", ", k.") + `, k.hash,
	o.id, o.tenant_id, o.removed_at, o.suspended_at, t.suspended_at, u.id, u.suspended_at, m.role, w.organization_id, w.removed_at, d.id, a.id,
	EXISTS (SELECT 1 FROM accounts own WHERE own.id = k.account_id AND NOT own.active)
	FROM keys k
	LEFT JOIN organizations o ON o.id = k.organization_id
	LEFT JOIN tenants t ON t.id = o.tenant_id
	LEFT JOIN users u ON u.id = k.user_id
	LEFT JOIN memberships m ON m.organization_id = k.organization_id AND m.user_id = k.user_id AND m.active
	LEFT JOIN workspaces w ON w.id = k.workspace_id
	LEFT JOIN workspaces d ON d.organization_id = k.organization_id AND d.is_default AND d.removed_at IS NULL
	LEFT JOIN accounts a ON k.account_id IS NULL AND a.organization_id = k.organization_id AND a.user_id = ''
	`

func byID(ctx context.Context, q db.Querier, key string) (record, error) {
	return db.One(ctx, q, (*record).fields, selectRecord+`WHERE k.id = $1`, key)
}

func byHash(ctx context.Context, q db.Querier, sum [32]byte) (record, error) {
	return db.One(ctx, q, (*record).fields, selectRecord+`WHERE k.hash = $1`, sum[:])
}

func get(ctx context.Context, q db.Querier, key string) (Key, error) {
	k, err := db.One(ctx, q, (*Key).fields, `SELECT `+columns+` FROM keys WHERE id = $1`, key)
	if errors.Is(err, db.ErrNone) {
		return Key{}, ErrNotFound
	}
	return k, err
}
