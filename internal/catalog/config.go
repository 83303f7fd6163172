package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/seal"
)

// Configuration is what may be shown of what somebody filled in.
type Configuration struct {
	Service   string
	User      string         // "" when it is the organization's
	Values    map[string]any // the fields that are no secrets
	Secrets   []string       // the secret fields that are set
	UpdatedAt time.Time
}

// Configure fills in a service's schema for the caller: for themselves when the
// service's scope is ForUser and the credential has a user, else for the
// organization. A secret that is left out keeps its value, since nobody can
// read it to send it again; every other field is replaced.
func (c *Catalog) Configure(ctx context.Context, by *access.Principal, service string, config json.RawMessage) (*Service, error) {
	if err := access.Require(by, access.ServicesConfig); err != nil {
		return nil, err
	}
	given, err := parseConfig(config)
	if err != nil {
		return nil, err
	}
	var s *Service
	err = c.store.Tx(ctx, func(tx *db.Tx) error {
		if s, err = visibleService(ctx, tx, by.Organization, by.Tenant, service); err != nil {
			return err
		}
		return c.putConfig(ctx, tx, by, s, maps.Clone(given))
	})
	if err != nil {
		return nil, err
	}
	s.Configured = true
	return s, nil
}

func (c *Catalog) putConfig(ctx context.Context, tx *db.Tx, by *access.Principal, s *Service, config map[string]any) error {
	schema, err := c.schemas.compile(s.ConfigSchema)
	if err != nil {
		return err
	}
	row := configRow{service: s.ID, organization: by.Organization, user: owner(s.ConfigScope, by), createdAt: c.now(), updatedAt: c.now(), revision: c.now().UnixMilli()}
	var kept map[string]any
	old, err := configuration(ctx, tx, row.service, row.organization, row.user)
	switch {
	case err == nil:
		row.createdAt, row.revision = old.createdAt, max(row.revision, old.revision+1)
		if kept, err = old.open(c.keys); err != nil {
			return err
		}
	case !errors.Is(err, db.ErrNone):
		return err
	}
	touched := configTouches(schema, config, kept)
	for field, v := range kept {
		if _, given := config[field]; !given && schema != nil && schema.secret(field) {
			config[field] = v
		}
	}
	if err := c.saveConfig(ctx, tx, by, s, row, config); err != nil {
		return err
	}
	return c.ask(ctx, tx, by, touched) // last: what does not fit is told without asking
}

// saveConfig holds a configuration to its service's schema and stores it.
func (c *Catalog) saveConfig(ctx context.Context, tx *db.Tx, by *access.Principal, s *Service, row configRow, config map[string]any) error {
	schema, err := c.schemas.compile(s.ConfigSchema)
	if err != nil {
		return err
	}
	if err := schema.validate(config); err != nil {
		return err
	}
	headers, err := c.openHeaders(s)
	if err != nil {
		return err
	}
	if _, _, err := render(headers, config, anySecret); err != nil {
		return err
	}
	if err := row.seal(c.keys, config); err != nil {
		return err
	}
	if err := saveConfiguration(ctx, tx, &row); err != nil {
		return err
	}
	tx.Changed("configuration", s.ID)
	return activity.Record(ctx, tx, by, activity.Event{Action: "service.configure", TargetType: "service", TargetID: s.ID,
		Details: map[string]any{"fields": declaredOf(schema, config), "scope": row.scope()}})
}

// declaredOf names the filled-in fields that the schema declares.
func declaredOf(schema *configSchema, config map[string]any) []string {
	names := []string{}
	for field := range config {
		if schema != nil {
			if _, ok := schema.fields[field]; ok {
				names = append(names, field)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Unconfigure forgets what Configure stored for the caller. Without a
// configuration it returns ErrUnconfigured.
func (c *Catalog) Unconfigure(ctx context.Context, by *access.Principal, service string) error {
	if err := access.Require(by, access.ServicesConfig); err != nil {
		return err
	}
	return c.store.Tx(ctx, func(tx *db.Tx) error {
		s, err := visibleService(ctx, tx, by.Organization, by.Tenant, service)
		if err != nil {
			return err
		}
		row, err := configuration(ctx, tx, s.ID, by.Organization, owner(s.ConfigScope, by))
		if errors.Is(err, db.ErrNone) {
			return ErrUnconfigured
		}
		if err != nil {
			return err
		}
		if err := c.ask(ctx, tx, by, c.keepsSecrets(s, &row)); err != nil {
			return err
		}
		n, err := deleteConfiguration(ctx, tx, s.ID, by.Organization, row.user)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrUnconfigured
		}
		tx.Changed("configuration", s.ID)
		return activity.Record(ctx, tx, by, activity.Event{Action: "service.unconfigure", TargetType: "service", TargetID: s.ID,
			Details: map[string]any{"scope": row.scope()}})
	})
}

// keepsSecrets reports whether a stored configuration holds secrets, or may.
func (c *Catalog) keepsSecrets(s *Service, row *configRow) bool {
	kept, err := row.open(c.keys)
	schema, unfit := c.schemas.compile(s.ConfigSchema)
	return err != nil || unfit != nil || configTouches(schema, kept, nil)
}

// Configuration shows the configuration that the caller's calls would use,
// without secrets; nil when there is none.
func (c *Catalog) Configuration(ctx context.Context, by *access.Principal, service string) (*Configuration, error) {
	s, err := c.visible(ctx, by, service)
	if err != nil {
		return nil, err
	}
	rows, err := configurationsOf(ctx, c.store, by.Organization, by.User, []string{s.ID})
	if err != nil {
		return nil, err
	}
	row := pickConfig(rows, s.ID, s.ConfigScope, by.User)
	if row == nil {
		return nil, nil
	}
	config, err := row.open(c.keys)
	if err != nil {
		return nil, err
	}
	schema, err := c.schemas.compile(s.ConfigSchema)
	if err != nil {
		return nil, err
	}
	shown := &Configuration{Service: s.ID, User: row.user, Values: map[string]any{}, Secrets: []string{}, UpdatedAt: row.updatedAt}
	for field, v := range config {
		if schema == nil || schema.secret(field) {
			shown.Secrets = append(shown.Secrets, field)
		} else {
			shown.Values[field] = v
		}
	}
	slices.Sort(shown.Secrets)
	return shown, nil
}

// owner returns whose row a configuration by the principal is.
func owner(scope ConfigScope, by *access.Principal) string {
	if scope == ForUser {
		return by.User
	}
	return ""
}

// pickConfig returns the row that a caller's calls use: their own where the
// scope allows one, else the organization's, else nil.
func pickConfig(rows []configRow, service string, scope ConfigScope, user string) *configRow {
	var shared *configRow
	for i := range rows {
		r := &rows[i]
		switch {
		case r.service != service:
		case r.user == "":
			shared = r
		case scope == ForUser && r.user == user:
			return r
		}
	}
	return shared
}

// configRow is a stored configuration.
type configRow struct {
	service, organization, user string
	config                      []byte
	revision                    int64
	createdAt, updatedAt        time.Time
}

const configColumns = `service_id, organization_id, user_id, config, revision, created_at, updated_at`

func (r *configRow) fields() []any {
	return []any{&r.service, &r.organization, &r.user, &r.config, &r.revision, (*db.Time)(&r.createdAt), (*db.Time)(&r.updatedAt)}
}

func (r *configRow) scope() string {
	if r.user != "" {
		return string(ForUser)
	}
	return string(ForOrganization)
}

func (r *configRow) place() string {
	return "configurations:" + r.service + ":" + r.organization + ":" + r.user
}

func (r *configRow) seal(keys *seal.Keys, config map[string]any) error {
	text, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	r.config = keys.Seal(r.place(), text)
	return nil
}

func (r *configRow) open(keys *seal.Keys) (map[string]any, error) {
	text, err := keys.Open(r.place(), r.config)
	if err != nil {
		return nil, fmt.Errorf("configuration of %s: %w", r.service, err)
	}
	return parseConfig(text)
}

func configuration(ctx context.Context, q db.Querier, service, organization, user string) (configRow, error) {
	return db.One(ctx, q, (*configRow).fields, `SELECT `+configColumns+` FROM configurations
		WHERE organization_id=$1 AND service_id=$2 AND user_id=$3`, organization, service, user)
}

// configurationsOf returns the organization's and the user's configurations of
// some services.
func configurationsOf(ctx context.Context, q db.Querier, organization, user string, services []string) ([]configRow, error) {
	marks, args := make([]string, len(services)), []any{organization, user}
	for i, s := range services {
		marks[i] = fmt.Sprintf("$%d", i+3)
		args = append(args, s)
	}
	return db.All(ctx, q, (*configRow).fields, `SELECT `+configColumns+` FROM configurations
		WHERE organization_id=$1 AND user_id IN ('', $2) AND service_id IN (`+strings.Join(marks, ",")+`)`, args...)
}

// configurationsFor returns everybody's configurations of a service.
func configurationsFor(ctx context.Context, q db.Querier, service string) ([]configRow, error) {
	return db.All(ctx, q, (*configRow).fields, `SELECT `+configColumns+` FROM configurations WHERE service_id=$1`, service)
}

func saveConfiguration(ctx context.Context, q db.Querier, r *configRow) error {
	_, err := db.Exec(ctx, q, `INSERT INTO configurations (`+configColumns+`) VALUES ($1,$2,$3,$4,$5,$6,$7)
		ON CONFLICT (service_id, organization_id, user_id) DO UPDATE SET config=$4, revision=$5, updated_at=$7`,
		r.service, r.organization, r.user, r.config, r.revision, r.createdAt.UnixMilli(), r.updatedAt.UnixMilli())
	return err
}

func deleteConfiguration(ctx context.Context, q db.Querier, service, organization, user string) (int64, error) {
	return db.Exec(ctx, q, `DELETE FROM configurations WHERE organization_id=$1 AND service_id=$2 AND user_id=$3`, organization, service, user)
}
