package platform

import (
	"context"
	"net/http"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/tenancy"
)

type invitation struct {
	ID        string    `json:"id"`
	Email     string    `json:"email"`
	Role      string    `json:"role" enum:"owner,admin,developer,viewer,member"`
	InvitedBy string    `json:"invitedBy"`
	CreatedAt rest.Time `json:"createdAt"`
	ExpiresAt rest.Time `json:"expiresAt"`
}

func invitationOf(i *tenancy.Invitation) invitation {
	return invitation{i.ID, i.Email, string(i.Role), i.InvitedBy, rest.At(i.CreatedAt), rest.At(i.ExpiresAt)}
}

type invitationList struct {
	Invitations []invitation `json:"invitations"`
}

type invitationData struct {
	Invitation invitation `json:"invitation"`
}

type invite struct{ Body inviteBody }

type inviteBody struct {
	Email string `json:"email" minLength:"3" maxLength:"320"`
	Role  string `json:"role" enum:"owner,admin,developer,viewer,member"`
}

type byInvitation struct {
	ID string `path:"invitationId" maxLength:"64"`
}

// invited is what the holder of a link is told before they use it.
type invited struct {
	Email        string    `json:"email"`
	Role         string    `json:"role"`
	Organization Named     `json:"organization"`
	ExpiresAt    rest.Time `json:"expiresAt"`
}

type invitedData struct {
	Invitation invited `json:"invitation"`
}

func (a *api) invitations() {
	tags := []string{"members"}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/organizations/me/invitations", ID: "listInvitations", Summary: "Open invitations", Tags: tags, Permission: access.OrgManage}, a.listInvitations)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/organizations/me/invitations", ID: "invite", Summary: "Invite somebody", Tags: tags, Permission: access.OrgManage,
		Detail: "The link is mailed; nobody else is told of it.", Status: http.StatusCreated, Idempotent: true, Errors: []fault.Kind{fault.Unpaid}}, a.invite)
	rest.Handle(a.door, rest.Op{Method: "DELETE", Path: "/organizations/me/invitations/{invitationId}", ID: "revokeInvitation", Summary: "Revoke an invitation", Tags: tags, Permission: access.OrgManage}, a.revokeInvitation)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/auth/invitation", ID: "showInvitation", Summary: "What an invitation's link is for", Tags: tags, Public: true,
		Detail: "Looking does not use it up."}, a.showInvitation)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/users/me/invitations/accept", ID: "acceptInvitation", Summary: "Accept an invitation", Tags: tags, Permission: access.ProfileWrite,
		Errors: []fault.Kind{fault.Conflict, fault.Unpaid}}, a.acceptInvitation)
}

func (a *api) listInvitations(ctx context.Context, _ *rest.None) (*rest.OK[invitationList, rest.Meta], error) {
	by := rest.Principal(ctx)
	open, err := a.Tenancy.Invitations(ctx, by, by.Organization)
	if err != nil {
		return nil, err
	}
	var list invitationList
	for i := range open {
		list.Invitations = append(list.Invitations, invitationOf(&open[i]))
	}
	return ok(list, "")
}

func (a *api) invite(ctx context.Context, in *invite) (*rest.OK[invitationData, rest.Meta], error) {
	by := rest.Principal(ctx)
	i, err := a.Identity.Invite(ctx, by, by.Organization, in.Body.Email, access.Role(in.Body.Role))
	if err != nil {
		return nil, err
	}
	return ok(invitationData{invitationOf(i)}, "Invitation sent")
}

func (a *api) revokeInvitation(ctx context.Context, in *byInvitation) (*rest.None, error) {
	by := rest.Principal(ctx)
	invitation, err := ref("inv", in.ID, tenancy.ErrNoInvitation)
	if err != nil {
		return nil, err
	}
	return nil, a.Tenancy.RevokeInvitation(ctx, by, by.Organization, invitation)
}

func (a *api) showInvitation(ctx context.Context, in *secretLink) (*rest.OK[invitedData, rest.Meta], error) {
	i, o, err := a.Identity.Invitation(ctx, in.Body.Token)
	if err != nil {
		return nil, err
	}
	return ok(invitedData{invited{i.Email, string(i.Role), Named{o.ID, o.Name}, rest.At(i.ExpiresAt)}}, "")
}

func (a *api) acceptInvitation(ctx context.Context, in *secretLink) (*rest.OK[membershipData, rest.Meta], error) {
	by := rest.Principal(ctx)
	i, err := a.Identity.AcceptInvitation(ctx, by, in.Body.Token)
	if err != nil {
		return nil, err
	}
	return ok(membershipData{membership{by.User, string(i.Role), true}}, "Welcome. Switch to the organization to work in it")
}
