package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/mcp"
)

// Service is an entry of the catalog.
type Service struct {
	ID             string
	Tenant         string // whose customers see it; "" with no Organization means everybody
	Organization   string // "" for services on offer
	Slug           string
	Name           string
	Description    string
	Version        string // what its maker calls it
	Private        bool   // made with a server
	Transport      Transport
	URL            string
	HeaderNames    []string        // never the values
	Command        json.RawMessage // what starts a stdio server: the operator's, shown to nobody else
	Era            Era
	Timeout        time.Duration
	ConfigScope    ConfigScope
	ConfigSchema   json.RawMessage // nil when there is nothing to configure
	Capabilities   []string
	Price          int64
	ReadPrice      int64
	ChargeRejected bool // whether a refusal by the server costs what an answer costs
	Revision       int64
	CreatedAt      time.Time
	UpdatedAt      time.Time
	Configured     bool // for whoever asked

	headers []byte // sealed
}

// ServiceInput is what a new service is made of.
type ServiceInput struct {
	Slug           string
	Name           string // the slug when empty
	Description    string
	Version        string    // 1.0.0 when empty
	Transport      Transport // HTTP when empty
	URL            string
	Headers        map[string]string // may hold {{config.NAME}} or ${NAME}
	Command        json.RawMessage   // with Stdio, which only the operator may offer
	Era            Era               // Auto when empty
	Timeout        time.Duration     // DefaultTimeout when zero
	ConfigScope    ConfigScope       // ForOrganization when empty
	ConfigSchema   json.RawMessage
	Capabilities   []string
	Price          *int64 // DefaultPrice when nil
	ReadPrice      *int64 // 0 when nil
	ChargeRejected *bool  // true when nil
}

// ServiceChange changes the parts of a service that are set.
type ServiceChange struct {
	Slug         *string
	Name         *string
	Description  *string
	Version      *string
	URL          *string
	Headers      map[string]*string // nil removes a header; others stay
	Command      *json.RawMessage
	Era          *Era
	Timeout      *time.Duration
	ConfigScope  *ConfigScope
	ConfigSchema *json.RawMessage
	Capabilities *[]string
}

// CreateService puts a service on offer (operator) or adds a custom one to the
// caller's organization.
func (c *Catalog) CreateService(ctx context.Context, by *access.Principal, in ServiceInput) (*Service, error) {
	if err := mayAdmin(by); err != nil {
		return nil, err
	}
	s, err := c.draft(by, in)
	if err != nil {
		return nil, err
	}
	err = c.store.Tx(ctx, func(tx *db.Tx) error {
		if s.Organization != "" {
			if err := c.room(ctx, tx, s.Organization); err != nil {
				return err
			}
		}
		return c.addService(ctx, tx, by, s, in)
	})
	if errors.Is(err, db.ErrDuplicate) {
		return nil, ErrSlugTaken.With("slug", s.Slug)
	}
	if err != nil {
		return nil, err
	}
	return s, c.markConfigured(ctx, by, s)
}

// draft checks an input and makes the service of it, not yet stored.
func (c *Catalog) draft(by *access.Principal, in ServiceInput) (*Service, error) {
	s := &Service{
		ID: id.New("svc"), Slug: in.Slug, Name: or(in.Name, in.Slug), Description: in.Description, Version: or(in.Version, "1.0.0"),
		Transport: or(in.Transport, HTTP), URL: in.URL, Command: normalSchema(in.Command), Era: or(in.Era, Auto), Timeout: or(in.Timeout, DefaultTimeout),
		ConfigScope: or(in.ConfigScope, ForOrganization), ConfigSchema: normalSchema(in.ConfigSchema),
		Capabilities: slices.Clone(in.Capabilities), Price: orPtr(in.Price, DefaultPrice), ReadPrice: orPtr(in.ReadPrice, 0),
		ChargeRejected: orPtr(in.ChargeRejected, true), Revision: 1,
	}
	if !operates(by) {
		s.Organization = by.Organization
	}
	s.CreatedAt = c.now().UTC().Truncate(time.Millisecond)
	s.UpdatedAt = s.CreatedAt
	if err := c.checkAddress(by, s); err != nil {
		return nil, err
	}
	schema, err := c.check(s)
	if err != nil {
		return nil, err
	}
	headers := maps.Clone(in.Headers)
	if err := checkHeaders(headers, schema); err != nil {
		return nil, err
	}
	c.sealHeaders(s, headers)
	return s, nil
}

// check holds a service to the rules that need no store, but for its address,
// and returns its compiled schema.
func (c *Catalog) check(s *Service) (*configSchema, error) {
	if err := CheckSlug(s.Slug); err != nil {
		return nil, err
	}
	for _, t := range []struct {
		field, text string
		limit       int
		required    bool
	}{{"name", s.Name, 100, true}, {"description", s.Description, 4000, false}, {"version", s.Version, 64, true}} {
		if err := checkText(t.field, t.text, t.limit, t.required); err != nil {
			return nil, err
		}
	}
	if s.Era != Auto && s.Era != Legacy && s.Era != Modern {
		return nil, ErrInput.Saying("The era is one of auto, legacy and modern.").With("field", "era")
	}
	if s.ConfigScope != ForOrganization && s.ConfigScope != ForUser {
		return nil, ErrInput.Saying("The config scope is organization or user.").With("field", "configScope")
	}
	if len(s.Capabilities) > 32 {
		return nil, ErrInput.Saying("A service lists at most 32 capabilities.").With("field", "capabilities")
	}
	for _, w := range s.Capabilities {
		if err := checkText("capability", w, 64, true); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(checkPrice(s.Price), checkPrice(s.ReadPrice)); err != nil {
		return nil, ErrPrice
	}
	if err := checkTimeout(s.Timeout); err != nil {
		return nil, err
	}
	return c.schemas.compile(s.ConfigSchema)
}

func (c *Catalog) checkAddress(by *access.Principal, s *Service) error {
	switch {
	case s.Transport == Builtin && by.Kind == access.System:
		return checkText("url", s.URL, 64, true)
	case s.Transport == Stdio && !operates(by):
		return ErrCommand
	case s.Transport == Stdio:
		return checkCommand(s)
	case s.Transport != HTTP && s.Transport != SSE || s.Command != nil:
		return ErrTransport
	}
	u, err := c.guard.CheckURL(s.URL)
	if err != nil {
		return err
	}
	s.URL = u.String()
	return nil
}

// checkCommand holds a stdio service to its form. What a command may be is
// judged where it is made of an entry.
func checkCommand(s *Service) error {
	if s.URL != "" || len(s.HeaderNames) > 0 || len(s.Command) > maxCommandBytes || mcp.Check(s.Command, mcp.Limits{}) != nil {
		return ErrInput.Saying("A stdio service has a command, and neither a URL nor headers.").With("field", "command")
	}
	return nil
}

// addService stores a drafted service with its prices and its event.
func (c *Catalog) addService(ctx context.Context, tx *db.Tx, by *access.Principal, s *Service, in ServiceInput) error {
	if in.Price != nil || in.ReadPrice != nil || in.ChargeRejected != nil {
		if err := mayPrice(ctx, tx, by); err != nil {
			return err
		}
	}
	if err := c.ask(ctx, tx, by, in.secretive()); err != nil {
		return err
	}
	if err := insertService(ctx, tx, s); err != nil {
		return err
	}
	for operation, price := range map[string]int64{opTool: s.Price, opRead: s.ReadPrice} {
		if _, err := setPrice(ctx, tx, s.ID, operation, "", &price, s.CreatedAt); err != nil {
			return err
		}
	}
	tx.Changed("service", s.ID)
	if s.Private {
		return nil // its server's event tells of it
	}
	return activity.Record(ctx, tx, by, activity.Event{Action: "service.create", TargetType: "service", TargetID: s.ID,
		Details: map[string]any{"slug": s.Slug, "transport": string(s.Transport), "url": plainURL(s.URL), "headers": s.HeaderNames}})
}

// UpdateService changes a service that the caller's organization (or, for the
// operator, the installation) owns. A new address or header takes effect with
// the next call; nothing sent before is repeated.
func (c *Catalog) UpdateService(ctx context.Context, by *access.Principal, service string, ch ServiceChange) (*Service, error) {
	if err := mayAdmin(by); err != nil {
		return nil, err
	}
	var s *Service
	err := c.store.Tx(ctx, func(tx *db.Tx) (err error) {
		s, err = c.changeService(ctx, tx, by, service, ch, "service.update")
		return err
	})
	if errors.Is(err, db.ErrDuplicate) {
		return nil, ErrSlugTaken
	}
	if err != nil {
		return nil, err
	}
	return s, c.markConfigured(ctx, by, s)
}

// changeService applies a change in the caller's transaction. action names the
// event; "" leaves it to the caller.
func (c *Catalog) changeService(ctx context.Context, tx *db.Tx, by *access.Principal, service string, ch ServiceChange, action string) (*Service, error) {
	s, err := ownService(ctx, tx, by, service)
	if err != nil {
		return nil, err
	}
	if s.Private && ch.Slug != nil && action != "" {
		return nil, ErrInput.Saying("The slug of a server's own service follows its server's. Change the server.").With("field", "slug")
	}
	headers, err := c.openHeaders(s)
	if err != nil {
		return nil, err
	}
	touched := ch.touches(s, headers)
	was, stays := *s, ch.leaves(headers)
	fields, reached := ch.apply(s, headers)
	if len(fields) == 0 {
		return s, nil
	}
	if ch.URL != nil || ch.Command != nil { // who may not choose an address may still change the rest
		if err := c.checkAddress(by, s); err != nil {
			return nil, err
		}
	}
	if ch.URL != nil && origin(was.URL) != origin(s.URL) {
		if err := c.checkMove(ctx, tx, &was, stays); err != nil {
			return nil, err
		}
	}
	schema, err := c.check(s)
	if err != nil {
		return nil, err
	}
	if string(was.ConfigSchema) != string(s.ConfigSchema) {
		if err := c.keepMarks(ctx, tx, &was); err != nil {
			return nil, err
		}
	}
	if err := checkHeaders(headers, schema); err != nil {
		return nil, err
	}
	if err := c.ask(ctx, tx, by, touched); err != nil {
		return nil, err
	}
	c.sealHeaders(s, headers)
	if reached {
		s.Revision++
	}
	s.UpdatedAt = c.now().UTC().Truncate(time.Millisecond)
	if err := saveService(ctx, tx, s); err != nil {
		return nil, err
	}
	tx.Changed("service", s.ID)
	if action == "" {
		return s, nil
	}
	return s, activity.Record(ctx, tx, by, activity.Event{Action: action, TargetType: "service", TargetID: s.ID,
		Details: map[string]any{"fields": fields}})
}

// apply writes the change into the service and its open headers. It returns
// the names of what changed, and whether that changes how the server is reached.
func (ch ServiceChange) apply(s *Service, headers map[string]string) (fields []string, reached bool) {
	note := func(name string, changed bool) bool {
		if changed {
			fields = append(fields, name)
		}
		return changed
	}
	note("slug", set(&s.Slug, ch.Slug))
	note("name", set(&s.Name, ch.Name))
	note("description", set(&s.Description, ch.Description))
	note("version", set(&s.Version, ch.Version))
	note("timeout", set(&s.Timeout, ch.Timeout))
	reached = note("url", set(&s.URL, ch.URL))
	reached = note("era", set(&s.Era, ch.Era)) || reached
	if ch.Command != nil && string(*ch.Command) != string(s.Command) {
		s.Command, reached = *ch.Command, note("command", true)
	}
	reached = note("configScope", set(&s.ConfigScope, ch.ConfigScope)) || reached
	if ch.ConfigSchema != nil {
		if fresh := normalSchema(*ch.ConfigSchema); string(fresh) != string(s.ConfigSchema) {
			s.ConfigSchema, reached = fresh, note("configSchema", true)
		}
	}
	if ch.Capabilities != nil && !slices.Equal(s.Capabilities, *ch.Capabilities) {
		s.Capabilities = slices.Clone(*ch.Capabilities)
		note("capabilities", true)
	}
	if len(ch.Headers) > 0 {
		mergeHeaders(headers, ch.Headers)
		reached = note("headers", true)
	}
	return fields, reached
}

// RemoveService takes a service off the catalog, with the servers made of it.
func (c *Catalog) RemoveService(ctx context.Context, by *access.Principal, service string) error {
	if err := mayAdmin(by); err != nil {
		return err
	}
	return c.store.Tx(ctx, func(tx *db.Tx) error {
		s, err := ownService(ctx, tx, by, service)
		if err != nil {
			return err
		}
		workspaces, err := removeService(ctx, tx, s.ID, c.now())
		if err != nil {
			return err
		}
		tx.Changed("service", s.ID)
		for _, w := range workspaces {
			tx.Changed("servers", w)
		}
		return activity.Record(ctx, tx, by, activity.Event{Action: "service.remove", TargetType: "service", TargetID: s.ID,
			Details: map[string]any{"slug": s.Slug}})
	})
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

func orPtr[T any](v *T, fallback T) T {
	if v == nil {
		return fallback
	}
	return *v
}

// set writes a new value, if there is one, and reports whether it differs.
func set[T comparable](at *T, v *T) bool {
	if v == nil || *v == *at {
		return false
	}
	*at = *v
	return true
}
