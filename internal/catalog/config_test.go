package catalog_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/testkit"
)

const tokenSchema = `{"type":"object","required":["token"],"additionalProperties":false,"properties":{
	"token":{"type":"string","format":"password","minLength":8},"region":{"type":"string","enum":["eu","us"]},"big":{"type":"integer"}}}`

func withSchema(slug, schema string, scope catalog.ConfigScope) catalog.ServerInput {
	in := server(slug)
	in.ConfigSchema, in.ConfigScope = json.RawMessage(schema), scope
	in.Headers = map[string]string{"Authorization": "Bearer {{config.token}}", "X-Region": "r-${region}"}
	return in
}

func TestConfigure(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		d := testkit.Must(h.CreateServer(ctx, h.home, withSchema("one", tokenSchema, catalog.ForOrganization)))(t)
		s := d.Service.ID
		headers := func() map[string]string {
			t.Helper()
			w := testkit.Must(h.resolver.Workspace(ctx, h.home.Organization, h.home.Workspace))(t)
			v, _ := w.Server(d.ID)
			b := testkit.Must(h.resolver.Bind(ctx, v, h.home))(t)
			m := map[string]string{}
			for _, x := range b.Headers {
				m[x.Name] = x.Value.Reveal()
			}
			return m
		}
		t.Run("until then it is unconfigured", func(t *testing.T) {
			if d.Service.Configured {
				t.Error("configured without a configuration")
			}
			w := testkit.Must(h.resolver.Workspace(ctx, h.home.Organization, h.home.Workspace))(t)
			v, _ := w.Server("one")
			_, err := h.resolver.Bind(ctx, v, h.home)
			testkit.Fault(t, err, "catalog.unconfigured")
			testkit.Fault(t, h.Unconfigure(ctx, h.home, s), "catalog.unconfigured")
		})
		t.Run("what does not fit the schema is refused with the field and no value", func(t *testing.T) {
			for _, bad := range []string{`{"token":"short-x"}`, `{"token":"hunter2hunter2","region":"hunter2"}`, `{"token":"hunter2hunter2","hunter2":1}`, `{}`, `[]`, `{"token":"hunter2hunter2","token":"b"}`, `nonsense`} {
				_, err := h.Configure(ctx, h.home, s, []byte(bad))
				testkit.Fault(t, err, "catalog.bad_config")
				if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, "hunter2") || strings.Contains(text, "short-x") {
					t.Errorf("echoed: %s", text)
				}
			}
		})
		t.Run("a header refuses what it cannot carry", func(t *testing.T) {
			_, err := h.Configure(ctx, h.home, s, []byte(`{"token":"hunter2\r\nHost: evil"}`))
			testkit.Fault(t, err, "catalog.bad_config")
		})
		t.Run("then headers are filled in, whole or not at all", func(t *testing.T) {
			if got := testkit.Must(h.Configure(ctx, h.home, s, []byte(`{"token":"hunter2hunter2"}`)))(t); !got.Configured {
				t.Error("still not configured")
			}
			testkit.Equal(t, headers(), map[string]string{"Authorization": "Bearer hunter2hunter2"})
		})
		t.Run("a secret left out stays, other fields are replaced, numbers stay exact", func(t *testing.T) {
			testkit.Must(h.Configure(ctx, h.home, s, []byte(`{"region":"eu","big":9007199254740993}`)))(t)
			testkit.Equal(t, headers(), map[string]string{"Authorization": "Bearer hunter2hunter2", "X-Region": "r-eu"})
			c := testkit.Must(h.Configuration(ctx, h.home, s))(t)
			testkit.Equal(t, c.Values, map[string]any{"region": "eu", "big": json.Number("9007199254740993")})
			testkit.Equal(t, c.Secrets, []string{"token"})
		})
		t.Run("it is sealed, bound to its row", func(t *testing.T) {
			row := testkit.Must(db.Value[[]byte](ctx, h.store, `SELECT config FROM configurations WHERE service_id=$1`, s))(t)
			if strings.Contains(string(row), "hunter2") {
				t.Error("stored in the clear")
			}
			other := testkit.Must(h.CreateServer(ctx, h.customer, withSchema("one", tokenSchema, catalog.ForOrganization)))(t)
			testkit.Must(db.Exec(ctx, h.store, `INSERT INTO configurations (service_id, organization_id, user_id, config, revision, created_at, updated_at) VALUES ($1,$2,'',$3,1,1,1)`, other.Service.ID, h.customer.Organization, row))(t)
			if _, err := h.Configuration(ctx, h.customer, other.Service.ID); err == nil {
				t.Error("a configuration moved to another row opened")
			}
		})
		t.Run("a schema that the stored one no longer fits makes it unconfigured", func(t *testing.T) {
			testkit.Must(h.UpdateService(ctx, h.home, s, catalog.ServiceChange{ConfigSchema: ptr(json.RawMessage(strings.Replace(tokenSchema, `["token"]`, `["token","region","big","more"]`, 1)))}))(t)
			if got := testkit.Must(h.GetService(ctx, h.home, s))(t); got.Configured {
				t.Error("configured")
			}
		})
		t.Run("unconfigure forgets it", func(t *testing.T) {
			testkit.Must0(t, h.Unconfigure(ctx, h.home, s))
			if c := testkit.Must(h.Configuration(ctx, h.home, s))(t); c != nil {
				t.Errorf("got %+v", c)
			}
		})
		t.Run("another organization's service cannot be configured", func(t *testing.T) {
			_, err := h.Configure(ctx, h.customer, s, []byte(`{"token":"hunter2hunter2"}`))
			testkit.Fault(t, err, "catalog.service_not_found")
		})
	})
}

// What was configured as a secret stays one, whatever schemas come after.
func TestMarksOutliveTheirSchema(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		const open = `{"type":"object","properties":{"region":{"type":"string"},"token":{"type":"string"}}}`
		in := service("one")
		in.ConfigSchema, in.ConfigScope, in.Headers = json.RawMessage(twoFields), catalog.ForUser, map[string]string{"X-Key": "{{config.token}}"}
		s := testkit.Must(h.CreateService(ctx, h.home, in))(t).ID
		d := testkit.Must(h.CreateServer(ctx, h.home, catalog.ServerInput{Service: s, ServiceInput: catalog.ServiceInput{Slug: "one"}}))(t)
		colleague := *h.home
		colleague.User = id.New("user")
		shared := *h.home
		shared.Kind, shared.User = access.OrganizationKey, ""
		all := []*access.Principal{h.home, &colleague, &shared}
		configure := func(t *testing.T, text string) {
			t.Helper()
			for _, by := range all {
				testkit.Must(h.Configure(ctx, by, s, []byte(text)))(t)
			}
		}
		hidden := func(t *testing.T, values map[string]any, secrets ...string) {
			t.Helper()
			for _, by := range all {
				c := testkit.Must(h.Configuration(ctx, by, s))(t)
				testkit.Equal(t, []any{c.Values, c.Secrets}, []any{values, append([]string{}, secrets...)})
			}
			text := string(testkit.Must(json.Marshal(testkit.Must(h.PortableServices(ctx, h.home))(t)))(t)) + string(testkit.Must(json.Marshal(testkit.Must(h.Portable(ctx, h.home, ""))(t)))(t))
			if strings.Contains(text, "hunter2") {
				t.Errorf("a bundle would hold it: %s", text)
			}
		}
		schema := func(t *testing.T, text string) {
			t.Helper()
			testkit.Must(h.UpdateService(ctx, h.home, s, catalog.ServiceChange{ConfigSchema: ptr(json.RawMessage(text))}))(t)
		}
		eu := map[string]any{"region": "eu"}
		configure(t, `{"region":"eu","token":"hunter2"}`)
		t.Run("its mark is dropped", func(t *testing.T) {
			schema(t, open)
			hidden(t, eu, "token")
		})
		t.Run("and the schema is replaced twice", func(t *testing.T) {
			schema(t, strings.Replace(open, "string", "integer", 1)) // of the region
			schema(t, open)
			hidden(t, eu, "token")
		})
		t.Run("it is left out, and is kept", func(t *testing.T) {
			configure(t, `{"region":"us"}`)
			hidden(t, map[string]any{"region": "us"}, "token")
			testkit.Equal(t, header(testkit.Must(h.bind(t, h.home, h.home.Workspace, d.Slug))(t), "X-Key"), "hunter2")
		})
		t.Run("a replica that was saving under the old schema has marked it too", func(t *testing.T) {
			schema(t, twoFields)
			configure(t, `{"region":"eu","token":"hunter2"}`)
			testkit.Must(db.Exec(ctx, h.store, `UPDATE services SET config_schema = $2 WHERE id = $1`, s, open))(t)
			hidden(t, eu, "token")
		})
		t.Run("to touch it is still to touch a secret", func(t *testing.T) {
			h.asked = 0
			configure(t, `{"region":"eu"}`)
			testkit.Equal(t, h.asked, 0)
			configure(t, `{"region":"eu","token":"plain"}`)
			testkit.Equal(t, h.asked, len(all))
		})
		t.Run("a value that is set when the schema shows it is shown", func(t *testing.T) {
			hidden(t, map[string]any{"region": "eu", "token": "plain"})
		})
		t.Run("one that was stored without a mark gets it when its schema goes", func(t *testing.T) {
			configure(t, `{"region":"eu","token":"hunter2"}`)
			hides := strings.Replace(open, `"string"}}`, `"string","writeOnly":true}}`, 1)
			testkit.Must(db.Exec(ctx, h.store, `UPDATE services SET config_schema = $2 WHERE id = $1`, s, hides))(t)
			schema(t, open)
			hidden(t, eu, "token")
		})
		t.Run("without a schema everything is hidden, and stays so under the next", func(t *testing.T) {
			testkit.Must(h.UpdateService(ctx, h.home, s, catalog.ServiceChange{Headers: map[string]*string{"X-Key": nil}}))(t)
			schema(t, "null")
			schema(t, open)
			hidden(t, map[string]any{}, "region", "token")
		})
	})
}

func TestUserScope(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		d := testkit.Must(h.CreateServer(ctx, h.home, withSchema("one", tokenSchema, catalog.ForUser)))(t)
		s := d.Service.ID
		ann, bob, key := *h.home, *h.home, *h.home
		bob.User = id.New("user")
		key.Kind, key.User = access.OrganizationKey, ""
		bound := func(p *access.Principal) (identity, token string) {
			t.Helper()
			w := testkit.Must(h.resolver.Workspace(ctx, h.home.Organization, h.home.Workspace))(t)
			v, _ := w.Server("one")
			b, err := h.resolver.Bind(ctx, v, p)
			if err != nil {
				testkit.Fault(t, err, "catalog.unconfigured")
				return "", ""
			}
			return b.Identity, b.Headers[0].Value.Reveal()
		}
		testkit.Must(h.Configure(ctx, &ann, s, []byte(`{"token":"anns-token"}`)))(t)
		_, token := bound(&ann)
		testkit.Equal(t, token, "Bearer anns-token")
		t.Run("is relative to the caller", func(t *testing.T) {
			_, token := bound(&bob)
			testkit.Equal(t, token, "")
			list, _, err := h.ListServices(ctx, &bob, "", catalog.Page{})
			testkit.Must0(t, err)
			testkit.Equal(t, list[0].Configured, false)
		})
		t.Run("falls back to the organization's and prefers the user's", func(t *testing.T) {
			testkit.Must(h.Configure(ctx, &key, s, []byte(`{"token":"shared-token"}`)))(t)
			i1, token := bound(&bob)
			testkit.Equal(t, token, "Bearer shared-token")
			i2, token := bound(&ann)
			testkit.Equal(t, token, "Bearer anns-token")
			i3, token := bound(&key)
			testkit.Equal(t, token, "Bearer shared-token")
			if i1 == i2 || i1 != i3 {
				t.Errorf("identities %q %q %q", i1, i2, i3)
			}
			testkit.Must(h.Configure(ctx, &ann, s, []byte(`{"token":"anns-second"}`)))(t)
			if i4, token := bound(&ann); i4 == i2 || token != "Bearer anns-second" {
				t.Errorf("a new configuration kept the identity %q or its token", i4)
			}
			testkit.Must0(t, h.Unconfigure(ctx, &ann, s))
			_, token = bound(&ann)
			testkit.Equal(t, token, "Bearer shared-token")
		})
	})
}

func TestSchemas(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t))
	ctx := t.Context()
	deep := strings.Repeat(`{"properties":{"a":`, 40) + `{}` + strings.Repeat(`}}`, 40)
	bomb := `{"type":"object","properties":{"a":{"$ref":"#/$defs/d0"}},"$defs":{`
	for i := range 30 {
		bomb += fmt.Sprintf(`"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	bomb += `"d30":{}}}`
	for name, schema := range map[string]string{
		"no object":            `{"type":"string"}`,
		"a list":               `[]`,
		"garbage":              `{"type":`,
		"another dialect":      `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}`,
		"a network reference":  `{"type":"object","properties":{"a":{"$ref":"https://example.com/s.json"}}}`,
		"a file reference":     `{"type":"object","properties":{"a":{"$ref":"file:///etc/passwd"}}}`,
		"a keyword's nonsense": `{"type":"object","required":"a"}`,
		"a bad pattern":        `{"type":"object","properties":{"a":{"pattern":"("}}}`,
		"recursion":            `{"type":"object","properties":{"a":{"$ref":"#"}}}`,
		"a second base":        `{"type":"object","properties":{"a":{"$id":"x"}}}`,
		"too deep":             `{"type":"object","properties":{"a":` + deep + `}}`,
		"unfolding references": bomb,
		"too long":             `{"type":"object","description":"` + strings.Repeat("a", 70<<10) + `"}`,
	} {
		t.Run(name+" is refused at once", func(t *testing.T) {
			in := service("s")
			in.ConfigSchema = json.RawMessage(schema)
			start := time.Now()
			_, err := h.CreateService(ctx, h.home, in)
			testkit.Fault(t, err, "catalog.bad_schema")
			if d := time.Since(start); d > time.Second {
				t.Errorf("took %s", d)
			}
		})
	}
	t.Run("secrets are found wherever they are marked", func(t *testing.T) {
		for i, c := range []struct{ schema, config, secret string }{
			{`{"properties":{"a":{"x-secret":true}}}`, `{"a":"v"}`, "a"},
			{`{"properties":{"a":{"writeOnly":true}}}`, `{"a":"v"}`, "a"},
			{`{"properties":{"a":{"type":"object","properties":{"b":{"format":"password"}}}}}`, `{"a":{"b":"v"}}`, "a"},
			{`{"properties":{"a":{"type":"array","items":{"x-secret":true}}}}`, `{"a":["v"]}`, "a"},
			{`{"properties":{"a":{"$ref":"#/$defs/t"}},"$defs":{"t":{"x-secret":true}}}`, `{"a":"v"}`, "a"},
			{`{"properties":{"a":{"$ref":"#t"}},"$defs":{"t":{"$anchor":"t","type":"string","format":"password"}}}`, `{"a":"v"}`, "a"},
			{`{"allOf":[{"properties":{"a":{"x-secret":true}}}]}`, `{"a":"v"}`, "a"},
			{`{"$ref":"#/$defs/t","$defs":{"t":{"properties":{"a":{"x-secret":true}}}}}`, `{"a":"v"}`, "a"},
			{`{"additionalProperties":{"x-secret":true}}`, `{"a":"v"}`, "a"},
			{`{"patternProperties":{"^a":{"format":"password"}},"properties":{"b":{}}}`, `{"a":"v","b":"w"}`, "a"},
		} {
			in := service(fmt.Sprintf("secret-%d", i))
			in.ConfigSchema = json.RawMessage(strings.Replace(c.schema, "{", `{"type":"object",`, 1))
			s := testkit.Must(h.CreateService(ctx, h.home, in))(t)
			testkit.Must(h.Configure(ctx, h.home, s.ID, []byte(c.config)))(t)
			got := testkit.Must(h.Configuration(ctx, h.home, s.ID))(t)
			if len(got.Secrets) != 1 || got.Secrets[0] != c.secret || got.Values["a"] != nil {
				t.Errorf("%s: shown %v, secrets %v", c.schema, got.Values, got.Secrets)
			}
		}
	})
}

func TestResolver(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		get := func() *catalog.Workspace {
			t.Helper()
			return testkit.Must(h.resolver.Workspace(ctx, h.home.Organization, h.home.Workspace))(t)
		}
		d := testkit.Must(h.CreateServer(ctx, h.home, server("one")))(t)
		first := get()
		t.Run("a warm look-up costs no query", func(t *testing.T) {
			before := h.store.Queries()
			s, _ := get().Server("one")
			testkit.Must(h.resolver.Bind(ctx, s, h.home))(t)
			testkit.Equal(t, h.store.Queries()-before, int64(0))
		})
		t.Run("an address, a header or an era makes a new version, a name does not", func(t *testing.T) {
			version := func() int64 { s, _ := get().Server(d.ID); return s.Version }
			v := version()
			for i, ch := range []catalog.ServiceChange{{URL: ptr("https://two.example.com/")}, {Headers: map[string]*string{"X-A": ptr("1")}}, {Headers: map[string]*string{"x-a": nil}}, {Era: ptr(catalog.Modern)}} {
				testkit.Must(h.UpdateServer(ctx, h.home, d.ID, catalog.ServerChange{ServiceChange: ch}))(t)
				if got := version(); got != v+1 {
					t.Errorf("change %d: version %d after %d", i, got, v)
				}
				v = version()
			}
			testkit.Must(h.UpdateServer(ctx, h.home, d.ID, catalog.ServerChange{ServiceChange: catalog.ServiceChange{Name: ptr("Weather")}}))(t)
			testkit.Equal(t, version(), v)
		})
		t.Run("timeouts are the server's, the tool's, the service's", func(t *testing.T) {
			testkit.Must(h.UpdateServer(ctx, h.home, d.ID, catalog.ServerChange{Timeout: ptr(2 * time.Second), ToolTimeouts: map[string]*time.Duration{"slow": ptr(time.Minute)}}))(t)
			s, _ := get().Server("one")
			if s.TimeoutOf("x") != 2*time.Second || s.TimeoutOf("slow") != time.Minute {
				t.Errorf("got %s, %s", s.TimeoutOf("x"), s.TimeoutOf("slow"))
			}
			testkit.Must(h.UpdateServer(ctx, h.home, d.ID, catalog.ServerChange{Timeout: ptr(time.Duration(0)), ToolTimeouts: map[string]*time.Duration{"slow": nil}}))(t)
			s, _ = get().Server("one")
			testkit.Equal(t, s.TimeoutOf("slow"), catalog.DefaultTimeout)
		})
		t.Run("a snapshot in use never changes", func(t *testing.T) {
			s, _ := first.Server("one")
			testkit.Equal(t, s.URL, "https://mcp.example.com/mcp")
		})
		t.Run("other organizations' changes leave it alone", func(t *testing.T) {
			w := get()
			testkit.Must(h.CreateServer(ctx, h.customer, server("one")))(t)
			testkit.Equal(t, get().Version, w.Version)
		})
		t.Run("whoever asks after a change has returned sees it, under load", func(t *testing.T) {
			stop := make(chan struct{})
			var wg sync.WaitGroup
			other := testkit.Must(h.CreateServer(ctx, h.home, server("two")))(t).Service.ID
			loop := func(do func(i int)) {
				wg.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
							do(i)
							runtime.Gosched()
						}
					}
				})
			}
			// One keeps making the workspace old, so that the other is always loading it.
			loop(func(i int) { _, _ = h.SetPrices(ctx, h.home, other, catalog.PriceChange{Default: ptr(int64(i))}) })
			loop(func(int) { _, _ = h.resolver.Workspace(ctx, h.home.Organization, h.home.Workspace) })
			for i := range map[db.Engine]int{db.SQLite: 100, db.PostgreSQL: 30}[h.store.Engine()] {
				testkit.Must(h.SetPrices(ctx, h.home, d.Service.ID, catalog.PriceChange{Default: ptr(int64(100 + i))}))(t)
				if s, _ := get().Server("one"); s.DefaultPrice != int64(100+i) {
					t.Errorf("price %d after %d was set", s.DefaultPrice, 100+i)
				}
			}
			close(stop)
			wg.Wait()
		})
	})
}
