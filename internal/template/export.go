package template

import (
	"context"
	"slices"

	"headgate/internal/access"
	"headgate/internal/budget"
	"headgate/internal/workspace"
)

// ExportOrganization returns the caller's workspaces as a recipe.
func (s *Service) ExportOrganization(ctx context.Context, by *access.Principal, name string) (Organization, error) {
	if err := access.Require(by, access.WorkspacesAdmin); err != nil {
		return Organization{}, err
	}
	o := Organization{Name: name}
	if err := s.exportShared(ctx, by, &o); err != nil {
		return o, err
	}
	all, err := s.Workspaces.List(ctx, by.Organization)
	if err != nil {
		return o, err
	}
	for _, w := range all {
		if w.Parent != "" {
			continue
		}
		n, err := s.export(ctx, by, w)
		if err != nil {
			return o, err
		}
		n.Default = w.Default
		o.Workspaces = append(o.Workspaces, n)
	}
	return o, nil
}

// exportShared fills in what the workspaces of an organization share.
func (s *Service) exportShared(ctx context.Context, by *access.Principal, o *Organization) error {
	billing, err := s.Workspaces.Billing(ctx, by.Organization, "")
	if err != nil {
		return err
	}
	o.BillingMode = string(billing.Organization)
	services, err := s.Catalog.PortableServices(ctx, by)
	if err != nil {
		return err
	}
	for _, p := range services {
		service, err := carry(p)
		if err != nil {
			return err
		}
		o.Services = append(o.Services, service)
		for _, name := range p.Secrets {
			o.RequiredEnv = union(o.RequiredEnv, []Need{{name}})
		}
	}
	allowed, err := s.Catalog.Allowlist(ctx, by)
	if err != nil || len(allowed) == 0 {
		return err
	}
	names, err := s.Catalog.NamesOf(ctx, by, allowed)
	if err != nil {
		return err
	}
	o.Allowlist = &Allowlist{Plugins: names, EnabledBy: allowed[0].EnabledBy}
	return nil
}

// exportNamed adds the organization's own services that a bundle's servers name.
func (s *Service) exportNamed(ctx context.Context, by *access.Principal, b *Bundle) error {
	named := map[string]bool{}
	var walk func(n *Node)
	walk = func(n *Node) {
		for _, server := range n.Servers {
			named[server.Service] = true
		}
		for i := range n.SubWorkspaces {
			walk(&n.SubWorkspaces[i])
		}
	}
	walk(&b.Node)
	services, err := s.Catalog.PortableServices(ctx, by)
	if err != nil {
		return err
	}
	for _, p := range services {
		if !named[p.Slug] {
			continue
		}
		service, err := carry(p)
		if err != nil {
			return err
		}
		b.Services = append(b.Services, service)
		for _, name := range p.Secrets {
			b.RequiredEnv = union(b.RequiredEnv, []Need{{name}})
		}
	}
	slices.SortFunc(b.RequiredEnv, slices.Compare)
	return nil
}

// export makes the node of a workspace.
func (s *Service) export(ctx context.Context, by *access.Principal, w workspace.Workspace) (n Node, err error) {
	n = Node{Name: w.Name, Slug: w.Slug, Description: w.Description, Role: w.Role, Runtime: string(w.Runtime), Tier: w.Tier, Model: w.Model}
	if n.SystemPrompt, err = s.Workspaces.Instructions(ctx, w); err != nil {
		return n, err
	}
	files, err := s.Workspaces.Files(ctx, w)
	if err != nil {
		return n, err
	}
	if n.RequiredEnv, err = readNeeds(files); err != nil {
		return n, err
	}
	delete(files, needsFile)
	n.setFiles(files)
	servers, err := s.Catalog.Portable(ctx, by, w.ID)
	if err != nil {
		return n, err
	}
	for _, p := range servers {
		server, err := carry(p)
		if err != nil {
			return n, err
		}
		n.Servers = append(n.Servers, server)
		for _, name := range p.Secrets {
			n.RequiredEnv = union(n.RequiredEnv, []Need{{name}})
		}
	}
	slices.SortFunc(n.RequiredEnv, slices.Compare)
	b, err := s.Budgets.Get(ctx, w.Organization, w.ID)
	if err != nil {
		return n, err
	}
	n.setLimits(b.Limits)
	billing, err := s.Workspaces.Billing(ctx, w.Organization, w.ID)
	if err != nil {
		return n, err
	}
	n.BillingMode = string(billing.Override)
	return n, s.exportBelow(ctx, by, w, &n)
}

func (s *Service) exportBelow(ctx context.Context, by *access.Principal, w workspace.Workspace, n *Node) error {
	all, err := s.Workspaces.List(ctx, w.Organization)
	if err != nil {
		return err
	}
	for _, child := range all {
		if child.Parent != w.ID {
			continue
		}
		c, err := s.export(ctx, by, child)
		if err != nil {
			return err
		}
		n.SubWorkspaces = append(n.SubWorkspaces, c)
	}
	return nil
}

func (n *Node) setLimits(l budget.Limits) {
	for p, cents := range l {
		if cents != budget.Unlimited {
			if n.Budget == nil {
				n.Budget = map[string]*int64{}
			}
			n.Budget[budget.Period(p).String()] = &cents
		}
	}
}
