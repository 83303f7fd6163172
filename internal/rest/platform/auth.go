package platform

import (
	"context"
	"net/http"
	"time"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/identity"
	"headgate/internal/rest"
)

// Person is what is shown of a user.
type Person struct {
	ID        string `json:"id"`
	Email     string `json:"email"`
	FirstName string `json:"firstName"`
	LastName  string `json:"lastName"`
}

func personOf(u *identity.User) Person { return Person{u.ID, u.Email, u.FirstName, u.LastName} }

type personData struct {
	User Person `json:"user"`
}

type register struct{ Body registerBody }

type registerBody struct {
	Email            string `json:"email" minLength:"3" maxLength:"320"`
	Password         string `json:"password" minLength:"8" maxLength:"1024"`
	FirstName        string `json:"firstName" maxLength:"100"`
	LastName         string `json:"lastName" maxLength:"100"`
	OrganizationName string `json:"organizationName,omitempty" maxLength:"100" doc:"Founds a tenant of this name. Left out, it is named after the mailbox."`
	Invitation       string `json:"invitation,omitempty" maxLength:"100" doc:"The secret of an invitation's link: joins that organization instead of founding one."`
}

type login struct {
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      loginBody
}

type loginBody struct {
	Email          string `json:"email" maxLength:"320"`
	Password       string `json:"password" maxLength:"1024"`
	OrganizationID string `json:"organizationId,omitempty" maxLength:"64" doc:"Where to work; left out, the organization joined first."`
	Cookie         bool   `json:"cookie,omitempty" doc:"Keep the session in cookies instead of the answer: for pages."`
}

type loginUser struct {
	Person
	Role string `json:"role" enum:"owner,admin,developer,viewer,member"`
}

type session struct {
	Token        string    `json:"token,omitempty" doc:"Left out when it went into a cookie."`
	RefreshToken string    `json:"refreshToken,omitempty"`
	User         loginUser `json:"user"`
}

type tokens struct {
	Token        string `json:"token,omitempty" doc:"Left out when it went into a cookie."`
	RefreshToken string `json:"refreshToken,omitempty"`
}

type tokenMeta struct {
	TokenExpires int64 `json:"tokenExpires" doc:"Seconds until the token expires."`
}

type refresh struct {
	Cookie string `cookie:"__Host-headgate-refresh"`
	Body   refreshBody
}

type refreshBody struct {
	RefreshToken string `json:"refreshToken,omitempty" maxLength:"200" doc:"Left out, the cookie's is used and renewed."`
}

type secretLink struct{ Body secretLinkBody }

type secretLinkBody struct {
	Token string `json:"token" minLength:"1" maxLength:"200" doc:"The secret at the end of the link that was mailed."`
}

type forgot struct{ Body forgotBody }

type forgotBody struct {
	Email string `json:"email" maxLength:"320"`
}

type reset struct{ Body resetBody }

type resetBody struct {
	Token    string `json:"token" minLength:"1" maxLength:"200"`
	Password string `json:"password" minLength:"8" maxLength:"1024"`
}

func (a *api) auth() {
	tags := []string{"auth"}
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/auth/register", ID: "register", Summary: "Register", Tags: tags, Public: true, Status: http.StatusCreated,
		Errors: []fault.Kind{fault.Conflict, fault.Forbidden, fault.Unpaid}}, a.register)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/auth/login", ID: "login", Summary: "Sign in", Tags: tags, Public: true,
		Errors: []fault.Kind{fault.Forbidden}, Faults: []*fault.Error{identity.ErrCredentials}}, a.login)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/auth/refresh", ID: "refresh", Summary: "Exchange a refresh token", Tags: tags, Public: true,
		Detail: "A refresh token works once; within ten seconds a repeat gets the same successor, and later use ends the session.",
		Errors: []fault.Kind{fault.BadCredential, fault.Forbidden}, Faults: []*fault.Error{identity.ErrTokenExpired}}, a.refresh)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/auth/logout", ID: "logout", Summary: "Sign out", Tags: tags, Guard: rest.AnyPrincipal, Audience: []access.Kind{access.Session}}, a.logout)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/auth/verify-email", ID: "verifyEmail", Summary: "Prove an address", Tags: tags, Public: true}, a.verifyEmail)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/auth/resend-verification", ID: "resendVerification", Summary: "Mail the verification link again", Tags: tags,
		Permission: access.ProfileWrite}, a.resendVerification)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/auth/forgot-password", ID: "forgotPassword", Summary: "Ask for a link that sets a new password", Tags: tags, Public: true}, a.forgotPassword)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/auth/reset-password", ID: "resetPassword", Summary: "Set a new password", Tags: tags, Public: true}, a.resetPassword)
}

func (a *api) register(ctx context.Context, in *register) (*rest.OK[personData, rest.Meta], error) {
	b := in.Body
	u, err := a.Identity.Register(ctx, nil, identity.Registration{Email: b.Email, Password: b.Password, FirstName: b.FirstName, LastName: b.LastName,
		OrganizationName: b.OrganizationName, Invitation: b.Invitation})
	if err != nil {
		return nil, err
	}
	message := "Verification email sent"
	if !u.EmailVerifiedAt.IsZero() {
		message = "Welcome"
	}
	return ok(personData{personOf(u)}, message)
}

func (a *api) login(ctx context.Context, in *login) (*rest.OK[session, tokenMeta], error) {
	organization := ""
	if in.Body.OrganizationID != "" {
		var err error
		if organization, err = ref("org", in.Body.OrganizationID, identity.ErrNoPlace); err != nil {
			return nil, err
		}
	}
	t, err := a.Identity.Login(ctx, identity.Credentials{Pool: identity.PlatformPool, Email: in.Body.Email, Password: in.Body.Password, Organization: organization}, client(ctx, in.UserAgent))
	if err != nil {
		return nil, err
	}
	shown := hand(ctx, t, in.Body.Cookie)
	return rest.Ok(session{shown.Token, shown.RefreshToken, loginUser{personOf(t.User), string(t.Role)}}, metaOf(t)), nil
}

func metaOf(t *identity.Tokens) tokenMeta { return tokenMeta{int64(t.ExpiresIn / time.Second)} }

// hand gives tokens to the client: in the answer, or in cookies that no
// script can read and no other site's page can send.
func hand(ctx context.Context, t *identity.Tokens, cookies bool) tokens {
	if !cookies {
		return tokens{t.Access, t.Refresh}
	}
	rest.SetCookie(ctx, cookie(Cookie, t.Access, t.ExpiresIn))
	if t.Refresh != "" {
		rest.SetCookie(ctx, cookie(refreshCookie, t.Refresh, 30*24*time.Hour))
	}
	return tokens{}
}

func cookie(name, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(life / time.Second), Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

func (a *api) refresh(ctx context.Context, in *refresh) (*rest.OK[tokens, tokenMeta], error) {
	token, cookies := in.Body.RefreshToken, false
	if token == "" && in.Cookie != "" {
		token, cookies = in.Cookie, true
	}
	t, err := a.Identity.Refresh(ctx, identity.PlatformPool, token)
	if err != nil {
		return nil, err
	}
	return rest.Ok(hand(ctx, t, cookies), metaOf(t)), nil
}

func (a *api) logout(ctx context.Context, _ *rest.None) (*rest.OK[empty, rest.Meta], error) {
	if err := a.Identity.Logout(ctx, rest.Principal(ctx)); err != nil {
		return nil, err
	}
	for _, name := range []string{Cookie, refreshCookie} {
		rest.SetCookie(ctx, cookie(name, "", -time.Second))
	}
	return ok(empty{}, "Successfully logged out")
}

func (a *api) verifyEmail(ctx context.Context, in *secretLink) (*rest.OK[personData, rest.Meta], error) {
	u, err := a.Identity.VerifyEmail(ctx, in.Body.Token)
	if err != nil {
		return nil, err
	}
	return ok(personData{personOf(u)}, "Email address verified")
}

func (a *api) resendVerification(ctx context.Context, _ *rest.None) (*rest.OK[empty, rest.Meta], error) {
	if err := a.Identity.ResendVerification(ctx, rest.Principal(ctx)); err != nil {
		return nil, err
	}
	return ok(empty{}, "Verification email sent")
}

func (a *api) forgotPassword(ctx context.Context, in *forgot) (*rest.OK[empty, rest.Meta], error) {
	if err := a.Identity.Forgot(ctx, identity.PlatformPool, in.Body.Email); err != nil {
		return nil, err
	}
	return ok(empty{}, "If the address is known here, a link is on its way")
}

func (a *api) resetPassword(ctx context.Context, in *reset) (*rest.OK[personData, rest.Meta], error) {
	u, err := a.Identity.Reset(ctx, identity.PlatformPool, in.Body.Token, in.Body.Password)
	if err != nil {
		return nil, err
	}
	return ok(personData{personOf(u)}, "Password changed; every session has ended")
}
