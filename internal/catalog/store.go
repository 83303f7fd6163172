package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
)

const serviceColumns = `id, tenant_id, organization_id, slug, name, description, version, private, transport, url, headers, era, timeout_ms,
	config_scope, config_schema, capabilities, price, read_price, charge_rejected, revision, created_at, updated_at, header_names, command`

// millisecond and list scan what Go holds in another form than the store.
type millisecond time.Duration

func (m *millisecond) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*m = 0
	case int64:
		*m = millisecond(time.Duration(v) * time.Millisecond)
	default:
		return fmt.Errorf("a duration column holds %T", src)
	}
	return nil
}

type list []string

func (l *list) Scan(src any) error {
	var text db.Text
	if err := text.Scan(src); err != nil {
		return err
	}
	*l = list{}
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), (*[]string)(l))
}

type document json.RawMessage

func (d *document) Scan(src any) error {
	var text db.Text
	if err := text.Scan(src); err != nil {
		return err
	}
	*d = nil
	if text != "" {
		*d = document(text)
	}
	return nil
}

func jsonList(l []string) string {
	if l == nil {
		l = []string{}
	}
	text, _ := json.Marshal(l) // texts always marshal
	return string(text)
}

func (s *Service) fields() []any {
	return []any{&s.ID, (*db.Text)(&s.Tenant), (*db.Text)(&s.Organization), &s.Slug, &s.Name, &s.Description, &s.Version, &s.Private,
		&s.Transport, (*db.Text)(&s.URL), &s.headers, &s.Era, (*millisecond)(&s.Timeout), &s.ConfigScope, (*document)(&s.ConfigSchema),
		(*list)(&s.Capabilities), &s.Price, &s.ReadPrice, &s.ChargeRejected, &s.Revision, (*db.Time)(&s.CreatedAt), (*db.Time)(&s.UpdatedAt),
		(*list)(&s.HeaderNames), (*document)(&s.Command)}
}

func insertService(ctx context.Context, q db.Querier, s *Service) error {
	_, err := db.Exec(ctx, q, `INSERT INTO services (`+serviceColumns+`)
		VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24)`,
		s.ID, db.Null(s.Tenant), db.Null(s.Organization), s.Slug, s.Name, s.Description, s.Version, s.Private,
		string(s.Transport), db.Null(s.URL), s.headers, string(s.Era), s.Timeout.Milliseconds(), string(s.ConfigScope), db.Null(string(s.ConfigSchema)),
		jsonList(s.Capabilities), s.Price, s.ReadPrice, s.ChargeRejected, s.Revision, s.CreatedAt.UnixMilli(), s.UpdatedAt.UnixMilli(), jsonList(s.HeaderNames),
		db.Null(string(s.Command)))
	return err
}

func saveService(ctx context.Context, q db.Querier, s *Service) error {
	_, err := db.Exec(ctx, q, `UPDATE services SET slug=$2, name=$3, description=$4, version=$5, url=$6, headers=$7, era=$8, timeout_ms=$9,
		config_scope=$10, config_schema=$11, capabilities=$12, price=$13, read_price=$14, charge_rejected=$15, revision=$16, updated_at=$17, header_names=$18, command=$19
		WHERE id=$1 AND removed_at IS NULL`,
		s.ID, s.Slug, s.Name, s.Description, s.Version, db.Null(s.URL), s.headers, string(s.Era), s.Timeout.Milliseconds(),
		string(s.ConfigScope), db.Null(string(s.ConfigSchema)), jsonList(s.Capabilities), s.Price, s.ReadPrice, s.ChargeRejected, s.Revision,
		s.UpdatedAt.UnixMilli(), jsonList(s.HeaderNames), db.Null(string(s.Command)))
	return err
}

// removeService ends a service and its servers, and returns the workspaces
// that lost one.
func removeService(ctx context.Context, q db.Querier, service string, now time.Time) ([]string, error) {
	if _, err := db.Exec(ctx, q, `UPDATE services SET removed_at=$2 WHERE id=$1 AND removed_at IS NULL`, service, now.UnixMilli()); err != nil {
		return nil, err
	}
	return db.All(ctx, q, func(w *string) []any { return []any{w} },
		`UPDATE servers SET removed_at=$2, updated_at=$2 WHERE service_id=$1 AND removed_at IS NULL RETURNING workspace_id`, service, now.UnixMilli())
}

// ownService returns a live service that the principal may change.
func ownService(ctx context.Context, q db.Querier, by *access.Principal, service string) (*Service, error) {
	canonical, ok := id.Parse("svc", service)
	if !ok {
		return nil, ErrServiceNotFound
	}
	owner := by.Organization
	if operates(by) {
		owner = ""
	}
	s, err := db.One(ctx, q, (*Service).fields,
		`SELECT `+serviceColumns+` FROM services WHERE COALESCE(organization_id, '')=$1 AND id=$2 AND removed_at IS NULL`, owner, canonical)
	if errors.Is(err, db.ErrNone) {
		return nil, ErrServiceNotFound
	}
	return &s, err
}

// offered is the condition that a service is offered to an organization.
const offered = `(organization_id=$1 OR organization_id IS NULL AND (tenant_id IS NULL OR tenant_id=$2)) AND removed_at IS NULL`

func visibleService(ctx context.Context, q db.Querier, organization, tenant, service string) (*Service, error) {
	canonical, ok := id.Parse("svc", service)
	if !ok {
		return nil, ErrServiceNotFound
	}
	s, err := db.One(ctx, q, (*Service).fields, `SELECT `+serviceColumns+` FROM services WHERE `+offered+` AND id=$3`, organization, tenant, canonical)
	if errors.Is(err, db.ErrNone) {
		return nil, ErrServiceNotFound
	}
	return &s, err
}

func listServices(ctx context.Context, q db.Querier, organization, tenant, pattern string, limit, offset int) ([]Service, error) {
	return db.All(ctx, q, (*Service).fields, `SELECT `+serviceColumns+` FROM services WHERE `+offered+matching+`
		ORDER BY lower(name), id LIMIT $4 OFFSET $5`, organization, tenant, pattern, limit, offset)
}

func countListed(ctx context.Context, q db.Querier, organization, tenant, pattern string) (int64, error) {
	return db.Value[int64](ctx, q, `SELECT COUNT(*) FROM services WHERE `+offered+matching, organization, tenant, pattern)
}

const matching = ` AND (lower(name) LIKE $3 ESCAPE '\' OR lower(description) LIKE $3 ESCAPE '\')`

// CountServices returns how many services an organization uses, as its plan
// counts them: its own, and those on offer that it has a server of.
func CountServices(ctx context.Context, q db.Querier, organization string) (int64, error) {
	return db.Value[int64](ctx, q, `SELECT COUNT(*) FROM services WHERE removed_at IS NULL AND (organization_id=$1 OR organization_id IS NULL
		AND id IN (SELECT service_id FROM servers WHERE organization_id=$1 AND removed_at IS NULL))`, organization)
}

// lockOrganization makes parallel additions count one after the other. SQLite
// has one writer anyway.
func lockOrganization(ctx context.Context, tx *db.Tx, organization string) error {
	if tx.Engine() != db.PostgreSQL {
		return nil
	}
	_, err := db.Exec(ctx, tx, `SELECT pg_advisory_xact_lock(hashtextextended('catalog:' || $1, 0))`, organization)
	return err
}

func isHome(ctx context.Context, q db.Querier, organization string) (bool, error) {
	home, err := db.Value[bool](ctx, q, `SELECT home FROM organizations WHERE id=$1`, organization)
	if errors.Is(err, db.ErrNone) {
		return false, nil
	}
	return home, err
}

type priceRow struct {
	service, operation, tool string
	since                    time.Time
	price                    int64
}

const priceColumns = `service_id, operation, tool, since, price`

func (r *priceRow) fields() []any {
	return []any{&r.service, &r.operation, &r.tool, (*db.Time)(&r.since), &r.price}
}

func currentPrice(ctx context.Context, q db.Querier, service, operation, tool string) (priceRow, error) {
	return db.One(ctx, q, (*priceRow).fields, `SELECT `+priceColumns+` FROM prices
		WHERE service_id=$1 AND operation=$2 AND tool=$3 AND until IS NULL`, service, operation, tool)
}

// pricesAt returns the prices in force at a moment; now when it is zero.
func pricesAt(ctx context.Context, q db.Querier, service string, at time.Time) ([]priceRow, error) {
	if at.IsZero() {
		return db.All(ctx, q, (*priceRow).fields, `SELECT `+priceColumns+` FROM prices WHERE service_id=$1 AND until IS NULL`, service)
	}
	return db.All(ctx, q, (*priceRow).fields, `SELECT `+priceColumns+` FROM prices
		WHERE service_id=$1 AND since<=$2 AND (until IS NULL OR until>$2) ORDER BY since`, service, at.UnixMilli())
}

func countTools(ctx context.Context, q db.Querier, service string) (int64, error) {
	return db.Value[int64](ctx, q, `SELECT COUNT(*) FROM prices WHERE service_id=$1 AND tool<>'' AND until IS NULL`, service)
}

func endPrice(ctx context.Context, q db.Querier, service, operation, tool string, at time.Time) error {
	_, err := db.Exec(ctx, q, `UPDATE prices SET until=$4 WHERE service_id=$1 AND operation=$2 AND tool=$3 AND until IS NULL`, service, operation, tool, at.UnixMilli())
	return err
}

func insertPrice(ctx context.Context, q db.Querier, service, operation, tool string, price int64, at time.Time) error {
	_, err := db.Exec(ctx, q, `INSERT INTO prices (service_id, operation, tool, since, price) VALUES ($1,$2,$3,$4,$5)`, service, operation, tool, at.UnixMilli(), price)
	return err
}

// prefixed puts a table's alias before each column.
func prefixed(alias, columns string) string {
	names := strings.Split(columns, ",")
	for i, n := range names {
		names[i] = alias + "." + strings.TrimSpace(n)
	}
	return strings.Join(names, ", ")
}
