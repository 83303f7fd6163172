package budget

import (
	"context"
	"errors"
	"fmt"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/workspace"
)

// Budget is a workspace's ceilings and what it has spent.
type Budget struct {
	Workspace string
	Limits    Limits // cents
	Spent     Spent  // micro-USD
}

// Remaining returns what is left in a period, in micro-USD; Unlimited without
// a ceiling.
func (b Budget) Remaining(p Period) int64 {
	if b.Limits[p] == Unlimited {
		return Unlimited
	}
	return max(b.Limits[p]*MicrosPerCent-b.Spent[p], 0)
}

// Get returns a workspace's budget.
func (s *Service) Get(ctx context.Context, organization, ref string) (Budget, error) {
	w, err := s.Workspaces.Get(ctx, organization, ref)
	if err != nil {
		return Budget{}, err
	}
	return s.get(ctx, w)
}

func (s *Service) get(ctx context.Context, w workspace.Workspace) (b Budget, err error) {
	b.Workspace = w.ID
	if b.Limits, err = limitsOf(ctx, s.Store, w.ID); err != nil {
		return b, fmt.Errorf("read budget: %w", err)
	}
	if b.Spent, _, err = state(ctx, s.Store, w.ID, s.Now()); err != nil {
		return b, err
	}
	return s.withLoose(b), nil
}

// All returns the budgets of an organization's workspaces by id.
func (s *Service) All(ctx context.Context, organization string) (map[string]Budget, error) {
	list, err := s.Workspaces.List(ctx, organization)
	if err != nil {
		return nil, err
	}
	all := make(map[string]Budget, len(list))
	for _, w := range list {
		all[w.ID] = Budget{Workspace: w.ID, Limits: NoLimits}
	}
	if err := readAll(ctx, s.Store, organization, s.Now(), all); err != nil {
		return nil, err
	}
	for id, b := range all {
		all[id] = s.withLoose(b)
	}
	return all, nil
}

// withLoose adds what was spent without a budget and is not written yet.
func (s *Service) withLoose(b Budget) Budget {
	if v, ok := s.entries.Load(b.Workspace); ok {
		loose := v.(*entry).loose.Load()
		for p := range b.Spent {
			b.Spent[p] += loose
		}
	}
	return b
}

// Set replaces all ceilings of a workspace. Calls that begin from now on are
// held to them.
func (s *Service) Set(ctx context.Context, by *access.Principal, organization, ref string, l Limits) (Budget, error) {
	return s.Change(ctx, by, organization, ref, func(Limits) Limits { return l })
}

// Change is Set to what change makes of the ceilings there are. Changes at the
// same time take turns, so that each sees what the one before has made.
func (s *Service) Change(ctx context.Context, by *access.Principal, organization, ref string, change func(Limits) Limits) (Budget, error) {
	if by == nil || by.Kind != access.System && by.Organization != organization {
		return Budget{}, workspace.ErrNotFound
	}
	if by.Kind != access.System {
		if err := access.Require(by, access.WorkspacesAdmin); err != nil {
			return Budget{}, err
		}
	}
	w, err := s.Workspaces.Get(ctx, organization, ref)
	if err != nil {
		return Budget{}, err
	}
	for {
		e := s.entry(organization, w.ID)
		loose := e.loose.Swap(0)
		err := s.giveBack(ctx, e, func(tx *db.Tx) error {
			if e.gone {
				return errGone
			}
			if loose > 0 {
				if err := spend(ctx, tx, w.ID, s.Now(), loose); err != nil {
					return err
				}
			}
			if err := lock(ctx, tx, w.ID); err != nil {
				return err
			}
			old, err := limitsOf(ctx, tx, w.ID)
			if err != nil {
				return fmt.Errorf("read budget: %w", err)
			}
			return s.Write(ctx, tx, by, w, change(old))
		})
		if err != nil {
			e.loose.Add(loose)
		}
		if !errors.Is(err, errGone) {
			if err != nil {
				return Budget{}, err
			}
			return s.get(ctx, w)
		}
	}
}

var errGone = errors.New("the entry was forgotten")

// Write is Set in the caller's transaction, for workspaces that it makes.
func (s *Service) Write(ctx context.Context, tx *db.Tx, by *access.Principal, w workspace.Workspace, l Limits) error {
	if err := l.check(); err != nil {
		return err
	}
	var err error
	if l.bound() {
		_, err = db.Exec(ctx, tx, `INSERT INTO budgets (workspace_id, organization_id, hourly, daily, weekly, monthly, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (workspace_id) DO UPDATE SET hourly = excluded.hourly, daily = excluded.daily, weekly = excluded.weekly, monthly = excluded.monthly, updated_at = excluded.updated_at`,
			w.ID, w.Organization, nullCents(l[Hourly]), nullCents(l[Daily]), nullCents(l[Weekly]), nullCents(l[Monthly]), s.Now().UnixMilli())
	} else {
		_, err = db.Exec(ctx, tx, `DELETE FROM budgets WHERE workspace_id = $1`, w.ID)
	}
	if err != nil {
		return fmt.Errorf("write budget: %w", err)
	}
	if _, err := db.Exec(ctx, tx, `DELETE FROM budget_notices WHERE workspace_id = $1`, w.ID); err != nil {
		return err
	}
	tx.Changed("budget", w.ID)
	details := map[string]any{}
	for p := range periods {
		if l[p] != Unlimited {
			details[p.String()] = l[p]
		}
	}
	return record(ctx, tx, by, w, "budget.set", details)
}

// WorkspaceRemoved joins the transaction that removes a workspace.
func (s *Service) WorkspaceRemoved(ctx context.Context, tx *db.Tx, w workspace.Workspace, r workspace.Removal) error {
	if !r.Purge {
		return nil
	}
	for _, table := range []string{"budgets", "budget_buckets", "budget_notices"} {
		if _, err := db.Exec(ctx, tx, `DELETE FROM `+table+` WHERE workspace_id = $1`, w.ID); err != nil {
			return fmt.Errorf("purge budget: %w", err)
		}
	}
	tx.Changed("budget", w.ID)
	return nil
}

func record(ctx context.Context, tx *db.Tx, by *access.Principal, w workspace.Workspace, action string, details map[string]any) error {
	tenant, err := db.Value[string](ctx, tx, `SELECT tenant_id FROM organizations WHERE id = $1`, w.Organization)
	if err != nil {
		return err
	}
	return activity.Record(ctx, tx, by, activity.Event{Tenant: tenant, Organization: w.Organization, Workspace: w.ID, Action: action, TargetType: "workspace", TargetID: w.ID, Details: details})
}
