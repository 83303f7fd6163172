package diagnostics_test

import (
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/rest/diagnostics"
	"headgate/internal/seal"
	"headgate/internal/testkit"
)

const inspector = "hga_0123456789abcdefghijklmnopqrstuvwxyz"

func actingOn(o *diagnostics.Options) {
	o.Acting = []diagnostics.Acting{{Name: "inspector", Secret: seal.NewValue(inspector)}}
}

func TestActing(t *testing.T) {
	h := onSQLite(t, actingOn)
	dev := h.Member(h.owner.Organization, "dev", access.Developer)
	as := func(user, org string) []string {
		return []string{"X-Headgate-Acting-As: " + user, "X-Headgate-Acting-In-Org: " + org}
	}
	org := h.owner.Organization.ID
	events := func() int64 {
		t.Helper()
		_, n, err := activity.Events(t.Context(), h.Store, activity.EventFilter{Organization: org, Action: "acting.use"}, 10, 0)
		testkit.Must0(t, err)
		return n
	}
	t.Run("it acts as the user, with the user's rights and no more, and each use is in the trail", func(t *testing.T) {
		a := h.as(inspector, "GET", "/api/v1/me", nil, as(dev.ID, org)...).want(200)
		testkit.Equal(t, []any{a.at("id"), a.at("role"), a.at("authMethod"), a.at("organizationId")}, []any{dev.ID, "developer", "service", org})
		h.as(inspector, "POST", h.on(h.demo, "/doctor"), nil, as(dev.ID, org)...).want(200)
		h.as(inspector, "POST", "/api/v1/projects", map[string]any{"name": "x"}, as(dev.ID, org)...).refused(403, "FORBIDDEN")
		testkit.Equal(t, events(), int64(3))
		list, _, err := activity.Events(t.Context(), h.Store, activity.EventFilter{Organization: org, Action: "acting.use"}, 1, 0)
		testkit.Must0(t, err)
		testkit.Equal(t, []any{list[0].ActorName, list[0].TargetID, list[0].Details["route"]}, []any{"inspector", dev.ID, "POST /api/v1/projects"})
	})
	stranger := h.Tenant("stranger")
	for name, c := range map[string]struct {
		headers []string
		status  int
		code    string
	}{
		"without saying as whom":       {nil, 401, "UNAUTHORIZED"},
		"without saying where":         {as(dev.ID, org)[:1], 401, "UNAUTHORIZED"},
		"as nobody":                    {as("user_01m8hwwntwe00sh0j99adsrpt8", org), 403, "FORBIDDEN"},
		"as somebody who is no member": {as(stranger.ID, org), 403, "FORBIDDEN"},
		"in no organization":           {as(dev.ID, "org_01m8hwwntwe00sh0j99adsrpt8"), 403, "FORBIDDEN"},
		"in another organization":      {as(dev.ID, stranger.Organization.ID), 403, "FORBIDDEN"},
	} {
		t.Run("it may not act "+name, func(t *testing.T) {
			before := events()
			h.as(inspector, "GET", "/api/v1/me", nil, c.headers...).refused(c.status, c.code)
			testkit.Equal(t, events(), before)
		})
	}
	t.Run("a suspended user is nobody", func(t *testing.T) {
		gone := h.Member(h.owner.Organization, "gone", access.Developer)
		testkit.Must0(t, h.Identity.Suspend(t.Context(), &access.Principal{Kind: access.OperatorKey, ID: "key_op"}, gone.ID))
		h.as(inspector, "GET", "/api/v1/me", nil, as(gone.ID, org)...).refused(403, "FORBIDDEN")
	})
	t.Run("a wrong secret is 401, with no query", func(t *testing.T) {
		before := h.Store.Queries()
		h.as(inspector+"x", "GET", "/api/v1/me", nil, as(dev.ID, org)...).refused(401, "UNAUTHORIZED")
		h.as("hga_", "GET", "/api/v1/me", nil, as(dev.ID, org)...).refused(401, "UNAUTHORIZED")
		testkit.Equal(t, h.Store.Queries(), before)
	})
	t.Run("no other credential is turned into somebody by a header", func(t *testing.T) {
		h.as(h.key, "GET", "/api/v1/me", nil, as(dev.ID, org)...).refused(401, "UNAUTHORIZED")
		h.as(h.owner.Token, "GET", "/api/v1/me", nil, as(dev.ID, org)[1]).refused(401, "UNAUTHORIZED")
	})
	t.Run("it makes no keys", func(t *testing.T) {
		h.as(inspector, "GET", keysPath, nil, as(dev.ID, org)...).refused(403, "FORBIDDEN")
	})
}

func TestActingIsOff(t *testing.T) {
	h := onSQLite(t)
	h.as(inspector, "GET", "/api/v1/me", nil, "X-Headgate-Acting-As: "+h.owner.ID, "X-Headgate-Acting-In-Org: "+h.owner.Organization.ID).refused(401, "UNAUTHORIZED")
	for _, weak := range []string{"", "hga_", "hga_short", strings.Repeat("x", 60)} {
		if diagnostics.CheckActing(weak) == nil {
			t.Errorf("%q is taken for a secret", weak)
		}
	}
	testkit.Must0(t, diagnostics.CheckActing(inspector))
}
