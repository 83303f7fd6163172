package account_test

import (
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/rest/resttest"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

const people = "owner developer viewer member enabled"

func callers(t *testing.T, h *house) []resttest.Caller {
	owner := h.Tenant("owner")
	o := owner.Organization
	list := []resttest.Caller{{Name: "anonymous", Credential: func() string { return "" }, Refused: 401}, {Name: "junk", Credential: func() string { return "a.b.c" }, Refused: 401}}
	persons := map[string]*world.Person{"owner": owner}
	for _, role := range []access.Role{access.Developer, access.Viewer, access.Member} {
		persons[string(role)] = h.Member(o, "the-"+string(role), role)
	}
	persons["enabled"] = h.Member(o, "enabled", access.Developer)
	h.want(persons["enabled"].Token, "POST", "/enable", 200, nil)
	for name, p := range persons {
		list = append(list, resttest.Caller{Name: name, Credential: func() string { return h.Start(p.User, o.ID).Token }, Refused: 403})
	}
	keys := map[string]string{"publishable": "pk_live_" + strings.Repeat("a", 36), "secret": "sk_test_" + strings.Repeat("a", 36)}
	for name, kind := range map[string]access.Kind{"personal": access.PersonalKey, "diagnostics": access.DiagnosticsKey, "organization": access.OrganizationKey, "workspace": access.WorkspaceKey, "operator": access.OperatorKey} {
		switch kind {
		case access.OperatorKey:
			_, keys[name] = h.Key(nil, kind, "")
		case access.PersonalKey, access.DiagnosticsKey:
			_, keys[name] = h.Key(o, kind, owner.ID)
		default:
			_, keys[name] = h.Key(o, kind, "")
		}
	}
	for name, key := range keys {
		list = append(list, resttest.Caller{Name: name, Credential: func() string { return key }, Refused: 401})
	}
	return list
}

// TestMatrix asks each operation as each kind of caller. Nobody can name
// another's account here, so there are no objects. The operations run in the
// order of the door: after enable, everybody has an account.
func TestMatrix(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t), world.Options{})
	list := callers(t, h)
	keys := map[string]int{} // on key routes refused by their prefix
	for _, c := range list {
		if c.Refused == 401 && c.Name != "anonymous" && c.Name != "junk" {
			keys[c.Name] = 403
		}
	}
	enable := map[string]int{"enabled": 400}
	for name, status := range keys {
		enable[name] = status
	}
	events := func() int64 {
		return testkit.Must(db.Value[int64](t.Context(), h.Store, `SELECT COUNT(*) FROM events`))(t)
	}
	resttest.Matrix{Door: h.door, Callers: list, Trail: events, Rows: map[string]resttest.Row{
		"getAccount":      {May: people, Except: map[string]int{"owner": 404, "developer": 404, "viewer": 404, "member": 404}},
		"enable":          {May: people, Except: enable},
		"regenerateKey":   {May: people, Except: keys},
		"getUsage":        {May: people},
		"getUsageSummary": {May: people},
	}}.Run(t)
}
