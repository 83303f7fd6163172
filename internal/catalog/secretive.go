package catalog

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"headgate/internal/access"
	"headgate/internal/db"
)

// A secret is what Portable leaves behind: the value of a header, or of a secret
// field, that is not made of references alone, and a parameter of an address
// that looks like a credential.

// Ask is asked, in the transaction that would do it, whether somebody may set,
// replace or forget a secret now; its error ends the transaction.
type Ask func(ctx context.Context, q db.Querier, by *access.Principal) error

// ask asks when secrets are touched.
func (c *Catalog) ask(ctx context.Context, q db.Querier, by *access.Principal, touched bool) error {
	if !touched || c.may == nil {
		return nil
	}
	return c.may(ctx, q, by)
}

// secretHeader reports whether a header's value is a secret.
func secretHeader(value string) bool { return !onlyReferences(parseTemplate(value)) }

// secretValue reports whether the value of a secret field is a secret.
func secretValue(v any) bool {
	text, isText := v.(string)
	return !isText || !onlyReferences(parseSecrets(text))
}

// hides reports whether a schema's field is never shown.
func hides(schema *configSchema, field string) bool { return schema == nil || schema.secret(field) }

// credential reports whether a parameter of an address looks like one.
func credential(name string) bool {
	lower := strings.ToLower(name)
	for _, word := range []string{"key", "token", "secret", "pass", "auth", "sig", "cred"} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}

// secretURL reports whether an address holds a secret.
func secretURL(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	for name, values := range u.Query() {
		if credential(name) && strings.Join(values, "") != "" {
			return true
		}
	}
	return false
}

// secretive reports whether a new service holds secrets.
func (in *ServiceInput) secretive() bool {
	for _, value := range in.Headers {
		if secretHeader(value) {
			return true
		}
	}
	return secretURL(in.URL)
}

// touches reports whether a change sets, replaces or forgets secrets of a
// service. What it sets is never compared with what is there: that would tell
// who guesses right.
func (ch *ServiceChange) touches(s *Service, headers map[string]string) bool {
	for name, value := range ch.Headers {
		if value != nil && secretHeader(*value) {
			return true
		}
		for old, was := range headers {
			if strings.EqualFold(old, name) && secretHeader(was) {
				return true
			}
		}
	}
	return ch.URL != nil && (secretURL(*ch.URL) || secretURL(s.URL))
}

// configTouches reports whether a configuration that is sent sets, replaces or
// forgets secrets; kept is what is there, with its marks.
func configTouches(schema *configSchema, given, kept map[string]any, marked []string) bool {
	for field, v := range given {
		if hides(schema, field) && secretValue(v) {
			return true
		}
	}
	for field, v := range kept {
		_, replaced := given[field]
		hidden := hides(schema, field) || slices.Contains(marked, field)
		if hidden && (replaced || !stays(schema, field, marked)) && secretValue(v) {
			return true
		}
	}
	return false
}

// AskPortable asks, before anything of a recipe is made, whether the caller may
// keep the secrets that its services and servers hold.
func (c *Catalog) AskPortable(ctx context.Context, by *access.Principal, services, servers []Portable) error {
	touched := false
	own := map[string]*configSchema{}
	for _, p := range services {
		schema, err := c.schemas.compile(normalSchema(p.ConfigSchema))
		if err != nil {
			return err
		}
		own[p.Slug] = schema
		touched = touched || p.secretive() || p.Config != nil && configTouches(schema, p.Config, nil, nil)
	}
	for _, p := range servers {
		touched = touched || p.Service == "" && p.secretive()
		if p.Config == nil {
			continue
		}
		schema, known := own[p.Service]
		if !known {
			var err error
			if schema, err = c.schemaOf(ctx, by, &p); err != nil {
				return err
			}
		}
		touched = touched || configTouches(schema, p.Config, nil, nil)
	}
	return c.ask(ctx, c.store, by, touched)
}

// schemaOf returns the schema of what a server of a recipe is made of; nil, which
// hides everything, where that is not there.
func (c *Catalog) schemaOf(ctx context.Context, by *access.Principal, p *Portable) (*configSchema, error) {
	if p.Service == "" {
		return c.schemas.compile(normalSchema(p.ConfigSchema))
	}
	service, err := installable(ctx, c.store, by, p.Service)
	if err == nil {
		var s *Service
		if s, err = visibleService(ctx, c.store, by.Organization, by.Tenant, service); err == nil {
			return c.schemas.compile(s.ConfigSchema)
		}
	}
	if errors.Is(err, ErrServiceNotFound) {
		return nil, nil
	}
	return nil, err
}
