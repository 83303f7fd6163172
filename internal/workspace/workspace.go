package workspace

import (
	"context"
	"fmt"
	"slices"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/jobs"
)

// Status is where a workspace stands in its life.
type Status string

// The statuses. A removed workspace is a tombstone; a purged one is an empty one.
const (
	Provisioning Status = "provisioning"
	Online       Status = "online"
	Paused       Status = "paused"
	Failed       Status = "failed"
	Removed      Status = "removed"
	Purged       Status = "purged"
)

// Runtime says where the agents of a workspace run.
type Runtime string

// The runtimes. The agents of an external workspace run elsewhere and connect
// with its key.
const (
	Builtin  Runtime = "builtin"
	External Runtime = "external"
)

// Workspace is one workspace.
type Workspace struct {
	ID           string
	Organization string
	Slug         string
	Name         string
	Default      bool
	Status       Status
	Reason       string // of the status, for people
	Parent       string
	Role         string // what it is for, in its owner's words
	Description  string
	Runtime      Runtime
	Tier         int64
	Model        string
	Template     string // what it was made of
	CreatedAt    time.Time
	UpdatedAt    time.Time
	RemovedAt    time.Time

	PausedBy string // the workspace whose pause this one shares; its own id when paused itself
}

// Usable returns nil when the workspace takes calls, and why not otherwise.
func (w *Workspace) Usable() error {
	switch w.Status {
	case Paused:
		return ErrPaused
	case Failed:
		return ErrFailed
	case Removed, Purged:
		return ErrGone
	}
	return nil
}

// Spec asks for a workspace.
type Spec struct {
	Organization string
	Name         string
	Slug         string // "": made from the name
	Default      bool
	Parent       string // an id or a slug
	Role         string
	Description  string
	Runtime      Runtime // "": Builtin
	Tier         int64   // 0: DefaultTier, the highest for a default workspace
	Model        string
	Instructions string // for its agents
	Template     string
}

// The bounds of one organization.
const (
	maxName         = 100
	maxSlug         = 32
	maxWorkspaces   = 1000
	maxDepth        = 8
	maxReason       = 500
	maxInstructions = 32 << 10
)

// Service is the domain of workspaces.
type Service struct {
	store *db.Store
	now   func() time.Time
	known *memory
	hooks hooks
}

// New returns the service. From then on it hears of the store's changes.
func New(store *db.Store, now func() time.Time) *Service {
	s := &Service{store: store, now: now, known: newMemory()}
	store.OnChange(s.known.changed)
	return s
}

// Provision is Create in a transaction of its own.
func (s *Service) Provision(ctx context.Context, by *access.Principal, spec Spec) (w Workspace, err error) {
	err = s.store.Tx(ctx, func(tx *db.Tx) error {
		w, err = s.Create(ctx, tx, by, spec)
		return err
	})
	return w, err
}

// Create makes a workspace in the caller's transaction. A default workspace is
// online at once; others are provisioning until Ready has looked at them.
func (s *Service) Create(ctx context.Context, tx *db.Tx, by *access.Principal, spec Spec) (Workspace, error) {
	if err := spec.Check(); err != nil {
		return Workspace{}, err
	}
	if err := permit(by, spec.Organization); err != nil {
		return Workspace{}, err
	}
	now := s.moment()
	w := Workspace{ID: id.New("ws"), Organization: spec.Organization, Slug: spec.Slug, Name: spec.Name, Default: spec.Default, Status: Provisioning,
		Role: spec.Role, Description: spec.Description, Runtime: spec.Runtime, Tier: spec.Tier, Model: spec.Model, Template: spec.Template, CreatedAt: now, UpdatedAt: now}
	if w.Default {
		w.Status = Online
	}
	if err := lock(ctx, tx, spec.Organization); err != nil {
		return Workspace{}, err
	}
	others, err := list(ctx, tx, spec.Organization)
	if err != nil {
		return Workspace{}, err
	}
	if err := settle(&w, others); err != nil {
		return Workspace{}, err
	}
	if spec.Parent != "" {
		if err := adopt(&w, others, spec.Parent); err != nil {
			return Workspace{}, err
		}
	}
	if err := insert(ctx, tx, w, spec.Instructions); err != nil {
		return Workspace{}, err
	}
	announce(tx, w)
	if w.Status == Provisioning {
		if err := s.begin(ctx, tx, w); err != nil {
			return Workspace{}, err
		}
	}
	return w, record(ctx, tx, by, w, "workspace.create", map[string]any{"name": w.Name, "template": w.Template, "parent": w.Parent})
}

// Check holds a spec to the rules that need no store, and fills in its defaults.
func (spec *Spec) Check() error {
	if !validName(spec.Name) {
		return ErrName
	}
	if spec.Slug != "" && !ValidSlug(spec.Slug) {
		return ErrSlug
	}
	if spec.Runtime == "" {
		spec.Runtime = Builtin
	}
	if spec.Runtime != Builtin && spec.Runtime != External {
		return ErrRuntime
	}
	if spec.Tier == 0 {
		if spec.Tier = DefaultTier; spec.Default {
			spec.Tier = MaxTier
		}
	}
	if _, err := PresetOf(spec.Tier); err != nil {
		return err
	}
	for _, t := range []struct {
		field, text string
		limit       int
	}{{"role", spec.Role, 100}, {"description", spec.Description, 1000}, {"model", spec.Model, 200}, {"template", spec.Template, 100}, {"instructions", spec.Instructions, maxInstructions}} {
		if err := checkText(t.field, t.text, t.limit); err != nil {
			return err
		}
	}
	return nil
}

// settle gives w a name and a slug that none of the others has.
func settle(w *Workspace, others []Workspace) error {
	if len(others) >= maxWorkspaces {
		return ErrTooMany
	}
	slugs, names := map[string]bool{}, map[string]bool{}
	for _, o := range others {
		if o.Default && w.Default {
			return ErrDefault
		}
		slugs[o.Slug], names[o.Name] = true, true
	}
	if slugs[w.Slug] {
		return ErrSlugTaken
	}
	name, slug := w.Name, w.Slug
	for n := 1; names[w.Name] || slug == "" && (w.Slug == "" || slugs[w.Slug]); n++ {
		if n > 1 {
			w.Name = fmt.Sprintf("%s (%d)", cut(name, maxName-8), n)
		}
		if slug == "" {
			w.Slug = slugOf(w.Name)
		}
	}
	return nil
}

// adopt gives w a parent of the others: not itself, none below it, not too deep.
func adopt(w *Workspace, others []Workspace, ref string) error {
	parent, ok := find(others, ref)
	if !ok {
		return ErrParent
	}
	depth := 1
	for at := parent; ; depth++ {
		if at.ID == w.ID || depth >= maxDepth {
			return ErrParent
		}
		if at.Parent == "" {
			break
		}
		if at, ok = find(others, at.Parent); !ok {
			break
		}
	}
	if depth+height(others, w.ID) >= maxDepth {
		return ErrParent
	}
	w.Parent = parent.ID
	return nil
}

// height is how many levels lie below a workspace.
func height(all []Workspace, of string) int {
	h := 0
	for _, w := range all {
		if w.Parent == of {
			h = max(h, 1+height(all, w.ID))
		}
	}
	return h
}

// below returns the descendants of a workspace, parents before children.
func below(all []Workspace, of string) []Workspace {
	var found []Workspace
	for _, w := range all {
		if w.Parent == of {
			found = append(append(found, w), below(all, w.ID)...)
		}
	}
	return found
}

// find returns the workspace of that slug or id.
func find(all []Workspace, ref string) (Workspace, bool) {
	canonical, _ := id.Parse("ws", ref) // "" is nobody's id
	for i := range all {
		if w := &all[i]; w.Slug == ref || w.ID == canonical {
			return *w, true
		}
	}
	return Workspace{}, false
}

// Get returns the organization's workspace of that slug or id, and ErrGone for
// the id of a removed one.
func (s *Service) Get(ctx context.Context, organization, ref string) (Workspace, error) {
	all, err := s.all(ctx, organization)
	if err != nil {
		return Workspace{}, err
	}
	if w, ok := find(all, ref); ok {
		return w, nil
	}
	if _, err := s.Tombstone(ctx, organization, ref); err != nil {
		return Workspace{}, err
	}
	return Workspace{}, ErrGone
}

// Tombstone returns what is left of a removed workspace.
func (s *Service) Tombstone(ctx context.Context, organization, ref string) (Workspace, error) {
	canonical, isID := id.Parse("ws", ref)
	if !isID {
		return Workspace{}, ErrNotFound
	}
	return removed(ctx, s.store, organization, canonical)
}

// Default returns the organization's default workspace.
func (s *Service) Default(ctx context.Context, organization string) (Workspace, error) {
	all, err := s.all(ctx, organization)
	if err != nil {
		return Workspace{}, err
	}
	for _, w := range all {
		if w.Default {
			return w, nil
		}
	}
	return Workspace{}, ErrNotFound
}

// List returns the organization's workspaces, oldest first.
func (s *Service) List(ctx context.Context, organization string) ([]Workspace, error) {
	all, err := s.all(ctx, organization)
	return slices.Clone(all), err
}

// In is List in the caller's transaction, which it makes the only one that
// changes the organization's workspaces.
func (s *Service) In(ctx context.Context, tx *db.Tx, organization string) ([]Workspace, error) {
	if err := lock(ctx, tx, organization); err != nil {
		return nil, err
	}
	return list(ctx, tx, organization)
}

// Below returns the descendants of a workspace, parents before their children.
func (s *Service) Below(ctx context.Context, w Workspace) ([]Workspace, error) {
	all, err := s.all(ctx, w.Organization)
	return below(all, w.ID), err
}

// Instructions returns what a workspace's agents are told.
func (s *Service) Instructions(ctx context.Context, w Workspace) (string, error) {
	text, err := db.Value[db.Text](ctx, s.store, `SELECT instructions FROM workspaces WHERE organization_id = $1 AND id = $2`, w.Organization, w.ID)
	return string(text), err
}

func (s *Service) moment() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// begin sets a workspace on its way to Ready.
func (s *Service) begin(ctx context.Context, tx *db.Tx, w Workspace) error {
	_, err := jobs.Enqueue(ctx, tx, Start{Organization: w.Organization, Workspace: w.ID}, jobs.InsertOpts{UniqueKey: w.ID + w.UpdatedAt.Format(time.RFC3339Nano)})
	return err
}

func permit(by *access.Principal, organization string) error {
	if by != nil && by.Kind == access.System {
		return nil
	}
	if by == nil || by.Organization != organization {
		return ErrNotFound.Saying("There is no such organization, or it is not yours.")
	}
	return access.Require(by, access.WorkspacesAdmin)
}

func announce(tx *db.Tx, w Workspace) {
	tx.Changed("workspace", w.ID)
	tx.Changed("workspaces", w.Organization)
}

func record(ctx context.Context, tx *db.Tx, by *access.Principal, w Workspace, action string, details map[string]any) error {
	tenant, err := tenantOf(ctx, tx, w.Organization)
	if err != nil {
		return err
	}
	return activity.Record(ctx, tx, by, activity.Event{
		Tenant: tenant, Organization: w.Organization, Workspace: w.ID, Action: action, TargetType: "workspace", TargetID: w.ID, Details: details,
	})
}
