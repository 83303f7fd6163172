package template

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gopkg.in/yaml.v3"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/budget"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/seal"
	"headgate/internal/vault"
	"headgate/internal/workspace"
)

// Options are what a Service needs.
type Options struct {
	Store      *db.Store
	Keys       *seal.Keys
	Workspaces *workspace.Service
	Catalog    *catalog.Catalog
	Vault      *vault.Service
	Budgets    *budget.Service
	Now        func() time.Time
	Log        *slog.Logger // nil: nothing is told of imports that cannot be tended
}

// Service is the domain of recipes.
type Service struct {
	Options
	owner   string       // of imports that run here
	running atomic.Int64 // how many do
}

// New returns the service.
func New(o Options) *Service { return &Service{Options: o, owner: id.New("rep")} }

// Kind says what a template makes.
type Kind string

// The kinds.
const (
	ForWorkspace    Kind = "workspace"
	ForOrganization Kind = "organization"
)

// Template is a recipe that is kept: built in, or an organization's own.
type Template struct {
	Slug         string
	Kind         Kind
	Builtin      bool
	CreatedAt    time.Time
	Files        map[string]string
	Node         Node         // of one for workspaces
	Organization Organization // of one for organizations
}

const maxTemplates = 200

//go:embed builtin
var builtin embed.FS

// builtins reads the recipes that come with the program.
func builtins() ([]Template, error) {
	dirs, err := builtin.ReadDir("builtin")
	if err != nil {
		return nil, err
	}
	var list []Template
	for _, d := range dirs {
		files := map[string]string{}
		root := path.Join("builtin", d.Name())
		err := fs.WalkDir(builtin, root, func(p string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := builtin.ReadFile(p)
			files[strings.TrimPrefix(p, root+"/")] = string(text)
			return err
		})
		if err != nil {
			return nil, err
		}
		t, err := parse(d.Name(), d.Name(), files)
		if err != nil {
			return nil, fmt.Errorf("built-in template %s: %w", d.Name(), err)
		}
		t.Builtin = true
		list = append(list, t)
	}
	return list, nil
}

// parse makes a template of files: organization.yaml (or .json) is a recipe
// for an organization, template.yaml (or .json) describes a workspace, and
// instructions.md says what its agents are told. Everything else is a file of
// the workspace.
func parse(slug, name string, files map[string]string) (Template, error) {
	t := Template{Slug: slug, Kind: ForWorkspace, Files: files}
	rest := maps.Clone(files)
	take := func(names ...string) (string, bool) {
		for _, n := range names {
			if text, ok := rest[n]; ok {
				delete(rest, n)
				return text, true
			}
		}
		return "", false
	}
	if text, ok := take("organization.yaml", "organization.yml", "organization.json"); ok {
		t.Kind = ForOrganization
		if err := decodeYAML(text, &t.Organization); err != nil {
			return t, err
		}
		if t.Organization.Name == "" {
			t.Organization.Name = name
		}
		return t, nil
	}
	if text, ok := take("template.yaml", "template.yml", "template.json"); ok {
		if err := decodeYAML(text, &t.Node); err != nil {
			return t, err
		}
	}
	if t.Node.Template != "" || len(t.Node.SubWorkspaces) > 0 {
		return t, wrong("template", "a workspace's template has neither a template nor sub_workspaces; make one for an organization")
	}
	if t.Node.Name == "" {
		t.Node.Name = name
	}
	if text, ok := take("instructions.md", "AGENTS.md"); ok && t.Node.SystemPrompt == "" {
		t.Node.SystemPrompt = text
	}
	all := t.Node.files()
	maps.Copy(all, rest)
	t.Node.Files, t.Node.Skills = nil, nil
	t.Node.setFiles(all)
	return t, nil
}

// decodeYAML reads YAML (of which JSON is a part) strictly.
func decodeYAML(text string, into any) error {
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return ErrRecipe.Saying("The recipe is no YAML or JSON.")
	}
	plain, err := json.Marshal(doc)
	if err != nil {
		return ErrRecipe.Saying("The recipe holds keys that are no texts.")
	}
	return decode(plain, into)
}

// List returns the templates of a kind that an organization may use, built-in
// ones first.
func (s *Service) List(ctx context.Context, organization string, kind Kind) ([]Template, error) {
	all, err := builtins()
	if err != nil {
		return nil, err
	}
	own, err := s.own(ctx, s.Store, organization)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(append(all, own...), func(t Template) bool { return t.Kind != kind }), nil
}

// Get returns a template by its slug.
func (s *Service) Get(ctx context.Context, organization, slug string, kind Kind) (Template, error) {
	list, err := s.List(ctx, organization, kind)
	if err != nil {
		return Template{}, err
	}
	for _, t := range list {
		if t.Slug == slug {
			return t, nil
		}
	}
	return Template{}, ErrNotFound
}

type templateRow struct {
	slug, kind, name, files string
	createdAt               time.Time
}

func (s *Service) own(ctx context.Context, q db.Querier, organization string) ([]Template, error) {
	rows, err := db.All(ctx, q, func(r *templateRow) []any {
		return []any{&r.slug, &r.kind, &r.name, &r.files, (*db.Time)(&r.createdAt)}
	},
		`SELECT slug, kind, name, files, created_at FROM templates WHERE organization_id = $1 ORDER BY slug`, organization)
	if err != nil {
		return nil, fmt.Errorf("list templates: %w", err)
	}
	list := make([]Template, 0, len(rows))
	for _, r := range rows {
		files, err := s.openFiles(organization, r.slug, r.files)
		if err != nil {
			return nil, fmt.Errorf("template %s: %w", r.slug, err)
		}
		t, err := parse(r.slug, r.name, files)
		if err != nil {
			return nil, fmt.Errorf("template %s: %w", r.slug, err)
		}
		t.CreatedAt = r.createdAt
		list = append(list, t)
	}
	return list, nil
}

// Import keeps files as a template of the organization, under the slug its
// name becomes.
func (s *Service) Import(ctx context.Context, by *access.Principal, name string, files map[string]string) (Template, error) {
	if err := access.Require(by, access.WorkspacesAdmin); err != nil {
		return Template{}, err
	}
	slug := workspace.SlugOf(name)
	if slug == "" || len(name) > 100 {
		return Template{}, ErrName
	}
	if len(files) == 0 || workspace.CheckFiles(files) != nil {
		return Template{}, ErrFiles
	}
	t, err := parse(slug, name, files)
	if err != nil {
		return t, err
	}
	if err := s.check(ctx, by, &t); err != nil {
		return t, err
	}
	sealed, err := s.sealFiles(by.Organization, slug, files)
	if err != nil {
		return t, err
	}
	fixed, err := builtins()
	if err != nil {
		return t, err
	}
	t.CreatedAt = s.Now().UTC().Truncate(time.Millisecond)
	err = s.Store.Tx(ctx, func(tx *db.Tx) error {
		// First the event: its lock makes importers take turns.
		if err := activity.Record(ctx, tx, by, activity.Event{Action: "template.import", TargetType: "template", TargetID: slug, Details: map[string]any{"kind": string(t.Kind), "files": len(files)}}); err != nil {
			return err
		}
		known, err := s.own(ctx, tx, by.Organization)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(append(fixed, known...), func(o Template) bool { return o.Slug == slug }) {
			return ErrExists.With("id", slug)
		}
		if len(known) >= maxTemplates {
			return ErrTooMany.With("limit", maxTemplates)
		}
		_, err = db.Exec(ctx, tx, `INSERT INTO templates (organization_id, slug, kind, name, files, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			by.Organization, slug, string(t.Kind), name, sealed, by.ID, t.CreatedAt.UnixMilli())
		return err
	})
	return t, err
}

// check holds a template's recipe to the rules of what it makes.
func (s *Service) check(ctx context.Context, by *access.Principal, t *Template) error {
	c := checker{catalog: s.Catalog, by: by, names: map[string]bool{}}
	if t.Kind == ForWorkspace {
		return c.node(&t.Node, "template", 1)
	}
	return s.checkOrganization(ctx, by, &t.Organization)
}

// Delete forgets a template of the organization. What was made of it stays.
func (s *Service) Delete(ctx context.Context, by *access.Principal, slug string) error {
	if err := access.Require(by, access.WorkspacesAdmin); err != nil {
		return err
	}
	return s.Store.Tx(ctx, func(tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `DELETE FROM templates WHERE organization_id = $1 AND slug = $2`, by.Organization, slug)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		return activity.Record(ctx, tx, by, activity.Event{Action: "template.delete", TargetType: "template", TargetID: slug})
	})
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
