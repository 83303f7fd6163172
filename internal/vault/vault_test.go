package vault_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/seal"
	"headgate/internal/testkit"
	"headgate/internal/vault"
	"headgate/internal/workspace"
)

func TestVault(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		exec := func(text string, args ...any) {
			t.Helper()
			testkit.Must(db.Exec(context.Background(), s, text, args...))(t)
		}
		keys, _, err := seal.Generate()
		testkit.Must0(t, err)
		workspaces := workspace.New(s, time.Now)
		v := vault.New(s, keys, workspaces, time.Now)
		exec(`INSERT INTO tenants (id, slug, name, created_at) VALUES ('ten_1', 't', 'T', 0)`)
		exec(`INSERT INTO plans (id, slug, name, rate_per_minute, burst, monthly_credits, features, created_at) VALUES ('plan_1', 'p', 'P', 1, 1, 0, '{}', 0)`)
		organization := func() (*access.Principal, vault.Place) {
			by := &access.Principal{Kind: access.Session, Tenant: "ten_1", Organization: id.New("org"), Role: access.Admin, Scopes: access.Every}
			exec(`INSERT INTO organizations (id, tenant_id, slug, name, home, plan_id, body_policy, created_at) VALUES ($1, 'ten_1', $1, 'O', FALSE, 'plan_1', 'full', 0)`, by.Organization)
			var ws workspace.Workspace
			testkit.Must0(t, s.Tx(t.Context(), func(tx *db.Tx) (err error) {
				ws, err = workspaces.Create(t.Context(), tx, by, workspace.Spec{Organization: by.Organization, Name: "Default", Default: true})
				return err
			}))
			return by, vault.Place{Organization: by.Organization, Workspace: ws.ID}
		}
		admin, inside := organization()
		shared := vault.Place{Organization: admin.Organization}
		bySlug := vault.Place{Organization: admin.Organization, Workspace: "default"}
		set := func(t *testing.T, at vault.Place, name, value string) bool {
			t.Helper()
			return testkit.Must(v.Set(t.Context(), admin, at, name, seal.NewValue(value)))(t)
		}
		get := func(t *testing.T, at vault.Place, name string) string {
			t.Helper()
			return testkit.Must(v.Get(t.Context(), at, name))(t).Reveal()
		}

		t.Run("a workspace sees its organization's secrets, and its own win", func(t *testing.T) {
			testkit.Equal(t, []bool{set(t, shared, "A", "org-a-value"), set(t, shared, "B", "org-b-value"), set(t, bySlug, "B", "ws-b-value"), set(t, inside, "C", "ws-c-value"), set(t, inside, "C", "ws-c-newer")}, []bool{true, true, true, true, false})
			testkit.Equal(t, []string{get(t, inside, "A"), get(t, inside, "B"), get(t, bySlug, "C"), get(t, shared, "B")}, []string{"org-a-value", "ws-b-value", "ws-c-newer", "org-b-value"})
			names := func(at vault.Place) (list []string) {
				for _, x := range testkit.Must(v.List(t.Context(), at))(t) {
					list = append(list, x.Name+":"+string(x.Scope))
				}
				return list
			}
			testkit.Equal(t, names(inside), []string{"A:organization", "B:workspace", "C:workspace"})
			testkit.Equal(t, names(shared), []string{"A:organization", "B:organization"})
		})
		t.Run("neither rows nor events hold a value", func(t *testing.T) {
			columns := `SELECT name || workspace_id || CAST(sealed AS TEXT) FROM secrets`
			if s.Engine() == db.PostgreSQL {
				columns = strings.ReplaceAll(columns, "CAST(sealed AS TEXT)", "encode(sealed, 'escape')")
			}
			for _, q := range []string{columns, `SELECT action || target_id || details FROM events`} {
				for _, text := range testkit.Must(db.All(t.Context(), s, func(b *[]byte) []any { return []any{b} }, q))(t) {
					for _, value := range []string{"org-a-value", "org-b-value", "ws-b-value", "ws-c-newer"} {
						if strings.Contains(string(text), value) {
							t.Errorf("%s: a value is readable", q)
						}
					}
				}
			}
		})
		t.Run("a row that was moved does not open", func(t *testing.T) {
			for name, move := range map[string]string{
				"to another name":  `UPDATE secrets SET sealed = (SELECT sealed FROM secrets o WHERE o.name = 'A') WHERE name = 'B' AND workspace_id = ''`,
				"to another place": `UPDATE secrets SET sealed = (SELECT sealed FROM secrets o WHERE o.name = 'B' AND o.workspace_id <> '') WHERE name = 'B' AND workspace_id = ''`,
			} {
				set(t, shared, "B", "org-b-value")
				exec(move)
				if _, err := v.Get(t.Context(), shared, "B"); !errors.Is(err, seal.ErrOpen) {
					t.Errorf("%s: got %v", name, err)
				}
			}
			set(t, shared, "B", "org-b-value")
		})
		t.Run("a change is announced with its place", func(t *testing.T) {
			var refs []string
			s.OnChange(func(kind, ref string) {
				if kind == "secret" {
					refs = append(refs, ref)
				}
			})
			set(t, inside, "D", "x")
			testkit.Must0(t, v.Delete(t.Context(), admin, bySlug, "D"))
			want := vault.Ref(inside.Organization, inside.Workspace, "D")
			testkit.Equal(t, refs, []string{want, want})
		})
		t.Run("delete removes of exactly this place", func(t *testing.T) {
			testkit.Must0(t, v.Delete(t.Context(), admin, inside, "B"))
			testkit.Equal(t, get(t, inside, "B"), "org-b-value")
			testkit.Fault(t, v.Delete(t.Context(), admin, inside, "B"), "vault.not_found")
			_, err := v.Get(t.Context(), inside, "nothing")
			testkit.Fault(t, err, "vault.not_found")
		})
		t.Run("another organization sees and changes nothing", func(t *testing.T) {
			stranger, elsewhere := organization()
			_, err := v.Get(t.Context(), elsewhere, "A")
			testkit.Fault(t, err, "vault.not_found")
			_, err = v.Set(t.Context(), stranger, shared, "A", seal.NewValue("x"))
			testkit.Fault(t, err, "vault.not_found")
			crossed := vault.Place{Organization: stranger.Organization, Workspace: inside.Workspace}
			_, err = v.Set(t.Context(), stranger, crossed, "A", seal.NewValue("x"))
			testkit.Fault(t, err, "workspace.not_found")
			testkit.Fault(t, v.Delete(t.Context(), stranger, shared, "A"), "vault.not_found")
			_, err = v.List(t.Context(), crossed)
			testkit.Fault(t, err, "workspace.not_found")
			testkit.Equal(t, len(testkit.Must(v.List(t.Context(), elsewhere))(t)), 0)
		})
		t.Run("who may not is refused, and so is bad input", func(t *testing.T) {
			developer := *admin
			developer.Role = access.Developer
			_, err := v.Set(t.Context(), &developer, shared, "A", seal.NewValue("x"))
			testkit.Fault(t, err, "access.denied")
			testkit.Fault(t, v.Delete(t.Context(), nil, shared, "A"), "vault.not_found")
			for _, name := range []string{"", "1A", "A B", "A\x00B", "A/B", "ä", strings.Repeat("A", 129)} {
				_, err := v.Set(t.Context(), admin, shared, name, seal.NewValue("x"))
				testkit.Fault(t, err, "vault.name")
			}
			for _, value := range []string{"", strings.Repeat("x", 64<<10+1)} {
				_, err := v.Set(t.Context(), admin, shared, "A", seal.NewValue(value))
				testkit.Fault(t, err, "vault.value")
			}
		})
		t.Run("a vendor's key is refused while the platform pays for models", func(t *testing.T) {
			_, err := v.Set(t.Context(), admin, inside, "OPENAI_API_KEY", seal.NewValue("x"))
			testkit.Fault(t, err, "vault.vendor_key")
			testkit.Must(workspaces.SetBilling(t.Context(), admin, admin.Organization, inside.Workspace, workspace.BYOK))(t)
			testkit.Must(v.Set(t.Context(), admin, inside, "OPENAI_API_KEY", seal.NewValue("x")))(t)
			_, err = v.Set(t.Context(), admin, shared, "anthropic_api_key", seal.NewValue("x"))
			testkit.Fault(t, err, "vault.vendor_key")
		})
		t.Run("secrets end with the data of their workspace", func(t *testing.T) {
			workspaces.OnRemove(v.WorkspaceRemoved)
			w := testkit.Must(workspaces.Provision(t.Context(), admin, workspace.Spec{Organization: admin.Organization, Name: "Short"}))(t)
			testkit.Must(v.Set(t.Context(), admin, vault.Place{Organization: w.Organization, Workspace: w.ID}, "A", seal.NewValue("x")))(t)
			testkit.Must(workspaces.Remove(t.Context(), admin, w.Organization, w.ID, workspace.Removal{Name: w.Name, Erase: true}))(t)
			testkit.Equal(t, testkit.Must(db.Value[int64](t.Context(), s, `SELECT COUNT(*) FROM secrets WHERE workspace_id = $1`, w.ID))(t), int64(0))
		})
		t.Run("a place holds five hundred", func(t *testing.T) {
			have := len(testkit.Must(v.List(t.Context(), shared))(t))
			for i := range 500 - have {
				set(t, shared, fmt.Sprintf("N%d", i), "x")
			}
			_, err := v.Set(t.Context(), admin, shared, "ONE_MORE", seal.NewValue("x"))
			testkit.Fault(t, err, "vault.too_many")
			set(t, shared, "N1", "still")
		})
	})
}
