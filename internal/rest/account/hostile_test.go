package account_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"headgate/internal/rest"
	"headgate/internal/rest/resttest"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

// TestHostile gives every operation inputs that nobody sends by mistake.
func TestHostile(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t), world.Options{})
	p := h.Tenant("ada")
	h.want(p.Token, "POST", "/enable", 200, nil)
	resttest.Hostile{Door: h.door, Known: func(rest.Op) map[string][]string { return map[string][]string{"tool_name": {"echo"}} }, Tolerate: func(int, string) bool { return false },
		Credential: func(rest.Op) string { return h.Start(p.User, p.Organization.ID).Token }}.Run(t)
}

// A06: no body takes what it does not name.
func TestStrict(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t), world.Options{})
	p := h.Tenant("ada")
	for _, path := range []string{"/enable", "/regenerate-key"} {
		for _, name := range []string{"user_email", "credits_balance", "credits_tier", "is_active", "allow_raw_records", "role", "tenant_id", "id"} {
			r := httptest.NewRequest("POST", "/api/mcp"+path, strings.NewReader(`{"`+name+`":1}`))
			r.Header.Set("Authorization", "Bearer "+p.Token)
			r.Header.Set("Content-Type", "application/json")
			if w := resttest.Serve(t, h.door, r); w.Code != 422 {
				t.Errorf("%s with %s: %d %s", path, name, w.Code, w.Body)
			}
		}
	}
	h.want(p.Token, "GET", "/account", 404, nil)
}
