package tenancy

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
)

// Limit is a ceiling of a plan. Unlimited has no ceiling.
type Limit int64

// Unlimited is the limit of plans that have none; NULL in the store.
const Unlimited Limit = -1

// Allows reports whether one more fits when used are in use.
func (l Limit) Allows(used int64) bool { return l < 0 || used < int64(l) }

// Scan implements sql.Scanner.
func (l *Limit) Scan(src any) error {
	var n sql.NullInt64
	if err := n.Scan(src); err != nil {
		return err
	}
	*l = Unlimited
	if n.Valid {
		*l = Limit(n.Int64)
	}
	return nil
}

func (l Limit) stored() any {
	if l < 0 {
		return nil
	}
	return int64(l)
}

// Plan is what an organization may use. Features are words for people.
type Plan struct {
	ID             string
	Slug           string
	Name           string
	Users          Limit
	Services       Limit
	RequestsPerDay Limit
	RatePerMinute  int64
	Burst          int64
	MonthlyCredits int64
	Features       []string
	CreatedAt      time.Time
}

// The plans every installation starts with.
const (
	FreePlan     = "free"
	ProPlan      = "pro"
	OperatorPlan = "operator" // of the installation's own organization
)

var seeds = []Plan{
	{Slug: FreePlan, Name: "Free", Users: 5, Services: 10, RequestsPerDay: 1000, RatePerMinute: 60, Burst: 20, MonthlyCredits: 50,
		Features: []string{"5 users", "10 MCP services", "1000 requests per day"}},
	{Slug: ProPlan, Name: "Pro", Users: 50, Services: 100, RequestsPerDay: 100_000, RatePerMinute: 1200, Burst: 200, MonthlyCredits: 10_000,
		Features: []string{"50 users", "100 MCP services", "100000 requests per day"}},
	{Slug: OperatorPlan, Name: "Operator", Users: Unlimited, Services: Unlimited, RequestsPerDay: Unlimited,
		RatePerMinute: 600_000_000, Burst: 10_000_000, MonthlyCredits: 1_000_000_000, Features: []string{"Everything, without limits"}},
}

// Seed adds the plans of a new installation. Plans that exist stay as their
// operator left them.
func (s *Service) Seed(ctx context.Context, tx *db.Tx) error {
	for _, p := range seeds {
		p.ID, p.CreatedAt = id.New("plan"), s.now()
		if _, err := insertPlan(ctx, tx, &p); err != nil {
			return err
		}
	}
	return nil
}

// Plan returns a plan by id.
func (s *Service) Plan(ctx context.Context, plan string) (*Plan, error) {
	return s.plans.Get(ctx, plan)
}

// PlanBySlug returns a plan by its slug, such as FreePlan.
func (s *Service) PlanBySlug(ctx context.Context, q db.Querier, slug string) (*Plan, error) {
	return onePlan(ctx, q, `slug = $1`, slug)
}

// Plans lists every plan, cheapest first.
func (s *Service) Plans(ctx context.Context) ([]Plan, error) {
	rows, err := db.All(ctx, s.store, (*planRow).fields, `SELECT `+planColumns+` FROM plans ORDER BY monthly_credits, slug`)
	if err != nil {
		return nil, fmt.Errorf("plans: %w", err)
	}
	plans := make([]Plan, len(rows))
	for i := range rows {
		if plans[i], err = rows[i].plan(); err != nil {
			return nil, err
		}
	}
	return plans, nil
}

// SavePlan adds a plan, or replaces the one with its slug; operators only.
func (s *Service) SavePlan(ctx context.Context, by *access.Principal, p Plan) (*Plan, error) {
	if err := access.Require(by, access.Operate); err != nil {
		return nil, err
	}
	if !validSlug(p.Slug) || !validName(p.Name) || p.RatePerMinute < 1 || p.Burst < 1 || p.MonthlyCredits < 0 {
		return nil, ErrPlan
	}
	p.ID, p.CreatedAt = id.New("plan"), s.now()
	var saved *Plan
	err := s.store.Tx(ctx, func(tx *db.Tx) error {
		added, err := insertPlan(ctx, tx, &p)
		if err != nil {
			return err
		}
		action := "plan.create"
		if !added {
			action = "plan.update"
			if err := updatePlan(ctx, tx, &p); err != nil {
				return err
			}
		}
		if saved, err = onePlan(ctx, tx, `slug = $1`, p.Slug); err != nil {
			return err
		}
		tx.Changed(KindPlan, saved.ID)
		return activity.Record(ctx, tx, by, activity.Event{Tenant: activity.Installation, Action: action, TargetType: "plan", TargetID: saved.ID, Details: map[string]any{"slug": saved.Slug}})
	})
	return saved, err
}

const planColumns = `id, slug, name, users_limit, services_limit, requests_per_day, rate_per_minute, burst, monthly_credits, features, created_at`

type planRow struct {
	Plan
	features string
}

func (r *planRow) fields() []any {
	return []any{&r.ID, &r.Slug, &r.Name, &r.Users, &r.Services, &r.RequestsPerDay, &r.RatePerMinute, &r.Burst, &r.MonthlyCredits, &r.features, (*db.Time)(&r.CreatedAt)}
}

func (r *planRow) plan() (Plan, error) {
	if err := json.Unmarshal([]byte(r.features), &r.Features); err != nil {
		return Plan{}, fmt.Errorf("features of plan %s: %w", r.ID, err)
	}
	return r.Plan, nil
}

func onePlan(ctx context.Context, q db.Querier, where string, args ...any) (*Plan, error) {
	r, err := db.One(ctx, q, (*planRow).fields, `SELECT `+planColumns+` FROM plans WHERE `+where, args...)
	if errors.Is(err, db.ErrNone) {
		return nil, ErrNoPlan
	}
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	p, err := r.plan()
	return &p, err
}

func (p *Plan) values() ([]any, error) {
	if p.Features == nil {
		p.Features = []string{}
	}
	features, err := json.Marshal(p.Features)
	return []any{p.ID, p.Slug, p.Name, p.Users.stored(), p.Services.stored(), p.RequestsPerDay.stored(), p.RatePerMinute, p.Burst, p.MonthlyCredits, string(features), p.CreatedAt.UnixMilli()}, err
}

func insertPlan(ctx context.Context, tx *db.Tx, p *Plan) (added bool, err error) {
	values, err := p.values()
	if err != nil {
		return false, err
	}
	n, err := db.Exec(ctx, tx, `INSERT INTO plans (`+planColumns+`) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11) ON CONFLICT (slug) DO NOTHING`, values...)
	if err != nil {
		return false, fmt.Errorf("add plan: %w", err)
	}
	return n == 1, nil
}

func updatePlan(ctx context.Context, tx *db.Tx, p *Plan) error {
	values, err := p.values()
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, tx, `UPDATE plans SET name = $2, users_limit = $3, services_limit = $4, requests_per_day = $5,
		rate_per_minute = $6, burst = $7, monthly_credits = $8, features = $9 WHERE slug = $1`, values[1:10]...)
	if err != nil {
		return fmt.Errorf("update plan: %w", err)
	}
	return nil
}
