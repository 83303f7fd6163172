package tenancy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"headgate/internal/db"
)

const tenantColumns = `id, slug, name, created_at, suspended_at`

func (t *Tenant) fields() []any {
	return []any{&t.ID, &t.Slug, &t.Name, (*db.Time)(&t.CreatedAt), (*db.Time)(&t.SuspendedAt)}
}

func oneTenant(ctx context.Context, q db.Querier, tenant string) (*Tenant, error) {
	t, err := db.One(ctx, q, (*Tenant).fields, `SELECT `+tenantColumns+` FROM tenants WHERE id = $1`, tenant)
	if errors.Is(err, db.ErrNone) {
		return nil, ErrNoTenant
	}
	if err != nil {
		return nil, fmt.Errorf("tenant: %w", err)
	}
	return &t, nil
}

func insertTenant(ctx context.Context, tx *db.Tx, t *Tenant, wanted string) error {
	return withSlug(t.Name, "tenant", wanted, func(slug string) (bool, error) {
		t.Slug = slug
		n, err := db.Exec(ctx, tx, `INSERT INTO tenants (`+tenantColumns+`) VALUES ($1, $2, $3, $4, NULL) ON CONFLICT (slug) DO NOTHING`,
			t.ID, t.Slug, t.Name, t.CreatedAt.UnixMilli())
		return n == 1, err
	})
}

const organizationColumns = `id, tenant_id, slug, name, home, plan_id, body_policy, contact_email, created_at, suspended_at, removed_at`

func (o *Organization) fields() []any {
	return []any{&o.ID, &o.Tenant, &o.Slug, &o.Name, &o.Home, &o.Plan, &o.BodyPolicy, (*db.Text)(&o.ContactEmail),
		(*db.Time)(&o.CreatedAt), (*db.Time)(&o.SuspendedAt), (*db.Time)(&o.RemovedAt)}
}

func oneOrganization(ctx context.Context, q db.Querier, where string, args ...any) (*Organization, error) {
	o, err := db.One(ctx, q, (*Organization).fields, `SELECT `+organizationColumns+` FROM organizations WHERE `+where, args...)
	if errors.Is(err, db.ErrNone) {
		return nil, ErrNoOrganization
	}
	if err != nil {
		return nil, fmt.Errorf("organization: %w", err)
	}
	return &o, nil
}

// lockOrganization returns a live organization whose row stays locked until
// the transaction ends: whoever counts its people or owners before changing
// them does so alone. The update is what locks on both engines.
func lockOrganization(ctx context.Context, tx *db.Tx, organization string) (*Organization, error) {
	o, err := db.One(ctx, tx, (*Organization).fields,
		`UPDATE organizations SET name = name WHERE id = $1 AND removed_at IS NULL RETURNING `+organizationColumns, organization)
	if errors.Is(err, db.ErrNone) {
		return nil, ErrNoOrganization
	}
	if err != nil {
		return nil, fmt.Errorf("lock organization: %w", err)
	}
	return &o, nil
}

func insertOrganization(ctx context.Context, tx *db.Tx, o *Organization, wanted string) error {
	return withSlug(o.Name, "organization", wanted, func(slug string) (bool, error) {
		o.Slug = slug
		n, err := db.Exec(ctx, tx, `INSERT INTO organizations (`+organizationColumns+`) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,NULL,NULL) ON CONFLICT (slug) DO NOTHING`,
			o.ID, o.Tenant, o.Slug, o.Name, o.Home, o.Plan, o.BodyPolicy, db.Null(o.ContactEmail), o.CreatedAt.UnixMilli())
		return n == 1, err
	})
}

func updateOrganization(ctx context.Context, tx *db.Tx, o *Organization) error {
	_, err := db.Exec(ctx, tx, `UPDATE organizations SET name = $2, plan_id = $3, body_policy = $4, contact_email = $5, suspended_at = $6, removed_at = $7 WHERE id = $1`,
		o.ID, o.Name, o.Plan, o.BodyPolicy, db.Null(o.ContactEmail), db.Millis(o.SuspendedAt), db.Millis(o.RemovedAt))
	if err != nil {
		return fmt.Errorf("update organization: %w", err)
	}
	return nil
}

// withSlug calls insert with slugs until one is free: the wanted one only, or
// the name's, then numbered, then with a random ending.
func withSlug(name, noun, wanted string, insert func(slug string) (bool, error)) error {
	candidates := []string{wanted}
	if wanted == "" {
		base := slugOf(name, noun)
		candidates[0] = base
		for i := 2; i <= 5; i++ {
			candidates = append(candidates, base+"-"+strconv.Itoa(i))
		}
		for range 3 {
			candidates = append(candidates, strings.Trim(base[:min(len(base), 21)], "-")+"-"+strings.ToLower(rand.Text()[:10]))
		}
	}
	for _, slug := range candidates {
		ok, err := insert(slug)
		if err != nil {
			return fmt.Errorf("add %s: %w", noun, err)
		}
		if ok {
			return nil
		}
	}
	return ErrSlugTaken
}
