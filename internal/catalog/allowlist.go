package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
)

// kindAllowlist announces a changed allowlist, with the organization's id.
const kindAllowlist = "allowlist"

const maxAllowed = 1000

// Allowed is a service on an organization's allowlist.
type Allowed struct {
	Service   string
	Slug      string
	EnabledBy string
	EnabledAt time.Time
}

// Allowlist returns the services that an organization's workspaces may have;
// an empty list allows all.
func (c *Catalog) Allowlist(ctx context.Context, by *access.Principal) ([]Allowed, error) {
	if err := mayRead(by); err != nil {
		return nil, err
	}
	return listAllowed(ctx, c.store, by.Organization)
}

func listAllowed(ctx context.Context, q db.Querier, organization string) ([]Allowed, error) {
	return db.All(ctx, q, func(a *Allowed) []any {
		return []any{&a.Service, &a.Slug, &a.EnabledBy, (*db.Time)(&a.EnabledAt)}
	}, `SELECT a.service_id, s.slug, a.enabled_by, a.enabled_at FROM service_allowlist a JOIN services s ON s.id = a.service_id
		WHERE a.organization_id = $1 ORDER BY s.slug, s.id`, organization)
}

// SetAllowlist replaces an organization's allowlist in one step. services are
// ids or slugs of services on offer, of the organization's own, or of its
// servers; enabledBy says who answers for it.
func (c *Catalog) SetAllowlist(ctx context.Context, by *access.Principal, services []string, enabledBy string) (list []Allowed, err error) {
	if err := access.Require(by, access.OrgManage); err != nil {
		return nil, err
	}
	if err := checkText("enabledBy", enabledBy, 200, true); err != nil {
		return nil, ErrAllowlist.With("field", "enabledBy")
	}
	if len(services) > maxAllowed {
		return nil, ErrAllowlist.With("limit", maxAllowed)
	}
	err = c.store.Tx(ctx, func(tx *db.Tx) error {
		if err := lockOrganization(ctx, tx, by.Organization); err != nil {
			return err
		}
		if _, err := db.Exec(ctx, tx, `DELETE FROM service_allowlist WHERE organization_id = $1`, by.Organization); err != nil {
			return err
		}
		for i, name := range services {
			service, err := namedService(ctx, tx, by, name)
			if errors.Is(err, ErrServiceNotFound) {
				return ErrAllowlist.With("field", fmt.Sprintf("services[%d]", i))
			}
			if err != nil {
				return err
			}
			if _, err := db.Exec(ctx, tx, `INSERT INTO service_allowlist (organization_id, service_id, enabled_by, enabled_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
				by.Organization, service, enabledBy, c.now().UnixMilli()); err != nil {
				return err
			}
		}
		tx.Changed(kindAllowlist, by.Organization)
		if list, err = listAllowed(ctx, tx, by.Organization); err != nil {
			return err
		}
		slugs := make([]string, len(list))
		for i, a := range list {
			slugs[i] = a.Slug
		}
		return activity.Record(ctx, tx, by, activity.Event{Action: "allowlist.set", TargetType: "organization", TargetID: by.Organization,
			Details: map[string]any{"services": slugs, "enabledBy": enabledBy}})
	})
	return list, err
}

// namedService returns the id of a service that the organization may use, by
// id or slug; its own one first where two have a slug.
func namedService(ctx context.Context, q db.Querier, by *access.Principal, name string) (string, error) {
	if canonical, ok := id.Parse("svc", name); ok {
		s, err := visibleService(ctx, q, by.Organization, by.Tenant, canonical)
		if err != nil {
			return "", err
		}
		return s.ID, nil
	}
	return slugged(ctx, q, by, name, `TRUE`)
}

// installable returns the id of a service that a server can be made of, by id
// or slug: the organization's own one first. Those of other servers are none.
func installable(ctx context.Context, q db.Querier, by *access.Principal, name string) (string, error) {
	if _, ok := id.Parse("svc", name); ok {
		return namedService(ctx, q, by, name)
	}
	return slugged(ctx, q, by, name, `NOT private`)
}

func slugged(ctx context.Context, q db.Querier, by *access.Principal, slug, which string) (string, error) {
	service, err := db.Value[string](ctx, q, `SELECT id FROM services WHERE `+offered+` AND slug = $3 AND `+which+` ORDER BY organization_id IS NULL, private, id LIMIT 1`, by.Organization, by.Tenant, slug)
	if errors.Is(err, db.ErrNone) {
		return "", ErrServiceNotFound
	}
	return service, err
}

// allowed is a set of service ids; nil allows all.
type allowed map[string]bool

func (a allowed) has(service string) bool { return a == nil || a[service] }

func allowlist(ctx context.Context, q db.Querier, organization string) (allowed, error) {
	list, err := db.All(ctx, q, func(s *string) []any { return []any{s} }, `SELECT service_id FROM service_allowlist WHERE organization_id = $1`, organization)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	set := allowed{}
	for _, s := range list {
		set[s] = true
	}
	return set, nil
}

// mayInstall refuses a server of a service that is not on the allowlist. A
// server of one's own would be a way around it, so where there is a list none
// can be added.
func mayInstall(ctx context.Context, q db.Querier, organization, service string) error {
	set, err := allowlist(ctx, q, organization)
	if err != nil {
		return err
	}
	if canonical, ok := id.Parse("svc", service); ok {
		service = canonical
	}
	if !set.has(service) {
		return ErrNotAllowed
	}
	return nil
}
