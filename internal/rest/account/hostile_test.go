package account_test

import (
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
