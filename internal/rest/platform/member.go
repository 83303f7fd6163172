package platform

import (
	"context"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/tenancy"
)

type memberRow struct {
	Person
	Role        string    `json:"role" enum:"owner,admin,developer,viewer,member"`
	IsActive    bool      `json:"isActive"`
	CreatedAt   rest.Time `json:"createdAt"`
	JoinedAt    rest.Time `json:"joinedAt"`
	LastLoginAt rest.Time `json:"lastLoginAt" nullable:"true"`
}

type memberList struct {
	Users []memberRow `json:"users"`
}

type membership struct {
	UserID   string `json:"userId"`
	Role     string `json:"role" enum:"owner,admin,developer,viewer,member"`
	IsActive bool   `json:"isActive"`
}

type membershipData struct {
	Membership membership `json:"membership"`
}

// ByUser is the input of what is about one member.
type ByUser struct {
	ID string `path:"userId" maxLength:"64"`
}

type updateMember struct {
	ByUser
	Body updateMemberBody
}

type updateMemberBody struct {
	Role     *string `json:"role,omitempty" enum:"owner,admin,developer,viewer,member"`
	IsActive *bool   `json:"isActive,omitempty" doc:"false keeps the member but lets them in no more; their seat is free."`
}

type transfer struct{ Body transferBody }

type transferBody struct {
	UserID string `json:"userId" minLength:"1" maxLength:"64" doc:"The member who becomes owner. You become an admin."`
}

func (a *api) members() {
	tags := []string{"members"}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/organizations/me/users", ID: "listMembers", Summary: "People of my organization", Tags: tags, Permission: access.OrgMembers}, a.listMembers)
	rest.Handle(a.door, rest.Op{Method: "PATCH", Path: "/organizations/me/users/{userId}", ID: "updateMember", Summary: "Change a member's role, or let them in or out", Tags: tags, Permission: access.OrgManage,
		Errors: []fault.Kind{fault.Conflict, fault.Unpaid}}, a.updateMember)
	rest.Handle(a.door, rest.Op{Method: "DELETE", Path: "/organizations/me/users/{userId}", ID: "removeMember", Summary: "Remove a member", Tags: tags,
		Detail: "Admins may; everybody may leave.", Gate: gateDestructive, Permission: access.OrganizationRead, Errors: []fault.Kind{fault.Conflict}}, a.removeMember)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/organizations/me/transfer", ID: "transferOwnership", Summary: "Make another member owner in my place", Tags: tags, Permission: access.OrgOwn,
		Audience: []access.Kind{access.Session}, Errors: []fault.Kind{fault.NotFound}}, a.transferOwnership)
}

func (a *api) listMembers(ctx context.Context, in *rest.Page) (*rest.OK[memberList, rest.Paged], error) {
	by := rest.Principal(ctx)
	members, total, err := a.Identity.Members(ctx, by, by.Organization, tenancy.Window{Limit: in.Limit, Offset: in.Offset()})
	if err != nil {
		return nil, err
	}
	var list memberList
	for _, m := range members {
		list.Users = append(list.Users, memberRow{personOf(&m.User), string(m.Role), m.Active, rest.At(m.CreatedAt), rest.At(m.Since), rest.At(m.LastLoginAt)})
	}
	return rest.Ok(list, in.Of(total)), nil
}

func (a *api) updateMember(ctx context.Context, in *updateMember) (*rest.OK[membershipData, rest.Meta], error) {
	by := rest.Principal(ctx)
	user, err := ref("user", in.ID, tenancy.ErrNoMember)
	if err != nil {
		return nil, err
	}
	if in.Body.Role == nil && in.Body.IsActive == nil {
		return nil, rest.Invalid(rest.Problem{Field: "body", Message: "must hold role or isActive"})
	}
	m, err := a.Tenancy.Change(ctx, by, by.Organization, user, (*access.Role)(in.Body.Role), in.Body.IsActive)
	if err != nil {
		return nil, err
	}
	return ok(membershipData{membership{m.User, string(m.Role), m.Active}}, "")
}

func (a *api) removeMember(ctx context.Context, in *ByUser) (*rest.None, error) {
	by := rest.Principal(ctx)
	user, err := ref("user", in.ID, tenancy.ErrNoMember)
	if err != nil {
		return nil, err
	}
	return nil, a.Tenancy.Remove(ctx, by, by.Organization, user)
}

func (a *api) transferOwnership(ctx context.Context, in *transfer) (*rest.OK[empty, rest.Meta], error) {
	by := rest.Principal(ctx)
	user, err := ref("user", in.Body.UserID, tenancy.ErrNoMember)
	if err != nil {
		return nil, err
	}
	if err := a.Tenancy.Transfer(ctx, by, by.Organization, user); err != nil {
		return nil, err
	}
	return ok(empty{}, "Ownership transferred")
}
