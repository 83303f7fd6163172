package workspace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
)

// Status is where a workspace stands in its life.
type Status string

// The statuses that exist so far.
const (
	Online Status = "online"
	Paused Status = "paused"
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
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Usable returns nil when the workspace takes calls, and why not otherwise.
func (w *Workspace) Usable() error {
	if w.Status == Paused {
		return ErrPaused
	}
	return nil
}

// Spec asks for a workspace.
type Spec struct {
	Organization string
	Name         string
	Slug         string // "": made from the name
	Default      bool
}

// The bounds of one organization.
const (
	maxName       = 100
	maxSlug       = 32
	maxWorkspaces = 1000
)

// Service is the domain of workspaces.
type Service struct {
	store *db.Store
	now   func() time.Time
	known *memory
}

// New returns the service. From then on it hears of the store's changes.
func New(store *db.Store, now func() time.Time) *Service {
	s := &Service{store: store, now: now, known: newMemory()}
	store.OnChange(s.known.changed)
	return s
}

// Create makes a workspace in the caller's transaction.
func (s *Service) Create(ctx context.Context, tx *db.Tx, by *access.Principal, spec Spec) (Workspace, error) {
	if !validName(spec.Name) {
		return Workspace{}, ErrName
	}
	if spec.Slug != "" && !ValidSlug(spec.Slug) {
		return Workspace{}, ErrSlug
	}
	if err := permit(by, spec.Organization); err != nil {
		return Workspace{}, err
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	w := Workspace{ID: id.New("ws"), Organization: spec.Organization, Slug: spec.Slug, Name: spec.Name, Default: spec.Default, Status: Online, CreatedAt: now, UpdatedAt: now}
	// First the event: its lock on the tenant's chain makes creators take
	// turns, so that what is free below is still free at the insert.
	if err := record(ctx, tx, by, w, "workspace.create", map[string]any{"name": w.Name}); err != nil {
		return Workspace{}, err
	}
	others, err := list(ctx, tx, spec.Organization)
	if err != nil {
		return Workspace{}, err
	}
	if err := settle(&w, others); err != nil {
		return Workspace{}, err
	}
	if err := insert(ctx, tx, w); err != nil {
		return Workspace{}, err
	}
	announce(tx, w)
	return w, nil
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

// Get returns the organization's workspace of that slug or id.
func (s *Service) Get(ctx context.Context, organization, ref string) (Workspace, error) {
	all, err := s.all(ctx, organization)
	if err != nil {
		return Workspace{}, err
	}
	canonical, isID := id.Parse("ws", ref)
	for _, w := range all {
		if w.Slug == ref || isID && w.ID == canonical {
			return w, nil
		}
	}
	return Workspace{}, ErrNotFound
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

// Pause stops a workspace from taking calls; reason is for people.
func (s *Service) Pause(ctx context.Context, by *access.Principal, organization, ref, reason string) (Workspace, error) {
	return s.turn(ctx, by, organization, ref, Online, Paused, reason)
}

// Resume lets a paused workspace take calls again.
func (s *Service) Resume(ctx context.Context, by *access.Principal, organization, ref string) (Workspace, error) {
	return s.turn(ctx, by, organization, ref, Paused, Online, "")
}

func (s *Service) turn(ctx context.Context, by *access.Principal, organization, ref string, from, to Status, reason string) (w Workspace, err error) {
	if err := permit(by, organization); err != nil {
		return Workspace{}, err
	}
	if w, err = s.Get(ctx, organization, ref); err != nil {
		return Workspace{}, err
	}
	w.Status, w.Reason, w.UpdatedAt = to, cut(reason, 500), s.now().UTC().Truncate(time.Millisecond)
	err = s.store.Tx(ctx, func(tx *db.Tx) error {
		n, err := update(ctx, tx, w, from)
		if err != nil {
			return err
		}
		if n == 0 {
			return wrongStatus(ctx, tx, w)
		}
		announce(tx, w)
		return record(ctx, tx, by, w, map[Status]string{Paused: "workspace.pause", Online: "workspace.resume"}[to], map[string]any{"reason": reason})
	})
	return w, err
}

// wrongStatus says why w could not take its new status.
func wrongStatus(ctx context.Context, tx *db.Tx, w Workspace) error {
	_, err := db.Value[string](ctx, tx, `SELECT status FROM workspaces WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL`, w.Organization, w.ID)
	switch {
	case errors.Is(err, db.ErrNone):
		return ErrNotFound
	case err != nil:
		return err
	case w.Status == Paused:
		return ErrPaused.Saying("This workspace is paused already.")
	}
	return ErrNotPaused
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

// ValidSlug reports whether s is a slug: [a-z0-9][a-z0-9-]{0,31}.
func ValidSlug(s string) bool {
	if s == "" || len(s) > maxSlug || s[0] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// slugOf makes a slug of a name; a number at its end survives the cut.
func slugOf(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if s := b.String(); s != "" && s[len(s)-1] != '-' {
			b.WriteByte('-')
		}
	}
	slug := strings.Trim(b.String(), "-")
	if slug == "" {
		slug = "workspace"
	}
	if len(slug) > maxSlug {
		head, tail := slug[:maxSlug], ""
		if i := strings.LastIndexByte(slug, '-'); len(slug)-i <= 6 {
			tail = slug[i:]
		}
		slug = strings.TrimRight(head[:maxSlug-len(tail)], "-") + tail
	}
	return slug
}

func validName(name string) bool {
	if !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName || strings.TrimSpace(name) == "" {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// cut returns at most n characters of s.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}
