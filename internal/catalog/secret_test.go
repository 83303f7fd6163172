package catalog_test

import (
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/seal"
	"headgate/internal/testkit"
	"headgate/internal/vault"
	"headgate/internal/workspace"
)

// secrets gives the house a vault and a second workspace for the home.
func (h *house) secrets(t *testing.T) (*vault.Service, *workspace.Service, workspace.Workspace) {
	t.Helper()
	keys, _, err := seal.Generate()
	testkit.Must0(t, err)
	ws := workspace.New(h.store, time.Now)
	v := vault.New(h.store, keys, ws, time.Now)
	h.resolver.UseSecrets(v)
	second := testkit.Must(ws.Provision(t.Context(), h.home, workspace.Spec{Organization: h.home.Organization, Name: "Second"}))(t)
	return v, ws, second
}

func (h *house) bind(t *testing.T, by *access.Principal, ws, slug string) (*catalog.Binding, error) {
	t.Helper()
	w := testkit.Must(h.resolver.Workspace(t.Context(), by.Organization, ws))(t)
	s, ok := w.Server(slug)
	if !ok {
		t.Fatalf("no server %s", slug)
	}
	return h.resolver.Bind(t.Context(), s, by)
}

func header(b *catalog.Binding, name string) string {
	for _, h := range b.Headers {
		if h.Name == name {
			return h.Value.Reveal()
		}
	}
	return ""
}

func TestSecretReferences(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		v, _, second := h.secrets(t)
		org := vault.Place{Organization: h.home.Organization}
		in := vault.Place{Organization: h.home.Organization, Workspace: second.ID}
		set := func(t *testing.T, at vault.Place, name, value string) {
			t.Helper()
			testkit.Must(v.Set(t.Context(), h.home, at, name, seal.NewValue(value)))(t)
		}
		make := func(ws, slug, value string) {
			s := server(slug)
			s.Workspace, s.Headers = ws, map[string]string{"Authorization": value}
			testkit.Must(h.CreateServer(t.Context(), h.home, s))(t)
		}
		make(h.home.Workspace, "one", "Bearer {{secret.TOKEN}}")
		make(h.home.Workspace, "two", "Bearer {{secret.OTHER}}")
		make(second.ID, "three", "Bearer {{secret.TOKEN}}")
		make(second.ID, "plain", "Bearer abc")

		t.Run("a server whose secret is not there says which", func(t *testing.T) {
			_, err := h.bind(t, h.home, h.home.Workspace, "one")
			testkit.Fault(t, err, "catalog.no_secret")
			set(t, org, "TOKEN", "org-token")
			testkit.Equal(t, header(testkit.Must(h.bind(t, h.home, h.home.Workspace, "one"))(t), "Authorization"), "Bearer org-token")
		})
		t.Run("the workspace's own wins", func(t *testing.T) {
			testkit.Equal(t, header(testkit.Must(h.bind(t, h.home, second.ID, "three"))(t), "Authorization"), "Bearer org-token")
			set(t, in, "TOKEN", "ws-token")
			testkit.Equal(t, header(testkit.Must(h.bind(t, h.home, second.ID, "three"))(t), "Authorization"), "Bearer ws-token")
			testkit.Equal(t, header(testkit.Must(h.bind(t, h.home, h.home.Workspace, "one"))(t), "Authorization"), "Bearer org-token")
		})
		t.Run("a change is another identity for exactly the servers that use it", func(t *testing.T) {
			set(t, org, "OTHER", "o")
			identities := func() (list []string) {
				for _, at := range [][2]string{{h.home.Workspace, "one"}, {h.home.Workspace, "two"}, {second.ID, "three"}, {second.ID, "plain"}} {
					list = append(list, testkit.Must(h.bind(t, h.home, at[0], at[1]))(t).Identity)
				}
				return list
			}
			before := identities()
			plain := testkit.Must(h.resolver.Workspace(t.Context(), h.home.Organization, second.ID))(t)
			set(t, org, "OTHER", "p")
			after := identities()
			for i, changed := range []bool{false, true, false, false} {
				if (before[i] != after[i]) != changed {
					t.Errorf("server %d: %s, then %s", i, before[i], after[i])
				}
			}
			if testkit.Must(h.resolver.Workspace(t.Context(), h.home.Organization, second.ID))(t) != plain {
				t.Error("a workspace that does not use the secret was loaded again")
			}
			testkit.Must0(t, v.Delete(t.Context(), h.home, org, "OTHER"))
			_, err := h.bind(t, h.home, h.home.Workspace, "two")
			testkit.Fault(t, err, "catalog.no_secret")
		})
		t.Run("a configuration may refer to one, and its user's own too", func(t *testing.T) {
			s := withSchema("four", `{"type":"object","properties":{"token":{"type":"string"}},"required":["token"]}`, catalog.ForUser)
			s.Headers = map[string]string{"X-Key": "{{config.token}}"}
			d := testkit.Must(h.CreateServer(t.Context(), h.home, s))(t)
			testkit.Must(h.Configure(t.Context(), h.home, d.Service.ID, []byte(`{"token":"{{secret.TOKEN}}"}`)))(t)
			testkit.Equal(t, header(testkit.Must(h.bind(t, h.home, h.home.Workspace, "four"))(t), "X-Key"), "org-token")
			set(t, org, "TOKEN", "newer")
			testkit.Equal(t, header(testkit.Must(h.bind(t, h.home, h.home.Workspace, "four"))(t), "X-Key"), "newer")
		})
		t.Run("where a reference stands, its form is no mistake; anything else is", func(t *testing.T) {
			s := withSchema("five", `{"type":"object","properties":{"pin":{"type":"string","pattern":"^[0-9]{4}$"},"region":{"type":"string","enum":["eu"]}},"required":["pin"]}`, catalog.ForOrganization)
			s.Headers = map[string]string{"X-Pin": "{{config.pin}}"}
			d := testkit.Must(h.CreateServer(t.Context(), h.home, s))(t)
			c := testkit.Must(h.Configure(t.Context(), h.home, d.Service.ID, []byte(`{"pin":"{{secret.TOKEN}}"}`)))(t)
			if !c.Configured || !testkit.Must(h.GetService(t.Context(), h.home, d.Service.ID))(t).Configured {
				t.Error("it is not configured")
			}
			for _, bad := range []string{`{"pin":"47"}`, `{"pin":"{{secret.TOKEN}}","region":"us"}`, `{"pin":"{{secret.}}"}`, `{"region":"eu"}`} {
				_, err := h.Configure(t.Context(), h.home, d.Service.ID, []byte(bad))
				testkit.Fault(t, err, "catalog.bad_config")
			}
		})
		t.Run("one that cannot be a header makes its server unusable, and no other", func(t *testing.T) {
			set(t, in, "TOKEN", "a\r\nX-Evil: 1")
			_, err := h.bind(t, h.home, second.ID, "three")
			testkit.Fault(t, err, "catalog.unconfigured")
			testkit.Equal(t, header(testkit.Must(h.bind(t, h.home, second.ID, "plain"))(t), "Authorization"), "Bearer abc")
		})
		t.Run("another organization's secrets are not seen", func(t *testing.T) {
			s := server("theirs")
			s.Headers = map[string]string{"Authorization": "{{secret.TOKEN}}"}
			testkit.Must(h.CreateServer(t.Context(), h.customer, s))(t)
			_, err := h.bind(t, h.customer, h.customer.Workspace, "theirs")
			testkit.Fault(t, err, "catalog.no_secret")
		})
	})
}

func TestAllowlist(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		good := testkit.Must(h.CreateService(ctx, h.operator, service("good")))(t)
		bad := testkit.Must(h.CreateService(ctx, h.operator, service("bad")))(t)
		install := func(by *access.Principal, slug, service string) error {
			in := server(slug)
			if in.Service = service; service != "" {
				in.ServiceInput = catalog.ServiceInput{Slug: slug}
			}
			_, err := h.CreateServer(ctx, by, in)
			return err
		}
		testkit.Must0(t, install(h.customer, "b", bad.ID))
		testkit.Must0(t, install(h.customer, "own", ""))
		testkit.Must(h.bind(t, h.customer, h.customer.Workspace, "b"))(t)

		list := testkit.Must(h.SetAllowlist(ctx, h.customer, []string{"good", good.ID}, "Ada"))(t)
		if len(list) != 1 || list[0].Service != good.ID || list[0].Slug != "good" || list[0].EnabledBy != "Ada" {
			t.Fatalf("got %+v", list)
		}
		t.Run("what is not on it cannot be installed, nor a server of one's own", func(t *testing.T) {
			testkit.Must0(t, install(h.customer, "g", good.ID))
			testkit.Fault(t, install(h.customer, "b2", bad.ID), "catalog.not_allowed")
			testkit.Fault(t, install(h.customer, "own2", ""), "catalog.not_allowed")
		})
		t.Run("nor called, where it is installed already", func(t *testing.T) {
			testkit.Must(h.bind(t, h.customer, h.customer.Workspace, "g"))(t)
			for _, slug := range []string{"b", "own"} {
				_, err := h.bind(t, h.customer, h.customer.Workspace, slug)
				testkit.Fault(t, err, "catalog.not_allowed")
			}
			s := testkit.Must(h.resolver.Service(ctx, h.customer, h.customer.Workspace, bad.ID))(t)
			_, err := h.resolver.Bind(ctx, s, h.customer)
			testkit.Fault(t, err, "catalog.not_allowed")
		})
		t.Run("other organizations are not concerned", func(t *testing.T) {
			testkit.Must0(t, install(h.home, "b", bad.ID))
			testkit.Must(h.bind(t, h.home, h.home.Workspace, "b"))(t)
		})
		t.Run("replacing is all or nothing", func(t *testing.T) {
			_, err := h.SetAllowlist(ctx, h.customer, []string{"bad", "nobody's"}, "Ada")
			testkit.Fault(t, err, "catalog.bad_allowlist")
			_, err = h.SetAllowlist(ctx, h.customer, []string{"bad"}, " ")
			testkit.Fault(t, err, "catalog.bad_allowlist")
			testkit.Equal(t, len(testkit.Must(h.Allowlist(ctx, h.customer))(t)), 1)
		})
		t.Run("one's own server may be listed, and an empty list allows all again", func(t *testing.T) {
			testkit.Must(h.SetAllowlist(ctx, h.customer, []string{"own"}, "Ada"))(t)
			testkit.Must(h.bind(t, h.customer, h.customer.Workspace, "own"))(t)
			testkit.Must(h.SetAllowlist(ctx, h.customer, nil, "Ada"))(t)
			testkit.Must(h.bind(t, h.customer, h.customer.Workspace, "b"))(t)
			testkit.Must0(t, install(h.customer, "own2", ""))
		})
		t.Run("only those who manage the organization set it", func(t *testing.T) {
			developer := *h.customer
			developer.Role = access.Developer
			_, err := h.SetAllowlist(ctx, &developer, nil, "Ada")
			testkit.Fault(t, err, "access.denied")
		})
	})
}

func TestPortable(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		offer := testkit.Must(h.CreateService(ctx, h.operator, service("offered")))(t)
		in := server("my-api")
		in.URL = "https://mcp.example.com/mcp?token=hunter2&v=1"
		in.Headers = map[string]string{"Authorization": "Bearer hunter2", "X-Key": "Bearer {{secret.KEY}}", "X-Mixed": "hunter2{{secret.KEY}}"}
		testkit.Must(h.CreateServer(ctx, h.home, in))(t)
		testkit.Must(h.CreateServer(ctx, h.home, catalog.ServerInput{Service: offer.ID, ServiceInput: catalog.ServiceInput{Slug: "off"}}))(t)
		list := testkit.Must(h.Portable(ctx, h.home, h.home.Workspace))(t)
		testkit.Equal(t, list[0].Headers, map[string]string{"Authorization": "{{secret.MY_API_AUTHORIZATION}}", "X-Key": "Bearer {{secret.KEY}}", "X-Mixed": "{{secret.MY_API_X_MIXED}}"})
		testkit.Equal(t, list[0].Secrets, []string{"KEY", "MY_API_AUTHORIZATION", "MY_API_X_MIXED"})
		testkit.Equal(t, list[0].URL, "https://mcp.example.com/mcp?token=&v=1")
		testkit.Equal(t, list[1].Service, "offered")
		testkit.Must0(t, h.store.Tx(ctx, func(tx *db.Tx) error {
			for _, p := range list {
				if _, err := h.AddServer(ctx, tx, h.customer, p); err != nil {
					return err
				}
			}
			return nil
		}))
		again := testkit.Must(h.Portable(ctx, h.customer, h.customer.Workspace))(t)
		testkit.Equal(t, again, list)
	})
}

func TestWorkspaceLife(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		_, ws, second := h.secrets(t)
		ws.OnRestart(h.WorkspaceRestarted)
		ws.OnRemove(h.WorkspaceRemoved)
		ctx, org := t.Context(), h.home.Organization
		in := server("one")
		in.Workspace, in.Headers = second.ID, map[string]string{"Authorization": "Bearer abc"}
		d := testkit.Must(h.CreateServer(ctx, h.home, in))(t)
		version := func() int64 {
			w := testkit.Must(h.resolver.Workspace(ctx, org, second.ID))(t)
			s, _ := w.Server("one")
			return s.Version
		}
		before := version()
		_, _, err := ws.Restart(ctx, h.home, org, second.ID)
		testkit.Must0(t, err)
		if version() <= before {
			t.Error("a restart left the server as it was")
		}
		testkit.Must(ws.Remove(ctx, h.home, org, second.ID, workspace.Removal{Name: second.Name, Purge: true}))(t)
		_, err = h.resolver.Workspace(ctx, org, second.ID)
		testkit.Fault(t, err, "catalog.workspace_not_found")
		left := testkit.Must(db.Value[int64](ctx, h.store, `SELECT (SELECT COUNT(*) FROM servers WHERE id = $1) + (SELECT COUNT(*) FROM services WHERE id = $2)`, d.ID, d.Service.ID))(t)
		testkit.Equal(t, left, int64(0))
	})
}
