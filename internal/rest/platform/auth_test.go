package platform_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/identity"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

const newPassword = "another rather long phrase 9"

func TestAuth(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s, world.Options{})
		register := map[string]any{"email": "Ada@Example.com", "password": world.Password, "firstName": "Ada", "lastName": "Lovelace", "organizationName": "Engines"}
		t.Run("register, verify, log in, refresh, log out", func(t *testing.T) {
			a := h.as("", "POST", "/auth/register", register).want(201)
			a.has("id email firstName lastName", "user")
			testkit.Equal(t, a.data("user", "email"), any("ada@example.com"))
			testkit.Equal(t, a.meta("message"), any("Verification email sent"))
			link := h.Link("ada@example.com")
			h.as("", "POST", "/auth/verify-email", map[string]any{"token": link}).want(200)
			h.as("", "POST", "/auth/verify-email", map[string]any{"token": link}).refused(400, "VALIDATION_ERROR")

			in := h.as("", "POST", "/auth/login", map[string]any{"email": "ada@example.com", "password": world.Password}).want(200)
			in.has("token refreshToken user").has("id email firstName lastName role", "user")
			testkit.Equal(t, in.data("user", "role"), any("owner"))
			testkit.Equal(t, in.meta("tokenExpires"), any(float64(900)))

			me := h.as(in.text("token"), "GET", "/users/me", nil).want(200).has("id email firstName lastName role organization createdAt lastLoginAt", "user").has("id name", "user", "organization")
			testkit.Equal(t, me.data("user", "organization", "name"), any("Engines"))

			next := h.as("", "POST", "/auth/refresh", map[string]any{"refreshToken": in.text("refreshToken")}).want(200).has("token refreshToken")
			if next.text("refreshToken") == in.text("refreshToken") {
				t.Error("the refresh token was not rotated")
			}
			out := h.as(next.text("token"), "POST", "/auth/logout", nil).want(200)
			testkit.Equal(t, string(out.Body.Data), `{}`)
			testkit.Equal(t, out.meta("message"), any("Successfully logged out"))
			h.as(next.text("token"), "GET", "/users/me", nil).refused(401, "AUTH_TOKEN_INVALID")
			h.as("", "POST", "/auth/refresh", map[string]any{"refreshToken": next.text("refreshToken")}).refused(401, "AUTH_TOKEN_INVALID")
		})
		t.Run("a wrong password and an unknown address get the same answer", func(t *testing.T) {
			wrong := h.as("", "POST", "/auth/login", map[string]any{"email": "ada@example.com", "password": "wrong wrong wrong"}).refused(401, "AUTH_INVALID_CREDENTIALS")
			unknown := h.as("", "POST", "/auth/login", map[string]any{"email": "eve@example.com", "password": "wrong wrong wrong"}).refused(401, "AUTH_INVALID_CREDENTIALS")
			testkit.Equal(t, wrong.Raw, unknown.Raw)
		})
		t.Run("an address is one user", func(t *testing.T) {
			h.as("", "POST", "/auth/register", register).refused(409, "CONFLICT")
		})
		t.Run("a forgotten password is reset once, and every session ends", func(t *testing.T) {
			bob := h.Tenant("bob")
			known := h.as("", "POST", "/auth/forgot-password", map[string]any{"email": bob.Email}).want(200)
			unknown := h.as("", "POST", "/auth/forgot-password", map[string]any{"email": "nobody@example.com"}).want(200)
			testkit.Equal(t, known.Raw, unknown.Raw)
			link := h.Link(bob.Email)
			h.as("", "POST", "/auth/reset-password", map[string]any{"token": link, "password": "password1"}).refused(400, "VALIDATION_ERROR") // weak: not used up
			h.as("", "POST", "/auth/reset-password", map[string]any{"token": link, "password": newPassword}).want(200)
			h.as("", "POST", "/auth/reset-password", map[string]any{"token": link, "password": newPassword}).refused(400, "VALIDATION_ERROR")
			h.as(bob.Token, "GET", "/users/me", nil).refused(401, "AUTH_TOKEN_INVALID")
			h.as("", "POST", "/auth/login", map[string]any{"email": bob.Email, "password": newPassword}).want(200)
		})
		t.Run("a changed password ends the other sessions, not this one", func(t *testing.T) {
			eve := h.Tenant("eve")
			other := h.Start(eve.User, "")
			h.as(eve.Token, "POST", "/users/me/change-password", map[string]any{"currentPassword": "wrong wrong wrong", "newPassword": newPassword}).refused(401, "AUTH_INVALID_CREDENTIALS")
			h.as(eve.Token, "POST", "/users/me/change-password", map[string]any{"currentPassword": world.Password, "newPassword": newPassword}).want(200)
			h.as(eve.Token, "GET", "/users/me", nil).want(200)
			h.as(other.Token, "GET", "/users/me", nil).refused(401, "AUTH_TOKEN_INVALID")
		})
		t.Run("sessions are listed and ended one by one", func(t *testing.T) {
			joe := h.Tenant("joe")
			second, third := h.Start(joe.User, ""), h.Start(joe.User, "")
			list := h.as(joe.Token, "GET", "/users/me/sessions", nil).want(200)
			if n := len(list.data("sessions").([]any)); n != 3 {
				t.Errorf("%d sessions", n)
			}
			h.as(joe.Token, "DELETE", "/users/me/sessions/"+h.principal(second.Token).ID, nil).want(204)
			h.as(second.Token, "GET", "/users/me", nil).refused(401, "AUTH_TOKEN_INVALID")
			h.as(joe.Token, "DELETE", "/users/me/sessions/"+h.principal(h.owner.Token).ID, nil).refused(404, "RESOURCE_NOT_FOUND")
			h.as(joe.Token, "DELETE", "/users/me/sessions", nil).want(204)
			h.as(third.Token, "GET", "/users/me", nil).refused(401, "AUTH_TOKEN_INVALID")
			h.as(joe.Token, "GET", "/users/me", nil).want(200)
		})
	})
}

func TestCookies(t *testing.T) {
	h := onSQLite(t)
	in := h.as("", "POST", "/auth/login", map[string]any{"email": h.owner.Email, "password": world.Password, "cookie": true}).want(200)
	if in.text("token") != "" || in.text("refreshToken") != "" {
		t.Error("the tokens are in the answer too")
	}
	jar := map[string]string{}
	for _, c := range (&http.Response{Header: in.Header}).Cookies() {
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || !strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf("%+v", c)
		}
		jar[c.Name] = c.Value
	}
	cookie := func() string { return "Cookie: __Host-headgate=" + jar["__Host-headgate"] }
	h.as("", "GET", "/users/me", nil, cookie()).want(200)
	t.Run("a cookie and another credential that disagree are refused", func(t *testing.T) {
		h.as(h.owner.Token, "GET", "/users/me", nil, cookie()).refused(400, "VALIDATION_ERROR")
	})
	t.Run("the refresh cookie renews both", func(t *testing.T) {
		next := h.as("", "POST", "/auth/refresh", "{}", "Cookie: __Host-headgate-refresh="+jar["__Host-headgate-refresh"]).want(200)
		if n := len(next.Header["Set-Cookie"]); n != 2 || next.text("token") != "" {
			t.Errorf("%d cookies, %s", n, next.Raw)
		}
	})
	t.Run("signing out takes them away", func(t *testing.T) {
		out := h.as("", "POST", "/auth/logout", nil, cookie()).want(200)
		for _, c := range (&http.Response{Header: out.Header}).Cookies() {
			if c.MaxAge >= 0 || c.Value != "" {
				t.Errorf("%+v", c)
			}
		}
	})
}

func TestSignUp(t *testing.T) {
	register := map[string]any{"email": "ada@example.com", "password": world.Password, "firstName": "Ada", "lastName": "L"}
	t.Run("closed lets nobody in", func(t *testing.T) {
		h := newHouse(t, testkit.SQLite(t), world.Options{SignUp: identity.Closed})
		h.as("", "POST", "/auth/register", register).refused(403, "AUTH_INSUFFICIENT_SCOPE")
	})
	t.Run("invite lets the invited in, with the role that was preset", func(t *testing.T) {
		h := newHouse(t, testkit.SQLite(t), world.Options{SignUp: identity.Invite})
		h.as("", "POST", "/auth/register", register).refused(403, "AUTH_INSUFFICIENT_SCOPE")
		h.as(h.owner.Token, "POST", "/organizations/me/invitations", map[string]any{"email": "ada@example.com", "role": "viewer"}).want(201).has("id email role expiresAt", "invitation")
		link := h.Link("ada@example.com")
		for range 3 { // a mail scanner looks at it
			testkit.Equal(t, h.as("", "POST", "/auth/invitation", map[string]any{"token": link}).want(200).data("invitation", "organization", "id"), any(h.owner.Organization.ID))
		}
		register["invitation"] = link
		h.as("", "POST", "/auth/register", register).want(201)
		in := h.as("", "POST", "/auth/login", map[string]any{"email": "ada@example.com", "password": world.Password}).want(200)
		testkit.Equal(t, in.data("user", "role"), any("viewer"))
		h.as("", "POST", "/auth/register", register).refused(409, "CONFLICT")
	})
}

func TestLockout(t *testing.T) {
	t.Parallel()
	h := onSQLite(t)
	wrong := map[string]any{"email": h.owner.Email, "password": "wrong wrong wrong"}
	for range 10 {
		h.as("", "POST", "/auth/login", wrong).refused(401, "AUTH_INVALID_CREDENTIALS")
	}
	a := h.as("", "POST", "/auth/login", map[string]any{"email": h.owner.Email, "password": world.Password}).refused(429, "RATE_LIMIT_EXCEEDED")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestSwitch(t *testing.T) {
	h := onSQLite(t)
	customer := h.Customer(h.owner, "Customer")
	stranger := h.Tenant("stranger")
	h.as(h.owner.Token, "POST", "/users/me/switch", map[string]any{"organizationId": stranger.Organization.ID}).refused(404, "RESOURCE_NOT_FOUND")
	next := h.as(h.owner.Token, "POST", "/users/me/switch", map[string]any{"organizationId": customer.ID}).want(200)
	h.as(h.owner.Token, "GET", "/users/me", nil).refused(401, "AUTH_TOKEN_EXPIRED")
	me := h.as(next.text("token"), "GET", "/users/me", nil).want(200)
	testkit.Equal(t, me.data("user", "organization", "id"), any(customer.ID))
	places := h.as(next.text("token"), "GET", "/users/me/organizations", nil).want(200)
	if n := len(places.data("organizations").([]any)); n != 2 {
		t.Errorf("%d organizations: %s", n, places.Raw)
	}
}

func TestRoleLost(t *testing.T) {
	h := onSQLite(t)
	dev := h.Member(h.owner.Organization, "dev", access.Developer)
	_, key := h.Key(h.owner.Organization, access.PersonalKey, dev.ID)
	h.as(key, "GET", "/mcp/services", nil).want(200)
	h.as(h.owner.Token, "PATCH", "/organizations/me/users/"+dev.ID, map[string]any{"role": "viewer"}).want(200)
	t.Run("a role that is lost is lost by the session and the key at once", func(t *testing.T) {
		tool := map[string]any{"serviceId": h.demo, "toolName": "echo", "parameters": map[string]any{"text": "x"}}
		h.as(dev.Token, "POST", "/mcp/execute/tool", tool).refused(403, "AUTH_INSUFFICIENT_SCOPE")
		h.as(key, "POST", "/mcp/execute/tool", tool).refused(403, "AUTH_INSUFFICIENT_SCOPE")
	})
	h.as(h.owner.Token, "DELETE", "/organizations/me/users/"+dev.ID, nil).want(204)
	t.Run("a membership too", func(t *testing.T) {
		h.as(dev.Token, "GET", "/users/me", nil).refused(401, "AUTH_TOKEN_INVALID")
		a := h.as(key, "GET", "/mcp/services", nil).refused(401, "AUTH_TOKEN_INVALID")
		testkit.Equal(t, a.Body.Error.Details["reason"], any("ORPHANED_KEY"))
	})
}

func TestExpiredToken(t *testing.T) {
	now := time.Now()
	h := newHouse(t, testkit.SQLite(t), world.Options{Now: func() time.Time { return now }})
	now = now.Add(16 * time.Minute)
	h.as(h.owner.Token, "GET", "/users/me", nil).refused(401, "AUTH_TOKEN_EXPIRED")
}
