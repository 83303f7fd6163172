package catalog

import (
	"bytes"
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
	var kept map[string]any // by old
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
	touched := configTouches(schema, config, kept, old.marked)
	for field, v := range kept {
		if _, given := config[field]; !given && stays(schema, field, old.marked) {
			config[field], row.marked = v, append(row.marked, field)
		}
	}
	if err := c.saveConfig(ctx, tx, by, s, row, config); err != nil {
		return err
	}
	return c.ask(ctx, tx, by, touched) // last: what does not fit is told without asking
}

// stays reports whether a stored field keeps its value when a configuration
// leaves it out: nobody can read it to send it again.
func stays(schema *configSchema, field string, marked []string) bool {
	if schema == nil {
		return false
	}
	_, declared := schema.fields[field]
	return schema.secret(field) || declared && slices.Contains(marked, field)
}

// saveConfig holds a configuration to its service's schema and stores it, with
// the marks of what the schema hides beside those that the row has.
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
	row.mark(schema, config)
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
	if err != nil || unfit != nil {
		return true
	}
	for field, v := range kept {
		if row.hides(schema, field) && secretValue(v) {
			return true
		}
	}
	return false
}

// keepMarks marks what a service's schema hides in everybody's configurations,
// before another schema takes its place: what was configured as a secret is
// never shown, whatever a later schema says.
func (c *Catalog) keepMarks(ctx context.Context, tx *db.Tx, was *Service) error {
	schema, err := c.schemas.compile(was.ConfigSchema)
	if err != nil {
		return err
	}
	rows, err := configurationsFor(ctx, tx, was.ID)
	if err != nil {
		return err
	}
	for i := range rows {
		row := &rows[i]
		config, err := row.open(c.keys)
		if err != nil {
			continue // what does not open is not shown either
		}
		before := len(row.marked)
		if row.mark(schema, config); len(row.marked) == before {
			continue
		}
		if err := row.seal(c.keys, config); err != nil {
			return err
		}
		if err := resealConfiguration(ctx, tx, row); err != nil {
			return err
		}
	}
	return nil
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
		if row.hides(schema, field) {
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

	marked []string // of an open one: the fields that were hidden when they were set
}

// hides reports whether a field is never shown: the schema hides it, or one
// before it did when the value was set.
func (r *configRow) hides(schema *configSchema, field string) bool {
	return hides(schema, field) || slices.Contains(r.marked, field)
}

// mark marks the fields that the schema hides.
func (r *configRow) mark(schema *configSchema, config map[string]any) {
	for field := range config {
		if hides(schema, field) {
			r.marked = append(r.marked, field)
		}
	}
	slices.Sort(r.marked)
	r.marked = slices.Compact(r.marked)
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

// seal seals the marks, where there are any, and the configuration behind them.
func (r *configRow) seal(keys *seal.Keys, config map[string]any) error {
	text, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if len(r.marked) > 0 {
		marks, _ := json.Marshal(r.marked) // texts always marshal
		text = append(marks, text...)
	}
	r.config = keys.Seal(r.place(), text)
	return nil
}

// open returns the configuration, and fills in the marks.
func (r *configRow) open(keys *seal.Keys) (map[string]any, error) {
	text, err := keys.Open(r.place(), r.config)
	if err != nil {
		return nil, fmt.Errorf("configuration of %s: %w", r.service, err)
	}
	r.marked = nil
	if bytes.HasPrefix(text, []byte("[")) {
		marks := json.NewDecoder(bytes.NewReader(text))
		if err := marks.Decode(&r.marked); err != nil {
			return nil, fmt.Errorf("marks of the configuration of %s: %w", r.service, err)
		}
		text = text[marks.InputOffset():]
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

// resealConfiguration stores what seal made, unless the row is another by now.
func resealConfiguration(ctx context.Context, q db.Querier, r *configRow) error {
	_, err := db.Exec(ctx, q, `UPDATE configurations SET config=$4 WHERE organization_id=$1 AND service_id=$2 AND user_id=$3 AND revision=$5`,
		r.organization, r.service, r.user, r.config, r.revision)
	return err
}

func deleteConfiguration(ctx context.Context, q db.Querier, service, organization, user string) (int64, error) {
	return db.Exec(ctx, q, `DELETE FROM configurations WHERE organization_id=$1 AND service_id=$2 AND user_id=$3`, organization, service, user)
}
