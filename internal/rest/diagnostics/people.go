package diagnostics

import (
	"context"

	"headgate/internal/access"
	"headgate/internal/id"
	"headgate/internal/rest"
)

type me struct {
	ID             string    `json:"id"`
	Email          string    `json:"email"`
	Name           string    `json:"name"`
	OrganizationID string    `json:"organizationId" doc:"Where this credential acts."`
	Role           string    `json:"role"`
	AuthMethod     string    `json:"authMethod" enum:"session,api_key,service"`
	KeyID          string    `json:"keyId,omitempty"`
	CreatedAt      rest.Time `json:"createdAt"`
}

type organization struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Slug      string    `json:"slug"`
	Plan      string    `json:"plan"`
	MyRole    string    `json:"myRole"`
	CreatedAt rest.Time `json:"createdAt"`
}

// listing is a page of a list: nextCursor is left out on the last one.
type listing[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"nextCursor,omitempty" doc:"Send it as cursor for what follows; absent at the end."`
}

// Paging is the input of lists.
type Paging struct {
	Cursor string `query:"cursor" maxLength:"1000" doc:"The nextCursor of the page before."`
}

func (a *api) people() {
	tags := []string{"account"}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/me", ID: "getMe", Summary: "Who this credential is", Tags: tags, Permission: access.ProfileRead}, a.me)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/organizations", ID: "listOrganizations", Summary: "Organizations of this credential", Tags: tags,
		Detail: "A key sees the one it is bound to; a session all of its person's.", Permission: access.OrganizationRead}, a.organizations)
}

func (a *api) me(ctx context.Context, _ *rest.None) (*me, error) {
	by := rest.Principal(ctx)
	u, err := a.Identity.User(ctx, by.User)
	if err != nil {
		return nil, err
	}
	m := &me{ID: u.ID, Email: u.Email, Name: u.FirstName, OrganizationID: by.Organization, Role: string(by.Role), AuthMethod: "session", CreatedAt: rest.At(u.CreatedAt)}
	if u.LastName != "" {
		m.Name += " " + u.LastName
	}
	switch {
	case isActing(by):
		m.AuthMethod = "service"
	case by.Kind == access.DiagnosticsKey:
		m.AuthMethod, m.KeyID = "api_key", by.ID
	}
	return m, nil
}

func (a *api) organizations(ctx context.Context, in *Paging) (*listing[organization], error) {
	by := rest.Principal(ctx)
	places, err := a.Tenancy.Places(ctx, a.Store, by.User)
	if err != nil {
		return nil, err
	}
	var list []organization
	for _, p := range places {
		// What the person may see is cut to what the key is for.
		if by.Kind != access.Session && p.ID != by.Organization {
			continue
		}
		plan, err := a.Tenancy.Plan(ctx, p.Plan)
		if err != nil {
			return nil, err
		}
		list = append(list, organization{p.ID, p.Name, p.Slug, plan.Slug, string(p.Role), rest.At(p.CreatedAt)})
	}
	return page(ctx, list, in.Cursor, nil, func(o organization) string { return o.ID })
}

const pageSize = 100

// position is where in a list a page begins: behind an entry, or at a number
// when that entry has gone.
type position struct {
	After string `json:"a"`
	At    int    `json:"n"`
}

// page cuts a list. query is what else the cursor is bound to, beside the
// operation and the principal.
func page[T any](ctx context.Context, all []T, cursor string, query any, key func(T) string) (*listing[T], error) {
	start := 0
	if cursor != "" {
		var p position
		if err := rest.OpenCursor(ctx, cursor, query, &p); err != nil {
			return nil, err
		}
		start = min(max(p.At, 0), len(all))
		for i, item := range all {
			if key(item) == p.After {
				start = i + 1
				break
			}
		}
	}
	end := min(start+pageSize, len(all))
	out := &listing[T]{Items: all[start:end:end]}
	if end == len(all) {
		return out, nil
	}
	var err error
	out.NextCursor, err = rest.Cursor(ctx, query, position{key(all[end-1]), end})
	return out, err
}

// canonical is a server's id in its one form, or the text itself: a slug.
func canonical(ref string) string {
	if c, ok := id.Parse("srv", ref); ok {
		return c
	}
	return ref
}
