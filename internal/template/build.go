package template

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/vault"
	"headgate/internal/workspace"
)

// needsFile is where a workspace keeps which secrets its recipe requires. The
// directory is ours: no recipe may put a file there.
const (
	ourDirectory = ".headgate/"
	needsFile    = ourDirectory + "needs.json"
)

// expand puts what a node's template says under what the node says.
func (s *Service) expand(ctx context.Context, organization string, n Node) (Node, error) {
	if n.Template != "" {
		t, err := s.Get(ctx, organization, n.Template, ForWorkspace)
		if err != nil {
			return n, err
		}
		n = overlay(t.Node, n)
	}
	sub := make([]Node, 0, len(n.SubWorkspaces))
	for _, child := range n.SubWorkspaces {
		full, err := s.expand(ctx, organization, child)
		if err != nil {
			return n, err
		}
		sub = append(sub, full)
	}
	n.SubWorkspaces = sub
	return n, nil
}

// overlay returns base with everything that over says.
func overlay(base, over Node) Node {
	n := over
	for _, t := range []struct{ at, from *string }{{&n.Name, &base.Name}, {&n.Slug, &base.Slug}, {&n.Description, &base.Description}, {&n.Role, &base.Role}, {&n.Runtime, &base.Runtime},
		{&n.Model, &base.Model}, {&n.SystemPrompt, &base.SystemPrompt}, {&n.BillingMode, &base.BillingMode}} {
		if *t.at == "" {
			*t.at = *t.from
		}
	}
	if n.Tier == 0 {
		n.Tier = base.Tier
	}
	n.RequiredEnv = union(base.RequiredEnv, over.RequiredEnv)
	n.RecommendedEnv = union(base.RecommendedEnv, over.RecommendedEnv)
	n.Servers = slices.Clone(over.Servers)
	for _, b := range base.Servers {
		if !slices.ContainsFunc(n.Servers, func(s Server) bool { return s.Slug == b.Slug }) {
			n.Servers = append(n.Servers, b)
		}
	}
	files := base.files()
	maps.Copy(files, over.files())
	n.Files, n.Skills = nil, nil
	n.setFiles(files)
	if n.Budget == nil {
		n.Budget = base.Budget
	}
	return n
}

func union(a, b []Need) []Need {
	var all []Need
	for _, n := range append(slices.Clone(a), b...) {
		if !slices.ContainsFunc(all, func(o Need) bool { return slices.Equal(o, n) }) {
			all = append(all, n)
		}
	}
	return all
}

// build makes the workspace of a node, not those below it, in the caller's
// transaction. slug must be free; without one the node's is used if it is.
func (s *Service) build(ctx context.Context, tx *db.Tx, by *access.Principal, n *Node, slug, parent, made string) (workspace.Workspace, error) {
	if slug == "" && n.Slug != "" {
		all, err := s.Workspaces.In(ctx, tx, by.Organization)
		if err != nil {
			return workspace.Workspace{}, err
		}
		if freeSlug(all, n.Slug, "") {
			slug = n.Slug
		}
	}
	w, err := s.Workspaces.Create(ctx, tx, by, workspace.Spec{Organization: by.Organization, Name: n.Name, Slug: slug, Parent: parent, Role: n.Role, Description: n.Description,
		Runtime: workspace.Runtime(n.Runtime), Tier: n.Tier, Model: n.Model, Instructions: n.SystemPrompt, Template: made})
	if err != nil {
		return w, err
	}
	return w, s.fill(ctx, tx, by, w, n)
}

// freeSlug reports whether no workspace but one's own has a slug.
func freeSlug(all []workspace.Workspace, slug, own string) bool {
	return !slices.ContainsFunc(all, func(w workspace.Workspace) bool { return w.Slug == slug && w.ID != own })
}

// change brings a workspace that is there to what a node says. Servers are
// added and never taken away.
func (s *Service) change(ctx context.Context, tx *db.Tx, by *access.Principal, w workspace.Workspace, all []workspace.Workspace, n *Node, parent string) (workspace.Workspace, error) {
	c := workspace.Change{Name: &n.Name, Role: &n.Role, Description: &n.Description, Model: &n.Model, Instructions: &n.SystemPrompt}
	if n.Tier != 0 {
		c.Tier = &n.Tier
	}
	if n.Slug != "" && freeSlug(all, n.Slug, w.ID) {
		c.Slug = &n.Slug
	}
	if parent != "" {
		c.Parent = &parent
	}
	w, err := s.Workspaces.Apply(ctx, tx, by, w, c)
	if err != nil {
		return w, err
	}
	return w, s.fill(ctx, tx, by, w, n)
}

// fill gives a workspace a node's files, servers, budget and billing mode.
func (s *Service) fill(ctx context.Context, tx *db.Tx, by *access.Principal, w workspace.Workspace, n *Node) error {
	files := n.files()
	if len(n.RequiredEnv) > 0 {
		text, err := json.Marshal(n.RequiredEnv)
		if err != nil {
			return err
		}
		files[needsFile] = string(text)
	}
	if err := s.Workspaces.PutFiles(ctx, tx, by, w, files); err != nil {
		return err
	}
	have, err := s.Catalog.ServersIn(ctx, tx, w.Organization, w.ID)
	if err != nil {
		return err
	}
	for _, server := range n.Servers {
		if slices.Contains(have, server.Slug) {
			continue
		}
		p, err := server.portable(w.ID)
		if err != nil {
			return err
		}
		if _, err := s.Catalog.AddServer(ctx, tx, owner(by, server), p); err != nil {
			return fmt.Errorf("server %s: %w", server.Slug, err)
		}
	}
	if n.Budget != nil {
		l, err := n.limits()
		if err != nil {
			return err
		}
		if err := s.Budgets.Write(ctx, tx, by, w, l); err != nil {
			return err
		}
	}
	if n.BillingMode != "" {
		return s.Workspaces.PutBilling(ctx, tx, by, w.Organization, w.ID, workspace.Mode(n.BillingMode))
	}
	return nil
}

// Provision makes a workspace of a template, as far as spec does not say
// otherwise; without a template it is an empty one.
func (s *Service) Provision(ctx context.Context, by *access.Principal, spec workspace.Spec) (w workspace.Workspace, err error) {
	n := Node{Name: spec.Name, Role: spec.Role, Description: spec.Description, Runtime: string(spec.Runtime), Tier: spec.Tier, Model: spec.Model, SystemPrompt: spec.Instructions, Template: spec.Template}
	if n, err = s.expand(ctx, by.Organization, n); err != nil {
		return w, err
	}
	err = s.Store.Tx(ctx, func(tx *db.Tx) error {
		w, err = s.build(ctx, tx, by, &n, spec.Slug, spec.Parent, spec.Template)
		return err
	})
	return w, err
}

// Look tells what a workspace lacks to come online: it is the workspaces' start
// hook.
func (s *Service) Look(ctx context.Context, w workspace.Workspace) (problem string, err error) {
	files, err := s.Workspaces.Files(ctx, w)
	if err != nil {
		return "", err
	}
	needs, err := readNeeds(files)
	if err != nil {
		return "", err
	}
	have, err := s.secrets(ctx, w.Organization, w.ID)
	if err != nil {
		return "", err
	}
	if missing := unmet(needs, have); len(missing) > 0 {
		return "These secrets are missing: " + strings.Join(missing, ", ") + ". Set them, then restart the workspace.", nil
	}
	return "", nil
}

func readNeeds(files map[string]string) ([]Need, error) {
	text, ok := files[needsFile]
	if !ok {
		return nil, nil
	}
	var needs []Need
	if err := json.Unmarshal([]byte(text), &needs); err != nil {
		return nil, fmt.Errorf("the needs of a workspace: %w", err)
	}
	return needs, nil
}

// secrets are the names of those that a workspace sees; the organization's own
// when it is "".
func (s *Service) secrets(ctx context.Context, organization, ws string) (map[string]bool, error) {
	list, err := s.Vault.List(ctx, vault.Place{Organization: organization, Workspace: ws})
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, secret := range list {
		have[secret.Name] = true
	}
	return have, nil
}

// unmet words the needs that no secret meets.
func unmet(needs []Need, have map[string]bool) []string {
	missing := []string{}
	for _, n := range needs {
		if !slices.ContainsFunc(n, func(name string) bool { return have[name] }) {
			missing = append(missing, strings.Join(n, " or "))
		}
	}
	return missing
}
