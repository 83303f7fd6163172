package catalog

import (
	"context"
	"strings"

	"headgate/internal/access"
	"headgate/internal/db"
)

// Page is a part of a list.
type Page struct{ Limit, Offset int }

func (p Page) bounded() Page {
	if p.Limit <= 0 || p.Limit > 1000 {
		p.Limit = 1000
	}
	return Page{p.Limit, max(p.Offset, 0)}
}

// ListServices returns the services that the caller may use, by name: those on
// offer and the organization's own. filter is a part of a name or description,
// in any case. total counts all pages.
func (c *Catalog) ListServices(ctx context.Context, by *access.Principal, filter string, page Page) (services []Service, total int64, err error) {
	if err := mayRead(by); err != nil {
		return nil, 0, err
	}
	page = page.bounded()
	pattern := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(filter)) + "%"
	if total, err = countListed(ctx, c.store, by.Organization, by.Tenant, pattern); err != nil {
		return nil, 0, err
	}
	if services, err = listServices(ctx, c.store, by.Organization, by.Tenant, pattern, page.Limit, page.Offset); err != nil {
		return nil, 0, err
	}
	list := make([]*Service, len(services))
	for i := range services {
		list[i] = &services[i]
	}
	return services, total, c.markConfigured(ctx, by, list...)
}

// GetService returns a service that the caller may use.
func (c *Catalog) GetService(ctx context.Context, by *access.Principal, service string) (*Service, error) {
	s, err := c.visible(ctx, by, service)
	if err != nil {
		return nil, err
	}
	return s, c.markConfigured(ctx, by, s)
}

func (c *Catalog) visible(ctx context.Context, by *access.Principal, service string) (*Service, error) {
	if err := mayRead(by); err != nil {
		return nil, err
	}
	return visibleService(ctx, c.store, by.Organization, by.Tenant, service)
}

// mayRead checks the right to see services: of one's organization, or, for the
// operator, those on offer.
func mayRead(by *access.Principal) error {
	if by != nil && operates(by) {
		return access.Require(by, access.Operate)
	}
	return access.Require(by, access.ServicesRead)
}

// markConfigured fills in Configured for whoever asks, and takes out what is not for them.
func (c *Catalog) markConfigured(ctx context.Context, by *access.Principal, services ...*Service) error {
	var asked []string
	for _, s := range services {
		if !operates(by) {
			s.Command = nil // what starts a program is the operator's own affair
		}
		if s.ConfigSchema == nil {
			s.Configured = true
		} else {
			asked = append(asked, s.ID)
		}
	}
	if len(asked) == 0 || by.Organization == "" {
		return nil
	}
	rows, err := configurationsOf(ctx, c.store, by.Organization, by.User, asked)
	if err != nil {
		return err
	}
	for _, s := range services {
		if s.ConfigSchema == nil {
			continue
		}
		if s.Configured, err = c.configured(s, by, rows); err != nil {
			return err
		}
	}
	return nil
}

func (c *Catalog) configured(s *Service, by *access.Principal, rows []configRow) (bool, error) {
	schema, err := c.schemas.compile(s.ConfigSchema)
	if err != nil {
		return false, err
	}
	row := pickConfig(rows, s.ID, s.ConfigScope, by.User)
	config := map[string]any{}
	if row != nil {
		if config, err = row.open(c.keys); err != nil {
			return false, err
		}
	}
	return schema.validate(config) == nil, nil
}

// ownServices are the organization's that belong to no server, oldest first.
func ownServices(ctx context.Context, q db.Querier, organization string) ([]Service, error) {
	return db.All(ctx, q, (*Service).fields, `SELECT `+serviceColumns+` FROM services WHERE organization_id=$1 AND NOT private AND removed_at IS NULL ORDER BY created_at, id`, organization)
}
