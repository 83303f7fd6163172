package workspace

import (
	"context"

	"headgate/internal/access"
	"headgate/internal/db"
)

// Change says what Update sets; nil leaves it.
type Change struct {
	Name         *string
	Slug         *string
	Role         *string
	Description  *string
	Parent       *string // an id or a slug; "" makes it one of the first level
	Tier         *int64
	Model        *string
	Instructions *string
}

// Update changes a workspace.
func (s *Service) Update(ctx context.Context, by *access.Principal, organization, ref string, c Change) (w Workspace, err error) {
	err = s.change(ctx, by, organization, ref, func(tx *db.Tx, at *Workspace, all []Workspace) error {
		w, err = s.apply(ctx, tx, by, *at, all, c)
		return err
	})
	return w, err
}

// Apply is Update in the caller's transaction, which has called In.
func (s *Service) Apply(ctx context.Context, tx *db.Tx, by *access.Principal, w Workspace, c Change) (Workspace, error) {
	if err := permit(by, w.Organization); err != nil {
		return Workspace{}, err
	}
	all, err := list(ctx, tx, w.Organization)
	if err != nil {
		return Workspace{}, err
	}
	return s.apply(ctx, tx, by, w, all, c)
}

func (s *Service) apply(ctx context.Context, tx *db.Tx, by *access.Principal, w Workspace, all []Workspace, c Change) (Workspace, error) {
	fields := []string{}
	set := func(name string, at, to *string) {
		if to != nil && *to != *at {
			*at, fields = *to, append(fields, name)
		}
	}
	set("name", &w.Name, c.Name)
	set("slug", &w.Slug, c.Slug)
	set("role", &w.Role, c.Role)
	set("description", &w.Description, c.Description)
	set("model", &w.Model, c.Model)
	if c.Tier != nil && *c.Tier != w.Tier {
		w.Tier, fields = *c.Tier, append(fields, "tier")
	}
	if c.Parent != nil {
		before := w.Parent
		if w.Parent = ""; *c.Parent != "" {
			if err := adopt(&w, all, *c.Parent); err != nil {
				return Workspace{}, err
			}
		}
		if w.Parent != before {
			fields = append(fields, "parent")
		}
	}
	spec := Spec{Name: w.Name, Slug: w.Slug, Role: w.Role, Description: w.Description, Tier: w.Tier, Model: w.Model, Runtime: w.Runtime, Instructions: orEmpty(c.Instructions)}
	if _, err := PresetOf(w.Tier); err != nil {
		return Workspace{}, err
	}
	if err := spec.Check(); err != nil {
		return Workspace{}, err
	}
	if err := free(w, all); err != nil {
		return Workspace{}, err
	}
	if c.Instructions != nil {
		fields = append(fields, "instructions")
		if err := saveInstructions(ctx, tx, w, *c.Instructions); err != nil {
			return Workspace{}, err
		}
	}
	if len(fields) == 0 {
		return w, nil
	}
	if err := s.put(ctx, tx, &w); err != nil {
		return Workspace{}, err
	}
	return w, record(ctx, tx, by, w, "workspace.update", map[string]any{"fields": fields})
}

// free refuses a name or slug that another workspace has.
func free(w Workspace, all []Workspace) error {
	for _, o := range all {
		switch {
		case o.ID == w.ID:
		case o.Slug == w.Slug:
			return ErrSlugTaken
		case o.Name == w.Name:
			return ErrNameTaken
		}
	}
	return nil
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
