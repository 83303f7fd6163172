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

// Portable is a server without secrets, as a bundle carries it. Making it again
// needs the secrets that are named.
type Portable struct {
	ServerInput
	Off     bool
	Secrets []string
}

// Portable returns the servers of a workspace as a bundle carries them. A
// header's value goes along only as far as it is made of references; any other
// becomes a reference to a secret, named after server and header.
func (c *Catalog) Portable(ctx context.Context, by *access.Principal, workspace string) ([]Portable, error) {
	servers, err := c.ListServers(ctx, by, workspace)
	if err != nil {
		return nil, err
	}
	list := make([]Portable, 0, len(servers))
	for _, d := range servers {
		p := Portable{Off: !d.Enabled}
		p.Slug, p.Name = d.Slug, d.Name
		s := d.Service
		if !s.Private {
			p.Service, p.Timeout = s.Slug, d.Timeout
			list = append(list, p)
			continue
		}
		p.ServiceInput = ServiceInput{Slug: d.Slug, Name: d.Name, Description: s.Description, Version: s.Version, Transport: s.Transport, URL: plainURL(s.URL), Era: s.Era,
			Timeout: or(d.Timeout, s.Timeout), ConfigScope: s.ConfigScope, ConfigSchema: s.ConfigSchema, Capabilities: s.Capabilities}
		headers, err := c.openHeaders(s)
		if err != nil {
			return nil, err
		}
		p.Headers, p.Secrets = disarm(d.Slug, headers)
		list = append(list, p)
	}
	return list, nil
}

// schemes are the words that may stand before a reference.
var schemes = []string{"", "Bearer ", "Basic ", "Token ", "token ", "ApiKey "}

// disarm takes the secrets out of headers, and names those that are needed.
func disarm(slug string, headers map[string]string) (out map[string]string, needed []string) {
	out = map[string]string{}
	for name, value := range headers {
		parts := parseTemplate(value)
		safe := slices.ContainsFunc(parts, func(p templatePart) bool { return p.text == "" }) &&
			!slices.ContainsFunc(parts, func(p templatePart) bool { return !slices.Contains(schemes, p.text) })
		if !safe {
			secret := secretName(slug + "_" + name)
			out[name], needed = "{{secret."+secret+"}}", append(needed, secret)
			continue
		}
		out[name] = value
		for _, p := range parts {
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
		lower := strings.ToLower(name)
		for _, word := range []string{"key", "token", "secret", "pass", "auth", "sig", "cred"} {
			if strings.Contains(lower, word) {
				q.Set(name, "")
			}
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// AddServer is CreateServer in the caller's transaction, for templates and
// bundles; off leaves it switched off. Its service may be named by slug. A
// duplicate slug is db.ErrDuplicate and ends the transaction.
func (c *Catalog) AddServer(ctx context.Context, tx *db.Tx, by *access.Principal, in ServerInput, off bool) (*ServerDetail, error) {
	if err := access.Require(by, access.ServicesAdmin); err != nil {
		return nil, err
	}
	if in.Service != "" {
		service, err := namedService(ctx, tx, by, in.Service)
		if err != nil {
			return nil, err
		}
		in.Service = service
	}
	own, err := c.draftOwn(by, in)
	if err != nil {
		return nil, err
	}
	d := &ServerDetail{ID: id.New("srv"), Organization: by.Organization, Slug: in.Slug, Name: or(in.Name, in.Slug), Enabled: !off,
		ToolTimeouts: map[string]time.Duration{}, Revision: 1, CreatedAt: c.now().UTC().Truncate(time.Millisecond), Service: own}
	d.UpdatedAt = d.CreatedAt
	return d, c.addServer(ctx, tx, by, d, in)
}

// ServersIn returns the slugs of a workspace's servers, in the caller's
// transaction.
func (c *Catalog) ServersIn(ctx context.Context, tx *db.Tx, organization, workspace string) ([]string, error) {
	return db.All(ctx, tx, func(s *string) []any { return []any{s} }, `SELECT slug FROM servers WHERE organization_id = $1 AND workspace_id = $2 AND removed_at IS NULL ORDER BY slug`, organization, workspace)
}

// CheckServer holds an input to every rule that needs no store, for plans.
func (c *Catalog) CheckServer(by *access.Principal, in ServerInput) error {
	_, err := c.draftOwn(by, in)
	return err
}

// Named reports whether the organization can use a service of that id or slug.
func (c *Catalog) Named(ctx context.Context, by *access.Principal, name string) (bool, error) {
	_, err := namedService(ctx, c.store, by, name)
	if errors.Is(err, ErrServiceNotFound) {
		return false, nil
	}
	return err == nil, err
}
