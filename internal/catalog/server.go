package catalog

import (
	"context"
	"errors"
	"slices"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
)

// ServerDetail is a server as people see it; Server is what calls use.
type ServerDetail struct {
	ID           string
	Organization string
	Workspace    string
	Slug         string
	Name         string
	Enabled      bool
	Timeout      time.Duration // 0: its service's
	ToolTimeouts map[string]time.Duration
	Revision     int64
	CreatedAt    time.Time
	UpdatedAt    time.Time
	Service      *Service
}

// ServerInput is what a new server is made of: an offered service, or, when
// Service is empty, the private service that is created with it.
type ServerInput struct {
	Workspace string // id or slug; the caller's default workspace when empty
	Service   string // by id or slug; of the rest, only Slug, Name and Timeout count then
	ServiceInput
}

// ServerChange changes the parts of a server that are set.
type ServerChange struct {
	Enabled       *bool
	Timeout       *time.Duration            // 0 returns to the service's
	ToolTimeouts  map[string]*time.Duration // nil takes an override away
	ServiceChange                           // Slug and Name; the rest only where the service is the server's own
}

// CreateServer registers a server in a workspace.
func (c *Catalog) CreateServer(ctx context.Context, by *access.Principal, in ServerInput) (*ServerDetail, error) {
	if err := access.Require(by, access.ServicesAdmin); err != nil {
		return nil, err
	}
	own, err := c.draftOwn(by, in)
	if err != nil {
		return nil, err
	}
	var d *ServerDetail
	err = c.store.Tx(ctx, func(tx *db.Tx) error {
		d = &ServerDetail{ID: id.New("srv"), Organization: by.Organization, Slug: in.Slug, Name: or(in.Name, in.Slug), Enabled: true,
			ToolTimeouts: map[string]time.Duration{}, Revision: 1, CreatedAt: c.now().UTC().Truncate(time.Millisecond), Service: own}
		d.UpdatedAt = d.CreatedAt
		if in.Service != "" {
			if in.Service, err = installable(ctx, tx, by, in.Service); err != nil {
				return err
			}
		}
		return c.addServer(ctx, tx, by, d, in)
	})
	if errors.Is(err, db.ErrDuplicate) {
		return nil, ErrSlugTaken.With("slug", in.Slug)
	}
	if err != nil {
		return nil, err
	}
	return d, c.markConfigured(ctx, by, d.Service)
}

// draftOwn makes the private service of a server that names none.
func (c *Catalog) draftOwn(by *access.Principal, in ServerInput) (*Service, error) {
	if in.Service != "" {
		if err := CheckSlug(in.Slug); err != nil {
			return nil, err
		}
		if in.Timeout != 0 {
			if err := checkTimeout(in.Timeout); err != nil {
				return nil, err
			}
		}
		return nil, checkText("name", or(in.Name, in.Slug), 100, true)
	}
	s, err := c.draft(by, in.ServiceInput)
	if err != nil {
		return nil, err
	}
	s.Private, s.Organization = true, by.Organization
	return s, nil
}

func (c *Catalog) addServer(ctx context.Context, tx *db.Tx, by *access.Principal, d *ServerDetail, in ServerInput) (err error) {
	if d.Workspace, err = workspaceFor(ctx, tx, by, in.Workspace); err != nil {
		return err
	}
	if err := mayInstall(ctx, tx, by.Organization, in.Service); err != nil {
		return err
	}
	if err := c.room(ctx, tx, by.Organization); err != nil {
		return err
	}
	if d.Service != nil {
		err = c.addService(ctx, tx, by, d.Service, in.ServiceInput)
	} else if d.Service, err = visibleService(ctx, tx, by.Organization, by.Tenant, in.Service); err == nil {
		if d.Service.Private {
			return ErrServiceNotFound.Saying("This service belongs to the server that it was made with, so no other can be made of it. Choose one that is not private, or register a server by its URL.")
		}
		d.Timeout = in.Timeout
	}
	if err != nil {
		return err
	}
	if err := insertServer(ctx, tx, d); err != nil {
		return err
	}
	tx.Changed("server", d.ID)
	tx.Changed("servers", d.Workspace)
	return activity.Record(ctx, tx, by, activity.Event{Action: "server.create", Workspace: d.Workspace, TargetType: "server", TargetID: d.ID,
		Details: map[string]any{"slug": d.Slug, "service": d.Service.ID, "url": plainURL(d.Service.URL), "headers": d.Service.HeaderNames}})
}

// GetServer returns a server of the organization by its id.
func (c *Catalog) GetServer(ctx context.Context, by *access.Principal, server string) (*ServerDetail, error) {
	if err := access.Require(by, access.ServicesRead); err != nil {
		return nil, err
	}
	d, err := ownServer(ctx, c.store, by, server)
	if err != nil {
		return nil, err
	}
	return d, c.complete(ctx, c.store, by, d)
}

// ListServers returns the servers of a workspace, oldest first.
func (c *Catalog) ListServers(ctx context.Context, by *access.Principal, workspace string) ([]*ServerDetail, error) {
	if err := access.Require(by, access.ServicesRead); err != nil {
		return nil, err
	}
	workspace, err := workspaceFor(ctx, c.store, by, workspace)
	if err != nil {
		return nil, err
	}
	rows, err := serversIn(ctx, c.store, by.Organization, workspace)
	if err != nil {
		return nil, err
	}
	list := make([]*ServerDetail, len(rows))
	for i := range rows {
		list[i] = &rows[i].ServerDetail
		list[i].Service = &rows[i].service
	}
	return list, c.completeAll(ctx, by, list)
}

// complete loads a server's service and timeouts.
func (c *Catalog) complete(ctx context.Context, q db.Querier, by *access.Principal, d *ServerDetail) error {
	s, err := serviceByID(ctx, q, d.Service.ID)
	if err != nil {
		return err
	}
	d.Service = s
	if err := c.markConfigured(ctx, by, s); err != nil {
		return err
	}
	rows, err := timeoutsOf(ctx, q, d.ID)
	d.ToolTimeouts = map[string]time.Duration{}
	for _, r := range rows {
		d.ToolTimeouts[r.tool] = r.timeout
	}
	return err
}

func (c *Catalog) completeAll(ctx context.Context, by *access.Principal, list []*ServerDetail) error {
	services := make([]*Service, len(list))
	byID := map[string]*ServerDetail{}
	for i, d := range list {
		services[i], byID[d.ID] = d.Service, d
		d.ToolTimeouts = map[string]time.Duration{}
	}
	if len(list) == 0 {
		return nil
	}
	rows, err := timeoutsIn(ctx, c.store, by.Organization, list[0].Workspace)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if d := byID[r.server]; d != nil {
			d.ToolTimeouts[r.tool] = r.timeout
		}
	}
	return c.markConfigured(ctx, by, services...)
}

// UpdateServer changes a server. A new address, header or era bumps its
// version: connections and lists of the old one are not used again.
func (c *Catalog) UpdateServer(ctx context.Context, by *access.Principal, server string, ch ServerChange) (*ServerDetail, error) {
	if err := access.Require(by, access.ServicesAdmin); err != nil {
		return nil, err
	}
	if err := ch.check(); err != nil {
		return nil, err
	}
	var d *ServerDetail
	err := c.store.Tx(ctx, func(tx *db.Tx) (err error) {
		if d, err = ownServer(ctx, tx, by, server); err != nil {
			return err
		}
		return c.changeServer(ctx, tx, by, d, ch)
	})
	if errors.Is(err, db.ErrDuplicate) {
		return nil, ErrSlugTaken
	}
	if err != nil {
		return nil, err
	}
	return d, c.complete(ctx, c.store, by, d)
}

func (ch ServerChange) check() error {
	if ch.Timeout != nil && *ch.Timeout != 0 {
		if err := checkTimeout(*ch.Timeout); err != nil {
			return err
		}
	}
	if ch.Slug != nil {
		if err := CheckSlug(*ch.Slug); err != nil {
			return err
		}
	}
	if ch.Name != nil {
		if err := checkText("name", *ch.Name, 100, true); err != nil {
			return err
		}
	}
	if len(ch.ToolTimeouts) > maxTools {
		return ErrInput.Saying("At most %d tools have a timeout of their own.", maxTools)
	}
	for tool, d := range ch.ToolTimeouts {
		if err := checkTool(tool); err != nil {
			return err
		}
		if d != nil {
			if err := checkTimeout(*d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Catalog) changeServer(ctx context.Context, tx *db.Tx, by *access.Principal, d *ServerDetail, ch ServerChange) error {
	var fields []string
	note := func(name string, changed bool) {
		if changed {
			fields = append(fields, name)
		}
	}
	note("slug", set(&d.Slug, ch.Slug))
	note("name", set(&d.Name, ch.Name))
	note("enabled", set(&d.Enabled, ch.Enabled))
	// The private service has no timeout of its own to speak of: the server's rules.
	note("timeout", set(&d.Timeout, ch.Timeout))
	inner := ch.ServiceChange
	inner.Timeout = nil
	s, err := serviceByID(ctx, tx, d.Service.ID)
	if err != nil {
		return err
	}
	if s.Private {
		before := s.Revision
		if s, err = c.changeService(ctx, tx, by, s.ID, inner, ""); err != nil {
			return err
		}
		note("service", s.Revision != before)
	} else if inner.beyondNames() {
		return ErrInput.Saying("This server is made of an offered service, whose address, headers and schema are its seller's. Configure the service, or register a server of your own.")
	}
	for tool, timeout := range ch.ToolTimeouts {
		if err := saveTimeout(ctx, tx, d.ID, tool, timeout); err != nil {
			return err
		}
		note("timeout:"+tool, true)
	}
	d.UpdatedAt = c.now().UTC().Truncate(time.Millisecond)
	if err := saveServer(ctx, tx, d); err != nil {
		return err
	}
	tx.Changed("server", d.ID)
	tx.Changed("servers", d.Workspace)
	slices.Sort(fields)
	return activity.Record(ctx, tx, by, activity.Event{Action: "server.update", Workspace: d.Workspace, TargetType: "server", TargetID: d.ID,
		Details: map[string]any{"fields": fields}})
}

// beyondNames reports whether a change touches more than a server may itself.
func (ch ServiceChange) beyondNames() bool {
	return ch.Description != nil || ch.Version != nil || ch.URL != nil || ch.Headers != nil || ch.Command != nil || ch.Era != nil ||
		ch.ConfigScope != nil || ch.ConfigSchema != nil || ch.Capabilities != nil
}

// DeleteServer removes a server, and the private service that was made with it.
func (c *Catalog) DeleteServer(ctx context.Context, by *access.Principal, server string) error {
	if err := access.Require(by, access.ServicesAdmin); err != nil {
		return err
	}
	return c.store.Tx(ctx, func(tx *db.Tx) error {
		d, err := ownServer(ctx, tx, by, server)
		if err != nil {
			return err
		}
		if err := removeServer(ctx, tx, d, c.now()); err != nil {
			return err
		}
		tx.Changed("server", d.ID)
		tx.Changed("servers", d.Workspace)
		tx.Changed("service", d.Service.ID)
		return activity.Record(ctx, tx, by, activity.Event{Action: "server.remove", Workspace: d.Workspace, TargetType: "server", TargetID: d.ID,
			Details: map[string]any{"slug": d.Slug}})
	})
}
