package diagnostics_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/db"
	"headgate/internal/rest/diagnostics"
	"headgate/internal/testkit"
)

const keysPath = "/api/web/api-keys"

func TestKeys(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s)
		mint := map[string]any{"name": "ci", "organizationId": h.owner.Organization.ID}
		a := h.as(h.owner.Token, "POST", keysPath, mint).want(200).has("id name value obfuscated_value created_at last_used_at")
		value := a.text("value")
		if !strings.HasPrefix(value, "sk_") || strings.Contains(a.text("obfuscated_value"), value[10:20]) {
			t.Errorf("%s", a.Raw)
		}
		h.as(value, "GET", "/api/v1/me", nil).want(200)

		list := h.as(h.owner.Token, "GET", keysPath, nil).want(200)
		if strings.Contains(list.Raw, value) || len(list.at("items").([]any)) != 2 {
			t.Errorf("%s", list.Raw)
		}
		for _, member := range []string{"id", "name", "obfuscated_value", "created_at", "last_used_at"} {
			if _, ok := list.at("items", 0).(map[string]any)[member]; !ok {
				t.Errorf("no %s in %s", member, list.Raw)
			}
		}
		h.rest()
		testkit.Equal(t, h.as(h.owner.Token, "DELETE", keysPath+"/"+a.text("id"), nil).want(200).Body, map[string]any{"ok": true})
		h.as(value, "GET", "/api/v1/me", nil).refused(401, "UNAUTHORIZED")
		h.as(h.owner.Token, "DELETE", keysPath+"/"+a.text("id"), nil).refused(404, "NOT_FOUND")
		h.as(h.owner.Token, "DELETE", keysPath+"/key_01m8hwwntwe00sh0j99adsrpt8", nil).refused(404, "NOT_FOUND")
	})
}

func TestKeyRoutesRefuseKeys(t *testing.T) {
	h := onSQLite(t)
	valid := h.as(h.key, "GET", keysPath, nil).refused(403, "FORBIDDEN")
	revoked := h.diagnosticsKey(h.owner.Organization, h.owner.ID)
	h.revoke(revoked)
	credentials := map[string]string{"a valid key": h.key, "a revoked key": revoked, "an invented key": "sk_" + strings.Repeat("x", 36), "a stub": "sk_",
		"a publishable key": "pk_live_" + strings.Repeat("x", 36), "an acting service": "hga_" + strings.Repeat("x", 40)}
	for name, kind := range map[string]access.Kind{"a personal key": access.PersonalKey, "an organization key": access.OrganizationKey} {
		_, credentials[name] = h.Key(h.owner.Organization, kind, h.owner.ID)
	}
	for name, credential := range credentials {
		t.Run(name+" gets the one answer of all keys, with no query", func(t *testing.T) {
			before := h.Store.Queries()
			for _, r := range []struct{ method, path string }{{"GET", keysPath}, {"POST", keysPath}, {"DELETE", keysPath + "/key_x"}} {
				a := h.as(credential, r.method, r.path, "[nonsense")
				testkit.Equal(t, []any{a.Status, a.Raw}, []any{valid.Status, valid.Raw})
			}
			testkit.Equal(t, h.Store.Queries(), before)
		})
	}
	t.Run("no session and a forged one are 401", func(t *testing.T) {
		h.as("", "GET", keysPath, nil).refused(401, "UNAUTHORIZED")
		h.as("eyJhbGciOiJub25lIn0.e30.", "GET", keysPath, nil).refused(401, "UNAUTHORIZED")
	})
}

func TestMintRefuses(t *testing.T) {
	h := onSQLite(t)
	mint := func(name, org string) map[string]any { return map[string]any{"name": name, "organizationId": org} }
	org := h.owner.Organization.ID
	for name, c := range map[string]struct {
		body   any
		status int
		code   string
	}{
		"no name":                        {map[string]any{"organizationId": org}, 400, "VALIDATION_ERROR"},
		"a name of 121 characters":       {mint(strings.Repeat("n", 121), org), 400, "VALIDATION_ERROR"},
		"an unknown field":               {map[string]any{"name": "n", "organizationId": org, "scopes": []string{"*"}}, 400, "VALIDATION_ERROR"},
		"an organization that is none":   {mint("n", "nonsense"), 404, "NOT_FOUND"},
		"an organization that is random": {mint("n", "org_01m8hwwntwe00sh0j99adsrpt8"), 404, "NOT_FOUND"},
		"somebody else's organization":   {mint("n", h.Tenant("stranger").Organization.ID), 403, "FORBIDDEN"},
	} {
		t.Run(name, func(t *testing.T) {
			h.rest()
			h.as(h.owner.Token, "POST", keysPath, c.body).refused(c.status, c.code)
		})
	}
	t.Run("a suspended organization", func(t *testing.T) {
		h.rest()
		customer := h.Customer(h.owner, "Suspended")
		testkit.Must(h.Tenancy.SuspendOrganization(t.Context(), &access.Principal{Kind: access.OperatorKey, ID: "key_op"}, customer.ID))(t)
		h.as(h.owner.Token, "POST", keysPath, mint("n", customer.ID)).refused(409, "CONFLICT")
	})
	t.Run("a name of 120 characters is fine, in another of one's organizations, whose key it is", func(t *testing.T) {
		h.rest()
		customer := h.Customer(h.owner, "Other")
		a := h.as(h.owner.Token, "POST", keysPath, mint(strings.Repeat("n", 120), customer.ID)).want(200)
		testkit.Equal(t, h.as(a.text("value"), "GET", "/api/v1/me", nil).text("organizationId"), customer.ID)
		// A key of another organization than the session's is listed and revocable all the same.
		testkit.Equal(t, len(h.as(h.owner.Token, "GET", keysPath, nil).at("items").([]any)), 2)
		h.as(h.owner.Token, "DELETE", keysPath+"/"+a.text("id"), nil).want(200)
	})
	t.Run("another person's key cannot be revoked, nor one of another kind", func(t *testing.T) {
		h.rest()
		guest := h.Member(h.owner.Organization, "guest", access.Developer)
		theirs, _ := h.Key(h.owner.Organization, access.DiagnosticsKey, guest.ID)
		personal, _ := h.Key(h.owner.Organization, access.PersonalKey, h.owner.ID)
		h.as(h.owner.Token, "DELETE", keysPath+"/"+theirs.ID, nil).refused(404, "NOT_FOUND")
		h.as(h.owner.Token, "DELETE", keysPath+"/"+personal.ID, nil).refused(404, "NOT_FOUND")
	})
}

// Making a key is two steps. When the second fails the first is undone, and
// what the caller would have been handed is dead.
func TestMintSaga(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		var handed string
		var confirm func(ctx context.Context, value string, k apikey.Key) error
		h := newHouse(t, s, func(o *diagnostics.Options) {
			o.Confirm = func(ctx context.Context, value string, k apikey.Key) error {
				handed = value
				return confirm(ctx, value, k)
			}
		})
		mint := map[string]any{"name": "ci", "organizationId": h.owner.Organization.ID}
		keys := func() int {
			h.rest()
			return len(h.as(h.owner.Token, "GET", keysPath, nil).at("items").([]any))
		}
		before := keys()
		for name, second := range map[string]func(context.Context, string, apikey.Key) error{
			"it fails":             func(context.Context, string, apikey.Key) error { return errors.New("binding is down") },
			"the caller went away": func(ctx context.Context, _ string, _ apikey.Key) error { return context.Canceled },
			"it takes for ever":    func(ctx context.Context, _ string, _ apikey.Key) error { return context.DeadlineExceeded },
			"the key was orphaned": func(context.Context, string, apikey.Key) error { return apikey.ErrOrphaned },
		} {
			t.Run("when "+name, func(t *testing.T) {
				confirm = second
				a := h.as(h.owner.Token, "POST", keysPath, mint).refused(502, "SERVER_UNREACHABLE")
				if handed == "" || strings.Contains(a.Raw, handed) {
					t.Errorf("the key was handed out: %s", a.Raw)
				}
				h.as(handed, "GET", "/api/v1/me", nil).refused(401, "UNAUTHORIZED")
				testkit.Equal(t, keys(), before)
			})
		}
	})
}
