package template

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/workspace"
)

// Mode says what an import of an organization does with what is there.
type Mode string

// The modes. Both bring workspaces of the recipe's names to what it says;
// Reconcile also removes those that an earlier import of it has made and that
// it does not name any more.
const (
	Merge     Mode = "merge"
	Reconcile Mode = "reconcile"
)

// Request asks for an import of an organization: of a template, or of a recipe.
type Request struct {
	Template string
	Recipe   []byte // JSON
	Mode     Mode   // "": Merge
	DryRun   bool   // plan only
	Plan     string // apply this plan
}

// Result is what an import of an organization has made.
type Result struct {
	Import
	Mode            Mode
	Removed         int
	ReconcileErrors []string
}

// checkOrganization puts templates in place and holds the recipe to the rules.
func (s *Service) checkOrganization(ctx context.Context, by *access.Principal, o *Organization) error {
	if strings.TrimSpace(o.Name) == "" || len(o.Name) > 100 {
		return wrong("name", "is missing or longer than 100 bytes")
	}
	if len(o.Workspaces) == 0 {
		return wrong("workspaces", "are missing")
	}
	if err := checkNeeds("organization", append(o.RequiredEnv, o.RecommendedEnv...)); err != nil {
		return err
	}
	full := Node{SubWorkspaces: o.Workspaces}
	full, err := s.expand(ctx, by.Organization, full)
	if err != nil {
		return err
	}
	o.Workspaces = full.SubWorkspaces
	c := checker{catalog: s.Catalog, by: by, names: map[string]bool{}}
	return errors.Join(c.shared(o), c.all(o.Workspaces, "workspaces", 1))
}

// shared holds what workspaces share to its rules.
func (c *checker) shared(o *Organization) error {
	if err := checkMode(o.BillingMode, "organization"); err != nil {
		return err
	}
	for i, s := range o.Services {
		if s.Service != "" || s.Off || len(s.ToolTimeoutsMs) > 0 {
			return wrong(fmt.Sprintf("services[%d]", i), "is a service of the organization's own: it has neither service, off nor tool_timeouts_ms")
		}
	}
	if o.Allowlist != nil {
		if strings.TrimSpace(o.Allowlist.EnabledBy) == "" {
			return wrong("plugin_allowlist.enabled_by", "is missing")
		}
		if err := access.Require(c.by, access.OrgManage); err != nil {
			return err
		}
	}
	return c.servers(o.Services, "services")
}

// ImportOrganization makes the workspaces of a recipe in the caller's
// organization. Nothing is made when the recipe is wrong or a required secret
// is missing; after that each workspace is made whole or not at all, and what
// failed is in the result's steps.
func (s *Service) ImportOrganization(ctx context.Context, by *access.Principal, r Request) (Result, error) {
	if err := access.Require(by, access.WorkspacesAdmin); err != nil {
		return Result{}, err
	}
	o, tag, err := s.recipe(ctx, by, r)
	if err != nil {
		return Result{}, err
	}
	res := Result{Mode: r.Mode}
	if res.Mode == "" {
		res.Mode = Merge
	}
	if res.Mode != Merge && res.Mode != Reconcile {
		return Result{}, ErrMode
	}
	if err := s.preflight(ctx, by.Organization, &o); err != nil {
		return Result{}, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return Result{}, err
	}
	sum := sha256.Sum256(append([]byte(tag+"\x00"+string(res.Mode)+"\x00"), text...))
	res.Import = Import{Kind: ForOrganization, Name: o.Name, State: Running, digest: sum[:]}
	if err := s.steps(ctx, by.Organization, &res, o.Workspaces, r.DryRun); err != nil {
		return Result{}, err
	}
	if !r.DryRun {
		if err := s.askFor(ctx, by, o.Services, o.Workspaces); err != nil {
			return Result{}, err
		}
	}
	switch {
	case r.DryRun:
		res.State = Planned
		return res, s.open(ctx, by, &res.Import)
	case r.Plan != "":
		err = s.claim(ctx, by, &res.Import, r.Plan)
	default:
		err = s.open(ctx, by, &res.Import)
	}
	if err != nil {
		return Result{}, err
	}
	defer s.alive()()
	if err := s.share(ctx, by, &o); err != nil {
		return Result{}, errors.Join(err, s.abandon(ctx, by, &res.Import, err))
	}
	s.run(ctx, by, &res, o.Workspaces, tag)
	if o.Allowlist != nil && !res.failed() {
		if err := s.allow(ctx, by, o.Allowlist); err != nil {
			var st Step
			st.fail(err)
			res.ReconcileErrors = append(res.ReconcileErrors, "plugin_allowlist: "+st.Error)
		}
	}
	return res, s.finish(ctx, by, &res)
}

// askFor asks, before anything is made, whether the caller may keep the secrets
// that a recipe holds.
func (s *Service) askFor(ctx context.Context, by *access.Principal, services []Server, nodes []Node) error {
	own, err := portables(services)
	if err != nil {
		return err
	}
	var servers []catalog.Portable
	var walk func(nodes []Node) error
	walk = func(nodes []Node) error {
		for i := range nodes {
			list, err := portables(nodes[i].Servers)
			if err != nil {
				return err
			}
			servers = append(servers, list...)
			if err := walk(nodes[i].SubWorkspaces); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(nodes); err != nil {
		return err
	}
	return s.Catalog.AskPortable(ctx, by, own, servers)
}

func portables(servers []Server) ([]catalog.Portable, error) {
	list := make([]catalog.Portable, len(servers))
	for i, server := range servers {
		p, err := server.portable("")
		if err != nil {
			return nil, err
		}
		list[i] = p
	}
	return list, nil
}

// share makes what workspaces share, before the first of them: all of it or
// nothing.
func (s *Service) share(ctx context.Context, by *access.Principal, o *Organization) error {
	if len(o.Services) == 0 && o.BillingMode == "" {
		return nil
	}
	return s.Store.Tx(ctx, func(tx *db.Tx) error {
		for _, service := range o.Services {
			p, err := service.portable("")
			if err == nil {
				err = s.Catalog.AddService(ctx, tx, owner(by, service), p)
			}
			if err != nil {
				return fmt.Errorf("service %s: %w", service.Slug, err)
			}
		}
		if o.BillingMode == "" {
			return nil
		}
		return s.Workspaces.PutBilling(ctx, tx, by, by.Organization, "", workspace.Mode(o.BillingMode))
	})
}

// allow puts an allowlist in force once everything on it is there.
func (s *Service) allow(ctx context.Context, by *access.Principal, list *Allowlist) error {
	services := make([]string, len(list.Plugins))
	for i, plugin := range list.Plugins {
		services[i] = plugin
		ws, slug, own := strings.Cut(plugin, "/")
		if !own {
			continue
		}
		servers, err := s.Catalog.ListServers(ctx, by, ws)
		if err != nil {
			return err
		}
		for _, d := range servers {
			if d.Slug == slug {
				services[i] = d.Service.ID
			}
		}
	}
	_, err := s.Catalog.SetAllowlist(ctx, by, services, list.EnabledBy)
	return err
}

// recipe reads what is asked for; tag marks the workspaces made of it.
func (s *Service) recipe(ctx context.Context, by *access.Principal, r Request) (o Organization, tag string, err error) {
	if r.Template != "" {
		t, err := s.Get(ctx, by.Organization, r.Template, ForOrganization)
		if err != nil {
			return o, "", err
		}
		o = t.Organization
		return o, "org:" + t.Slug, s.checkOrganization(ctx, by, &o)
	}
	if err := decode(r.Recipe, &o); err != nil {
		return o, "", err
	}
	if err := s.checkOrganization(ctx, by, &o); err != nil {
		return o, "", err
	}
	return o, "org:" + workspace.SlugOf(o.Name), nil
}

// is reports whether a workspace is the one that a node speaks of.
func (n *Node) is(w workspace.Workspace) bool {
	if n.Default {
		return w.Default
	}
	return w.Name == n.Name
}

// preflight refuses an import whose required secrets are missing.
func (s *Service) preflight(ctx context.Context, organization string, o *Organization) error {
	have, err := s.secrets(ctx, organization, "")
	if err != nil {
		return err
	}
	there, err := s.Workspaces.List(ctx, organization)
	if err != nil {
		return err
	}
	missing := unmet(o.RequiredEnv, have)
	byWorkspace := map[string][]string{}
	var walk func(nodes []Node) error
	walk = func(nodes []Node) error {
		for i := range nodes {
			n, seen := &nodes[i], have
			for _, w := range there {
				if n.is(w) {
					if seen, err = s.secrets(ctx, organization, w.ID); err != nil {
						return err
					}
				}
			}
			if m := unmet(n.RequiredEnv, seen); len(m) > 0 {
				byWorkspace[n.Name] = m
			}
			if err := walk(n.SubWorkspaces); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(o.Workspaces); err != nil {
		return err
	}
	if len(missing) == 0 && len(byWorkspace) == 0 {
		return nil
	}
	return ErrMissingEnv.With("missing_env", missing).With("missing_workspace_env", byWorkspace)
}
