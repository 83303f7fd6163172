package apikey_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/seal"
	"headgate/internal/testkit"
)

func TestIssue(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		owner, developer, viewer := w.person(w.org, access.Owner), w.person(w.org, access.Developer), w.person(w.org, access.Viewer)
		other, _, _ := w.organization()
		_, orgKey := w.create(owner, apikey.Spec{Kind: access.OrganizationKey})
		root := testkit.Must(w.use(orgKey))(t)
		_, shortValue := w.create(owner, apikey.Spec{Kind: access.OrganizationKey, ExpiresIn: time.Hour})
		short := testkit.Must(w.use(shortValue))(t)
		_, narrowValue := w.personal(owner, "org:admin", "user:write")
		narrow := testkit.Must(w.use(narrowValue))(t)
		elsewhere := *owner
		elsewhere.Organization = other
		for _, c := range []struct {
			name string
			by   *access.Principal
			spec apikey.Spec
			code string
		}{
			{"a developer lends no scope beyond the role", developer, apikey.Spec{Kind: access.PersonalKey, User: developer.User, Scopes: scopes(t, "org:admin")}, "apikey.beyond"},
			{"a personal key says its scopes", owner, apikey.Spec{Kind: access.PersonalKey, User: owner.User}, "apikey.scopes"},
			{"a viewer has no keys", viewer, apikey.Spec{Kind: access.PersonalKey, User: viewer.User, Scopes: scopes(t, "mcp:read")}, "access.denied"},
			{"nobody makes another's key", owner, apikey.Spec{Kind: access.PersonalKey, User: developer.User, Scopes: scopes(t, "mcp:read")}, "access.session_only"},
			{"not even with an organization key", root, apikey.Spec{Kind: access.PersonalKey, User: developer.User, Scopes: scopes(t, "mcp:read")}, "access.session_only"},
			{"a personal key makes no key", narrow, apikey.Spec{Kind: access.PersonalKey, User: owner.User, Scopes: scopes(t, "org:admin")}, "access.denied"},
			{"a personal key makes no organization key, whatever its scopes", narrow, apikey.Spec{Kind: access.OrganizationKey}, "access.session_only"},
			{"a developer makes no organization key", developer, apikey.Spec{Kind: access.OrganizationKey}, "access.denied"},
			{"an organization key makes none of the operator's", root, apikey.Spec{Kind: access.OperatorKey}, "access.denied"},
			{"an owner makes none of the operator's", owner, apikey.Spec{Kind: access.OperatorKey}, "access.denied"},
			{"none of another organization", root, apikey.Spec{Kind: access.OrganizationKey, Organization: other}, "access.denied"},
			{"none where its person is no member", owner, apikey.Spec{Kind: access.DiagnosticsKey, Organization: other, User: owner.User}, "access.denied"},
			{"none of an organization that is not", owner, apikey.Spec{Kind: access.DiagnosticsKey, Organization: id.New("org"), User: owner.User}, "apikey.not_found"},
			{"none of another's workspace", &elsewhere, apikey.Spec{Kind: access.WorkspaceKey, Workspace: w.workspace}, "apikey.not_found"},
			{"a workspace key calls and nothing else", owner, apikey.Spec{Kind: access.WorkspaceKey, Workspace: w.workspace, Scopes: scopes(t, "org:read")}, "apikey.beyond"},
			{"no key outlives its maker", short, apikey.Spec{Kind: access.OrganizationKey}, "apikey.beyond"},
			{"by no second", short, apikey.Spec{Kind: access.OrganizationKey, ExpiresIn: time.Hour + time.Second}, "apikey.beyond"},
			{"a life too long", owner, apikey.Spec{Kind: access.OrganizationKey, ExpiresIn: 11 * 365 * 24 * time.Hour}, "apikey.expiry"},
			{"a negative life", owner, apikey.Spec{Kind: access.OrganizationKey, ExpiresIn: -time.Hour}, "apikey.expiry"},
			{"a blank name", owner, apikey.Spec{Kind: access.OrganizationKey, Name: "  "}, "apikey.name"},
			{"a name with a line break", owner, apikey.Spec{Kind: access.OrganizationKey, Name: "a\nb"}, "apikey.name"},
			{"a name too long", owner, apikey.Spec{Kind: access.OrganizationKey, Name: strings.Repeat("ä", 121)}, "apikey.name"},
			{"a publishable key", owner, apikey.Spec{Kind: access.PublishableKey}, "apikey.kind"},
			{"no kind", owner, apikey.Spec{}, "apikey.kind"},
			{"nobody", nil, apikey.Spec{Kind: access.OperatorKey}, "access.denied"},
		} {
			t.Run(c.name, func(t *testing.T) {
				if c.spec.Organization == "" && c.by != nil {
					c.spec.Organization = c.by.Organization
				}
				if c.spec.Name == "" {
					c.spec.Name = "test"
				}
				_, value, err := w.Create(t.Context(), c.by, c.spec)
				testkit.Fault(t, err, c.code)
				if !value.Empty() {
					t.Error("and yet a key")
				}
			})
		}
		t.Run("an organization key makes organization and workspace keys that die before it", func(t *testing.T) {
			w.create(short, apikey.Spec{Kind: access.OrganizationKey, ExpiresIn: time.Hour})
			k, _ := w.create(root, apikey.Spec{Kind: access.WorkspaceKey, Workspace: w.workspace})
			testkit.Equal(t, k.CreatedBy, root.ID)
		})
		t.Run("Headgate makes the first ones", func(t *testing.T) {
			system := &access.Principal{Kind: access.System}
			_, value := w.create(system, apikey.Spec{Kind: access.OperatorKey})
			operator := testkit.Must(w.use(value))(t)
			if !operator.Can(access.Operate) || operator.Can(access.Call) || operator.Organization != "" {
				t.Errorf("got %+v", operator)
			}
			w.create(operator, apikey.Spec{Kind: access.OperatorKey})
			w.create(system, apikey.Spec{Kind: access.PersonalKey, Organization: w.org, User: owner.User, Scopes: access.Every})
			w.create(system, apikey.Spec{Kind: access.OrganizationKey, Organization: w.org})
		})
		t.Run("a rollback leaves no key", func(t *testing.T) {
			var value seal.Value
			_ = w.store.Tx(t.Context(), func(tx *db.Tx) (err error) {
				_, value, err = w.Issue(t.Context(), tx, owner, apikey.Spec{Kind: access.OrganizationKey, Organization: w.org, Name: "x"})
				testkit.Must0(t, err)
				return context.Canceled
			})
			_, err := w.use(value.Reveal())
			testkit.Fault(t, err, "apikey.invalid")
		})
	})
}

func TestSecrecy(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		owner := w.person(w.org, access.Owner)
		k, v, err := w.Create(t.Context(), owner, apikey.Spec{Kind: access.PersonalKey, Organization: w.org, User: owner.User, Name: "n", Scopes: scopes(t, "mcp:read")})
		testkit.Must0(t, err)
		text := v.Reveal()
		t.Run("no row and no form of the answer holds the text", func(t *testing.T) {
			type row = []byte
			seen := fmt.Sprintf("%v %+v %#v", k, v, v) + string(testkit.Must(json.Marshal(v))(t))
			for _, q := range []string{
				`SELECT CAST(hash AS TEXT) || id || name || prefix || last_four || scopes FROM keys`,
				`SELECT action || target_id || details || actor_name FROM events`,
			} {
				if w.store.Engine() == db.PostgreSQL {
					q = strings.ReplaceAll(q, "CAST(hash AS TEXT)", "encode(hash, 'escape')")
				}
				for _, r := range testkit.Must(db.All(t.Context(), w.store, func(r *row) []any { return []any{r} }, q))(t) {
					seen += string(r)
				}
			}
			if strings.Contains(seen, text) || strings.Contains(seen, text[13:33]) {
				t.Error("the text of the key is kept")
			}
		})
		t.Run("what is shown is the first twelve and the last four", func(t *testing.T) {
			got := testkit.Must(w.Get(t.Context(), owner, k.ID))(t)
			testkit.Equal(t, []string{got.Prefix, got.LastFour}, []string{text[:12], text[len(text)-4:]})
		})
	})
}
