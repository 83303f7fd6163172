package platform

import (
	"context"

	"headgate/internal/access"
	"headgate/internal/identity"
	"headgate/internal/rest"
)

type sessionRow struct {
	ID             string    `json:"id"`
	OrganizationID string    `json:"organizationId"`
	Current        bool      `json:"current" doc:"The one that asks."`
	IPAddress      string    `json:"ipAddress"`
	UserAgent      string    `json:"userAgent"`
	CreatedAt      rest.Time `json:"createdAt"`
	LastUsedAt     rest.Time `json:"lastUsedAt"`
	ExpiresAt      rest.Time `json:"expiresAt"`
}

type sessionList struct {
	Sessions []sessionRow `json:"sessions"`
}

type bySession struct {
	ID string `path:"sessionId" maxLength:"64"`
}

func (a *api) sessions() {
	tags := []string{"sessions"}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/users/me/sessions", ID: "listSessions", Summary: "My sessions", Tags: tags, Permission: access.SessionsManage},
		func(ctx context.Context, _ *rest.None) (*rest.OK[sessionList, rest.Meta], error) {
			sessions, err := a.Identity.Sessions(ctx, rest.Principal(ctx))
			if err != nil {
				return nil, err
			}
			var list sessionList
			for _, s := range sessions {
				list.Sessions = append(list.Sessions, sessionRow{s.ID, s.Organization, s.Current, s.IP, s.UserAgent, rest.At(s.CreatedAt), rest.At(s.LastUsedAt), rest.At(s.ExpiresAt)})
			}
			return ok(list, "")
		})
	rest.Handle(a.door, rest.Op{Method: "DELETE", Path: "/users/me/sessions/{sessionId}", ID: "revokeSession", Summary: "End one of my sessions", Tags: tags, Permission: access.SessionsManage},
		func(ctx context.Context, in *bySession) (*rest.None, error) {
			session, err := ref("ses", in.ID, identity.ErrNoSession)
			if err != nil {
				return nil, err
			}
			return nil, a.Identity.Revoke(ctx, rest.Principal(ctx), session)
		})
	rest.Handle(a.door, rest.Op{Method: "DELETE", Path: "/users/me/sessions", ID: "revokeOtherSessions", Summary: "End all my sessions but this one", Tags: tags, Permission: access.SessionsManage},
		func(ctx context.Context, _ *rest.None) (*rest.None, error) {
			return nil, a.Identity.RevokeOthers(ctx, rest.Principal(ctx))
		})
}
