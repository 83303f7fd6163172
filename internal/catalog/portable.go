package catalog

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
)

// Portable is a server, or a service of an organization's own, without secrets,
// as a bundle carries it. Making it again needs the secrets that are named.
type Portable struct {
	ServerInput
	Off          bool
	ToolTimeouts map[string]time.Duration
	ToolPrices   map[string]int64
	Config       map[string]any // the organization's; nil when there is none. Its secrets are references
	Secrets      []string
}

// Portable returns the servers of a workspace as a bundle carries them. A
// header's value, and a configured secret, goes along only as far as it is made
// of references; any other becomes a reference to a secret, named after the
// server and its place.
func (c *Catalog) Portable(ctx context.Context, by *access.Principal, workspace string) ([]Portable, error) {
	servers, err := c.ListServers(ctx, by, workspace)
	if err != nil {
		return nil, err
	}
	list := make([]Portable, 0, len(servers))
	for _, d := range servers {
		p := Portable{Off: !d.Enabled, ToolTimeouts: d.ToolTimeouts}
		p.Timeout = d.Timeout
		if !d.Service.Private {
			p.Service = d.Service.Slug
			err = c.packConfig(ctx, by, &p, d.Service)
		} else {
			err = c.pack(ctx, by, &p, d.Service)
		}
		p.Slug, p.Name = d.Slug, d.Name
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// PortableServices returns the services of an organization's own that belong to
// no server, as a recipe carries them.
func (c *Catalog) PortableServices(ctx context.Context, by *access.Principal) ([]Portable, error) {
	if err := mayRead(by); err != nil {
		return nil, err
	}
	own, err := ownServices(ctx, c.store, by.Organization)
	if err != nil {
		return nil, err
	}
	list := make([]Portable, len(own))
	for i := range own {
		if err := c.pack(ctx, by, &list[i], &own[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// pack fills in everything of a service that is not another's.
func (c *Catalog) pack(ctx context.Context, by *access.Principal, p *Portable, s *Service) error {
	p.ServiceInput = ServiceInput{Slug: s.Slug, Name: s.Name, Description: s.Description, Version: s.Version, Transport: s.Transport, URL: plainURL(s.URL), Era: s.Era,
		Timeout: or(p.Timeout, s.Timeout), ConfigScope: s.ConfigScope, ConfigSchema: s.ConfigSchema, Capabilities: s.Capabilities}
	if s.Price != DefaultPrice {
		p.Price = &s.Price
	}
	if s.ReadPrice != 0 {
		p.ReadPrice = &s.ReadPrice
	}
	if !s.ChargeRejected {
		p.ChargeRejected = &s.ChargeRejected
	}
	headers, err := c.openHeaders(s)
	if err != nil {
		return err
	}
	p.Headers, p.Secrets = disarm(s.Slug, headers)
	rows, err := pricesAt(ctx, c.store, s.ID, time.Time{})
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.operation == opTool && r.tool != "" {
			if p.ToolPrices == nil {
				p.ToolPrices = map[string]int64{}
			}
			p.ToolPrices[r.tool] = r.price
		}
	}
	return c.packConfig(ctx, by, p, s)
}

// packConfig fills in the organization's configuration. People's own stay
// theirs. One that does not fit once its secrets are out is left behind.
func (c *Catalog) packConfig(ctx context.Context, by *access.Principal, p *Portable, s *Service) error {
	row, err := configuration(ctx, c.store, s.ID, by.Organization, "")
	if errors.Is(err, db.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	config, err := row.open(c.keys)
	if err != nil {
		return err
	}
	schema, err := c.schemas.compile(s.ConfigSchema)
	if err != nil {
		return err
	}
	needed := p.Secrets
	for field, v := range config {
		text, isText := v.(string)
		hidden := row.hides(schema, field)
		switch {
		case hidden && !isText: // nothing can stand for it
			delete(config, field)
			continue
		case hidden && secretValue(v):
			text = "{{secret." + secretName(s.Slug+"_"+field) + "}}"
			config[field] = text
		}
		for _, part := range parseSecrets(text) {
			if part.secret != "" {
				needed = append(needed, part.secret)
			}
		}
	}
	if schema.validate(config) != nil {
		return nil
	}
	slices.Sort(needed)
	p.Config, p.Secrets = config, slices.Compact(needed)
	return nil
}

// onlyReferences reports whether a value is made of references, behind a scheme
// at most.
func onlyReferences(parts []templatePart) bool {
	return slices.ContainsFunc(parts, func(p templatePart) bool { return p.text == "" }) &&
		!slices.ContainsFunc(parts, func(p templatePart) bool { return !slices.Contains(schemes, p.text) })
}

// schemes are the words that may stand before a reference.
var schemes = []string{"", "Bearer ", "Basic ", "Token ", "token ", "ApiKey "}

// disarm takes the secrets out of headers, and names those that are needed.
func disarm(slug string, headers map[string]string) (out map[string]string, needed []string) {
	out = map[string]string{}
	for name, value := range headers {
		if secretHeader(value) {
			secret := secretName(slug + "_" + name)
			out[name], needed = "{{secret."+secret+"}}", append(needed, secret)
			continue
		}
		out[name] = value
		for _, p := range parseTemplate(value) {
			if p.secret != "" {
				needed = append(needed, p.secret)
			}
		}
	}
	slices.Sort(needed)
	return out, slices.Compact(needed)
}

// secretName makes a secret's name of any words.
func secretName(words string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, words)
	if name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name[:min(len(name), 128)]
}

// plainURL empties the parameters of a URL that look like credentials.
func plainURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.RawQuery == "" {
		return raw
	}
	q := u.Query()
	for name := range q {
		if credential(name) {
			q.Set(name, "")
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// AddServer is CreateServer in the caller's transaction, for templates and
// bundles, with everything that a bundle carries. Its service may be named by
// slug; a configuration that is there stays as it is. A duplicate slug is
// db.ErrDuplicate and ends the transaction.
func (c *Catalog) AddServer(ctx context.Context, tx *db.Tx, by *access.Principal, p Portable) (*ServerDetail, error) {
	if err := access.Require(by, access.ServicesAdmin); err != nil {
		return nil, err
	}
	in := p.ServerInput
	if in.Service != "" {
		service, err := installable(ctx, tx, by, in.Service)
		if err != nil {
			return nil, err
		}
		in.Service = service
	}
	own, err := c.draftOwn(by, in)
	if err != nil {
		return nil, err
	}
	d := &ServerDetail{ID: id.New("srv"), Organization: by.Organization, Slug: in.Slug, Name: or(in.Name, in.Slug), Enabled: !p.Off,
		ToolTimeouts: p.ToolTimeouts, Revision: 1, CreatedAt: c.now().UTC().Truncate(time.Millisecond), Service: own}
	d.UpdatedAt = d.CreatedAt
	if err := c.addServer(ctx, tx, by, d, in); err != nil {
		return nil, err
	}
	for tool, timeout := range p.ToolTimeouts {
		if err := saveTimeout(ctx, tx, d.ID, tool, &timeout); err != nil {
			return nil, err
		}
	}
	if own == nil && len(p.ToolPrices) > 0 {
		return nil, ErrInput.Saying("The prices of an offered service are its seller's. Leave tool_prices out.").With("field", "tool_prices")
	}
	return d, c.unpack(ctx, tx, by, d.Service, p)
}

// AddService adds a service to the caller's organization in the caller's
// transaction, for recipes. Where the organization has one of that slug, that
// one stays.
func (c *Catalog) AddService(ctx context.Context, tx *db.Tx, by *access.Principal, p Portable) error {
	if err := access.Require(by, access.ServicesAdmin); err != nil {
		return err
	}
	_, err := installable(ctx, tx, by, p.Slug)
	if !errors.Is(err, ErrServiceNotFound) {
		return err
	}
	s, err := c.draft(by, p.ServiceInput)
	if err != nil {
		return err
	}
	s.Organization = by.Organization
	if err := c.room(ctx, tx, by.Organization); err != nil {
		return err
	}
	if err := c.addService(ctx, tx, by, s, p.ServiceInput); err != nil {
		return err
	}
	return c.unpack(ctx, tx, by, s, p)
}

// unpack gives a service the prices of its tools and the organization's
// configuration, where there is none yet.
func (c *Catalog) unpack(ctx context.Context, tx *db.Tx, by *access.Principal, s *Service, p Portable) error {
	if len(p.ToolPrices) > 0 {
		if err := mayPrice(ctx, tx, by); err != nil {
			return err
		}
		ch := PriceChange{Tools: map[string]*int64{}}
		for tool, price := range p.ToolPrices {
			ch.Tools[tool] = &price
		}
		if _, err := c.applyPrices(ctx, tx, s, ch); err != nil {
			return err
		}
	}
	if p.Config == nil {
		return nil
	}
	if err := access.Require(by, access.ServicesConfig); err != nil {
		return err
	}
	_, err := configuration(ctx, tx, s.ID, by.Organization, "")
	if !errors.Is(err, db.ErrNone) {
		return err
	}
	schema, err := c.schemas.compile(s.ConfigSchema)
	if err == nil {
		err = c.ask(ctx, tx, by, configTouches(schema, p.Config, nil, nil))
	}
	if err != nil {
		return err
	}
	return c.saveConfig(ctx, tx, by, s, configRow{service: s.ID, organization: by.Organization, createdAt: c.now(), updatedAt: c.now(), revision: c.now().UnixMilli()}, p.Config)
}

// ServersIn returns the slugs of a workspace's servers, in the caller's
// transaction.
func (c *Catalog) ServersIn(ctx context.Context, tx *db.Tx, organization, workspace string) ([]string, error) {
	return db.All(ctx, tx, func(s *string) []any { return []any{s} }, `SELECT slug FROM servers WHERE organization_id = $1 AND workspace_id = $2 AND removed_at IS NULL ORDER BY slug`, organization, workspace)
}

// CheckPortable holds what a recipe says of a server, or of a service, to every
// rule that needs no store, for plans.
func (c *Catalog) CheckPortable(by *access.Principal, p Portable) error {
	if _, err := c.draftOwn(by, p.ServerInput); err != nil {
		return err
	}
	ch := ServerChange{ToolTimeouts: map[string]*time.Duration{}}
	for tool, timeout := range p.ToolTimeouts {
		ch.ToolTimeouts[tool] = &timeout
	}
	prices := PriceChange{Tools: map[string]*int64{}}
	for tool, price := range p.ToolPrices {
		prices.Tools[tool] = &price
	}
	if err := errors.Join(ch.check(), prices.check()); err != nil {
		return err
	}
	if p.Config == nil || p.Service != "" {
		return nil // who offers it knows its schema
	}
	schema, err := c.schemas.compile(normalSchema(p.ConfigSchema))
	if err != nil {
		return err
	}
	return schema.validate(p.Config)
}

// NamesOf returns what an allowlist's services are called elsewhere, where their
// ids are others: by slug, a workspace's own server as workspace/server.
func (c *Catalog) NamesOf(ctx context.Context, by *access.Principal, allowed []Allowed) ([]string, error) {
	if err := mayRead(by); err != nil {
		return nil, err
	}
	own, err := db.All(ctx, c.store, func(r *[2]string) []any { return []any{&r[0], &r[1]} }, `SELECT s.id, w.slug || '/' || v.slug FROM servers v JOIN services s ON s.id = v.service_id JOIN workspaces w ON w.id = v.workspace_id
		WHERE v.organization_id = $1 AND v.removed_at IS NULL AND w.removed_at IS NULL AND s.private`, by.Organization)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = a.Slug
		for _, r := range own {
			if r[0] == a.Service {
				names[i] = r[1]
			}
		}
	}
	slices.Sort(names)
	return names, nil
}
