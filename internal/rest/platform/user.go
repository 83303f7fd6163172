package platform

import (
	"context"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/identity"
	"headgate/internal/rest"
	"headgate/internal/tenancy"
)

// ref reads an id of a noun in either form. What is none is answered like one
// that does not exist.
func ref(prefix, text string, missing error) (string, error) {
	canonical, ok := id.Parse(prefix, text)
	if !ok {
		return "", missing
	}
	return canonical, nil
}

// Named is something with a name.
type Named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type profile struct {
	Person
	Role         string    `json:"role" enum:"owner,admin,developer,viewer,member"`
	Organization Named     `json:"organization"`
	Verified     bool      `json:"emailVerified"`
	CreatedAt    rest.Time `json:"createdAt"`
	LastLoginAt  rest.Time `json:"lastLoginAt" nullable:"true"`
}

type profileData struct {
	User profile `json:"user"`
}

type updateMe struct{ Body updateMeBody }

type updateMeBody struct {
	FirstName *string `json:"firstName,omitempty" maxLength:"100"`
	LastName  *string `json:"lastName,omitempty" maxLength:"100"`
}

type changePassword struct {
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      changePasswordBody
}

type changePasswordBody struct {
	CurrentPassword string `json:"currentPassword" maxLength:"1024"`
	NewPassword     string `json:"newPassword" minLength:"8" maxLength:"1024"`
}

type place struct {
	Named
	Slug     string    `json:"slug"`
	TenantID string    `json:"tenantId"`
	Home     bool      `json:"home" doc:"The tenant's own staff."`
	Role     string    `json:"role"`
	Current  bool      `json:"current" doc:"The one this credential acts in."`
	JoinedAt rest.Time `json:"joinedAt"`
}

type placeList struct {
	Organizations []place `json:"organizations"`
}

type switchTo struct{ Body switchToBody }

type switchToBody struct {
	OrganizationID string `json:"organizationId" maxLength:"64"`
	Cookie         bool   `json:"cookie,omitempty" doc:"Put the new token into the cookie: for pages."`
}

// people are the credentials that belong to a person.
var people = []access.Kind{access.Session, access.PersonalKey}

func (a *api) users() {
	tags := []string{"users"}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/users/me", ID: "getMe", Summary: "Who I am", Tags: tags, Permission: access.ProfileRead, Audience: people}, a.getMe)
	rest.Handle(a.door, rest.Op{Method: "PATCH", Path: "/users/me", ID: "updateMe", Summary: "Change my name", Tags: tags, Permission: access.ProfileWrite}, a.updateMe)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/users/me/change-password", ID: "changePassword", Summary: "Change my password", Tags: tags,
		Detail: "Every other session ends.", Permission: access.ProfileWrite, Faults: []*fault.Error{identity.ErrCredentials}}, a.changePassword)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/users/me/organizations", ID: "listMyOrganizations", Summary: "Where I may work", Tags: tags, Permission: access.ProfileRead, Audience: people}, a.listPlaces)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/users/me/switch", ID: "switchOrganization", Summary: "Work in another organization", Tags: tags,
		Detail: "The present token is refused from then on; the refresh token stays.", Permission: access.SessionsManage, Errors: []fault.Kind{fault.NotFound}}, a.switchOrganization)
}

func (a *api) profileOf(ctx context.Context, by *access.Principal, u *identity.User) (*rest.OK[profileData, rest.Meta], error) {
	o, err := a.Tenancy.Organization(ctx, by.Organization)
	if err != nil {
		return nil, err
	}
	return ok(profileData{profile{personOf(u), string(by.Role), Named{o.ID, o.Name}, !u.EmailVerifiedAt.IsZero(), rest.At(u.CreatedAt), rest.At(u.LastLoginAt)}}, "")
}

func (a *api) getMe(ctx context.Context, _ *rest.None) (*rest.OK[profileData, rest.Meta], error) {
	by := rest.Principal(ctx)
	u, err := a.Identity.Me(ctx, by)
	if err != nil {
		return nil, err
	}
	return a.profileOf(ctx, by, u)
}

func (a *api) updateMe(ctx context.Context, in *updateMe) (*rest.OK[profileData, rest.Meta], error) {
	by := rest.Principal(ctx)
	u, err := a.Identity.UpdateProfile(ctx, by, identity.Profile{FirstName: in.Body.FirstName, LastName: in.Body.LastName})
	if err != nil {
		return nil, err
	}
	return a.profileOf(ctx, by, u)
}

func (a *api) changePassword(ctx context.Context, in *changePassword) (*rest.OK[empty, rest.Meta], error) {
	if err := a.Identity.ChangePassword(ctx, rest.Principal(ctx), in.Body.CurrentPassword, in.Body.NewPassword, client(ctx, in.UserAgent)); err != nil {
		return nil, err
	}
	return ok(empty{}, "Password changed; your other sessions have ended")
}

func (a *api) listPlaces(ctx context.Context, _ *rest.None) (*rest.OK[placeList, rest.Meta], error) {
	by := rest.Principal(ctx)
	places, err := a.Tenancy.Places(ctx, a.Store, by.User)
	if err != nil {
		return nil, err
	}
	var list placeList
	for _, p := range places {
		if by.Kind != access.Session && p.ID != by.Organization {
			continue // a key sees the one it acts in
		}
		list.Organizations = append(list.Organizations, place{Named{p.ID, p.Name}, p.Slug, p.Tenant, p.Home, string(p.Role), p.ID == by.Organization, rest.At(p.JoinedAt)})
	}
	return ok(list, "")
}

func (a *api) switchOrganization(ctx context.Context, in *switchTo) (*rest.OK[tokens, tokenMeta], error) {
	organization, err := ref("org", in.Body.OrganizationID, tenancy.ErrNoOrganization)
	if err != nil {
		return nil, err
	}
	t, err := a.Identity.Switch(ctx, rest.Principal(ctx), organization)
	if err != nil {
		return nil, err
	}
	return rest.Ok(hand(ctx, t, in.Body.Cookie), metaOf(t)), nil
}
