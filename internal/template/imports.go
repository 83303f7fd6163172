package template

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/id"
)

// State is how far an import has come.
type State string

// The states. Interrupted: the process ended; the steps say what was done.
const (
	Planned     State = "planned"
	Running     State = "running"
	Done        State = "done"
	Partly      State = "partly" // some steps failed
	FailedState State = "failed" // nothing was made
	Interrupted State = "interrupted"
)

// What has become of a step.
const (
	Waiting = "waiting" // never begun
	Created = "created"
	Updated = "updated"
	Failed  = "failed" // nothing of it was made
	Skipped = "skipped"
	Dropped = "removed"
)

// Step is one workspace of an import.
type Step struct {
	Name      string `json:"name"`
	State     string `json:"state"`
	Workspace string `json:"workspace,omitempty"`
	Made      string `json:"made,omitempty"` // the name it got, when another had its own
	Code      string `json:"code,omitempty"`
	Error     string `json:"error,omitempty"`
}

// Import is one import, or the plan of one.
type Import struct {
	ID        string
	Kind      Kind
	Name      string
	State     State
	Steps     []Step
	CreatedAt time.Time
	UpdatedAt time.Time

	digest []byte
}

const (
	planFor = time.Hour
	beat    = 5 * time.Second  // how often a process shows that its imports live
	silence = 30 * time.Second // after which they are taken for dead
)

const importColumns = `id, kind, name, state, digest, steps, created_at, updated_at`

type importRow struct {
	Import
	steps string
}

func (r *importRow) fields() []any {
	return []any{&r.ID, &r.Kind, &r.Name, &r.State, &r.digest, &r.steps, (*db.Time)(&r.CreatedAt), (*db.Time)(&r.UpdatedAt)}
}

// GetImport returns an import of the organization: how far it has come.
func (s *Service) GetImport(ctx context.Context, organization, ref string) (Import, error) {
	canonical, ok := id.Parse("imp", ref)
	if !ok {
		return Import{}, ErrNoImport
	}
	r, err := db.One(ctx, s.Store, (*importRow).fields, `SELECT `+importColumns+` FROM imports WHERE organization_id = $1 AND id = $2`, organization, canonical)
	if errors.Is(err, db.ErrNone) {
		return Import{}, ErrNoImport
	}
	if err != nil {
		return Import{}, err
	}
	s.seen(&r.Import)
	return r.Import, json.Unmarshal([]byte(r.steps), &r.Import.Steps)
}

// open writes the row of a new import: a plan, or one that runs.
func (s *Service) open(ctx context.Context, by *access.Principal, imp *Import) error {
	imp.ID, imp.CreatedAt = id.New("imp"), s.Now().UTC().Truncate(time.Millisecond)
	imp.UpdatedAt = imp.CreatedAt
	steps, err := json.Marshal(imp.Steps)
	if err != nil {
		return err
	}
	return s.Store.Tx(ctx, func(tx *db.Tx) error {
		if _, err := db.Exec(ctx, tx, `INSERT INTO imports (id, organization_id, kind, name, state, digest, steps, owner, created_by, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)`,
			imp.ID, by.Organization, string(imp.Kind), imp.Name, string(imp.State), imp.digest, string(steps), s.owner, by.ID, imp.CreatedAt.UnixMilli()); err != nil {
			return fmt.Errorf("begin import: %w", err)
		}
		return event(ctx, tx, by, imp, "import."+map[State]string{Planned: "plan", Running: "begin"}[imp.State])
	})
}

// claim turns a plan into the import it planned.
func (s *Service) claim(ctx context.Context, by *access.Principal, imp *Import, plan string) error {
	canonical, ok := id.Parse("imp", plan)
	if !ok {
		return ErrPlan
	}
	now := s.Now()
	return s.Store.Tx(ctx, func(tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `UPDATE imports SET state = 'running', owner = $5, updated_at = $4 WHERE organization_id = $1 AND id = $2 AND state = 'planned' AND digest = $3 AND created_at > $6`,
			by.Organization, canonical, imp.digest, now.UnixMilli(), s.owner, now.Add(-planFor).UnixMilli())
		if err != nil {
			return fmt.Errorf("apply plan: %w", err)
		}
		if n == 0 {
			return ErrPlan
		}
		imp.ID, imp.State = canonical, Running
		return event(ctx, tx, by, imp, "import.begin")
	})
}

// note writes how far an import has come, in the transaction that went there.
func (s *Service) note(ctx context.Context, tx *db.Tx, imp *Import) error {
	steps, err := json.Marshal(imp.Steps)
	if err != nil {
		return err
	}
	imp.UpdatedAt = s.Now().UTC().Truncate(time.Millisecond)
	_, err = db.Exec(ctx, tx, `UPDATE imports SET state = $2, steps = $3, updated_at = $4 WHERE id = $1`, imp.ID, string(imp.State), string(steps), imp.UpdatedAt.UnixMilli())
	return err
}

// fail remembers why a step made nothing. What is no fault stays inside.
func (st *Step) fail(err error) {
	f := fault.Of(err)
	st.State, st.Workspace, st.Code, st.Error = Failed, "", f.Code, f.Message
}

func event(ctx context.Context, tx *db.Tx, by *access.Principal, imp *Import, action string) error {
	return activity.Record(ctx, tx, by, activity.Event{Action: action, TargetType: "import", TargetID: imp.ID,
		Details: map[string]any{"kind": string(imp.Kind), "name": imp.Name, "state": string(imp.State), "workspaces": len(imp.Steps)}})
}

// alive counts an import of this process until the function it returns is called.
func (s *Service) alive() (end func()) {
	s.running.Add(1)
	return func() { s.running.Add(-1) }
}

// Run shows, until ctx ends, that the imports of this process live, and marks
// those of others that have fallen silent.
func (s *Service) Run(ctx context.Context) error {
	if s.Store.Engine() == db.SQLite { // the only process: Recover has seen to it
		return nil
	}
	t := time.NewTicker(beat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		var err error
		if s.running.Load() > 0 {
			_, err = db.Exec(ctx, s.Store, `UPDATE imports SET updated_at = $2 WHERE state = 'running' AND owner = $1`, s.owner, s.Now().UnixMilli())
		}
		if err == nil {
			_, err = s.Recover(ctx)
		}
		if err != nil && ctx.Err() == nil && s.Log != nil {
			s.Log.Warn("imports could not be looked at; they will be in a moment", "error", err)
		}
	}
}

// Recover marks imports whose process has ended: their steps say what is done
// and what never began. On PostgreSQL one that has shown no life for half a
// minute is taken for dead; if it was only slow, its next step says otherwise.
func (s *Service) Recover(ctx context.Context) (int64, error) {
	before := s.Now().Add(-silence).UnixMilli()
	if s.Store.Engine() == db.SQLite { // the only process has just begun
		before = 1 << 62
	}
	return db.Exec(ctx, s.Store, `UPDATE imports SET state = 'interrupted', updated_at = $2 WHERE state = 'running' AND updated_at < $1`, before, s.Now().UnixMilli())
}

// seen is an import as it is at a moment: one that shows no life is interrupted
// before anybody has marked it.
func (s *Service) seen(imp *Import) {
	if imp.State == Running && s.Store.Engine() == db.PostgreSQL && s.Now().Sub(imp.UpdatedAt) > silence {
		imp.State = Interrupted
	}
}
