package template_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/template"
	"headgate/internal/testkit"
	"headgate/internal/workspace"
)

const weatherSchema = `{"type":"object","required":["pin","region"],"properties":{"region":{"type":"string","enum":["eu","us"]},"pin":{"type":"string","pattern":"^[0-9]{4}$","writeOnly":true},"big":{"type":"integer"}}}`

// seller turns an organization into one that may set prices.
func (h *house) seller(by *access.Principal) {
	h.exec(`UPDATE organizations SET home = TRUE WHERE id = $1`, by.Organization)
}

// furnish gives an organization one of everything that a recipe carries.
func (h *house) furnish(by *access.Principal) {
	t, ctx := h.t, h.t.Context()
	h.seller(by)
	price, dear, second := int64(3), int64(40), 2*time.Second
	input := catalog.ServiceInput{Slug: "weather", URL: "https://weather.example.com/mcp", Headers: map[string]string{"X-Pin": "{{config.pin}}", "X-Key": "hunter2"}, ConfigSchema: json.RawMessage(weatherSchema), Price: &price, ReadPrice: &price}
	shared := testkit.Must(h.catalog.CreateService(ctx, by, input))(t)
	configure := func(service string) {
		testkit.Must(h.catalog.Configure(ctx, by, service, json.RawMessage(`{"region":"eu","pin":"4711","big":9007199254740993}`)))(t)
	}
	configure(shared.ID)
	testkit.Must(h.catalog.SetPrices(ctx, by, shared.ID, catalog.PriceChange{Tools: map[string]*int64{"forecast": &dear}}))(t)
	testkit.Must(h.workspaces.Provision(ctx, by, workspace.Spec{Organization: by.Organization, Name: "Büro", Slug: "office", Description: "Where it happens."}))(t)
	named := testkit.Must(h.catalog.CreateServer(ctx, by, catalog.ServerInput{Workspace: "office", Service: shared.ID, ServiceInput: catalog.ServiceInput{Slug: "sky", Timeout: time.Second}}))(t)
	input.Slug = "own"
	own := testkit.Must(h.catalog.CreateServer(ctx, by, catalog.ServerInput{Workspace: "office", ServiceInput: input}))(t)
	configure(own.Service.ID)
	no := false
	testkit.Must(h.catalog.SetPrices(ctx, by, own.Service.ID, catalog.PriceChange{ChargeRejected: &no, Tools: map[string]*int64{"forecast": &dear}}))(t)
	for _, server := range []string{named.ID, own.ID} {
		testkit.Must(h.catalog.UpdateServer(ctx, by, server, catalog.ServerChange{ToolTimeouts: map[string]*time.Duration{"forecast": &second}}))(t)
	}
	testkit.Must(h.workspaces.SetBilling(ctx, by, by.Organization, "", workspace.BYOK))(t)
	name, slug := "Head office", "head"
	testkit.Must(h.workspaces.Update(ctx, by, by.Organization, "default", workspace.Change{Name: &name, Slug: &slug}))(t)
	testkit.Must(h.catalog.SetAllowlist(ctx, by, []string{shared.ID, own.Service.ID}, "Ada"))(t)
}

// rewritten is a document as another program would write it again.
func rewritten(t *testing.T, v any) []byte {
	var doc map[string]any
	dec := json.NewDecoder(strings.NewReader(string(testkit.Must(json.Marshal(v))(t))))
	dec.UseNumber()
	testkit.Must0(t, dec.Decode(&doc))
	return testkit.Must(json.MarshalIndent(doc, "", "  "))(t)
}

// An organization made anew elsewhere is equal but for ids and secrets, with
// everything that its servers are and cost.
func TestWholeOrganization(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		by, other := h.organization(), h.organization()
		ctx := t.Context()
		h.furnish(by)
		recipe := testkit.Must(h.ExportOrganization(ctx, by, "All"))(t)
		text := rewritten(t, recipe)
		for _, secret := range []string{"hunter2", "4711"} {
			if strings.Contains(string(text), secret) {
				t.Fatalf("a secret is in the recipe:\n%s", text)
			}
		}
		h.seller(other)
		_, err := h.importing(t, other, string(text), "")
		testkit.Fault(t, err, "template.missing_env")
		for _, name := range []string{"WEATHER_X_KEY", "WEATHER_PIN", "OWN_X_KEY", "OWN_PIN"} {
			h.secret(other, name)
		}
		res := testkit.Must(h.importing(t, other, string(text), template.Reconcile))(t)
		testkit.Equal(t, []any{res.State, res.ReconcileErrors, states(res)}, []any{template.Done, []string(nil), map[string]string{"Head office": "updated", "Büro": "created"}})
		testkit.Equal(t, testkit.Must(h.ExportOrganization(ctx, other, "All"))(t), recipe)

		servers := testkit.Must(h.catalog.ListServers(ctx, other, "office"))(t)
		testkit.Equal(t, []any{servers[0].Slug, servers[0].Timeout, servers[0].ToolTimeouts["forecast"], servers[1].Slug, servers[1].ToolTimeouts["forecast"]},
			[]any{"sky", time.Second, 2 * time.Second, "own", 2 * time.Second})
		for _, d := range servers {
			if !d.Service.Configured {
				t.Errorf("%s is not configured", d.Slug)
			}
			c := testkit.Must(h.catalog.Configuration(ctx, other, d.Service.ID))(t)
			testkit.Equal(t, []any{c.Values["region"], c.Values["big"], c.Secrets}, []any{"eu", json.Number("9007199254740993"), []string{"pin"}})
			p := testkit.Must(h.catalog.Prices(ctx, other, d.Service.ID, time.Time{}))(t)
			testkit.Equal(t, []any{p.Default, p.Read, p.Tools, p.ChargeRejected}, []any{int64(3), int64(3), map[string]int64{"forecast": 40}, d.Slug == "sky"})
		}
		allowed := testkit.Must(h.catalog.Allowlist(ctx, other))(t)
		testkit.Equal(t, []any{len(allowed), allowed[0].EnabledBy}, []any{2, "Ada"})
		testkit.Equal(t, testkit.Must(h.workspaces.Billing(ctx, other.Organization, ""))(t).Organization, workspace.BYOK)
		if w := testkit.Must(h.workspaces.Get(ctx, other.Organization, "head"))(t); !w.Default {
			t.Errorf("the default workspace is %+v", w)
		}
		t.Run("made again, nothing is there twice, and what was configured since stays", func(t *testing.T) {
			testkit.Must(h.catalog.Configure(ctx, other, servers[1].Service.ID, json.RawMessage(`{"region":"us","pin":"1234"}`)))(t)
			res := testkit.Must(h.importing(t, other, string(text), ""))(t)
			testkit.Equal(t, res.State, template.Done)
			testkit.Equal(t, len(testkit.Must(h.catalog.ListServers(ctx, other, "office"))(t)), 2)
			testkit.Equal(t, testkit.Must(h.catalog.Configuration(ctx, other, servers[1].Service.ID))(t).Values["region"], any("us"))
		})
		t.Run("prices are a seller's: nobody sets them through a recipe", func(t *testing.T) {
			buyer := h.organization()
			for _, name := range []string{"WEATHER_X_KEY", "WEATHER_PIN", "OWN_X_KEY", "OWN_PIN"} {
				h.secret(buyer, name)
			}
			_, err := h.importing(t, buyer, string(text), "")
			testkit.Fault(t, err, "catalog.not_seller")
			testkit.Equal(t, len(h.names(buyer)), 1)
			_, err = h.importing(t, buyer, `{"name":"X","workspaces":[{"name":"A","servers":[{"slug":"a","url":"https://mcp.example.com/","tool_prices":{"x":0}}]}]}`, "")
			testkit.Must0(t, err)
			testkit.Equal(t, len(h.names(buyer)), 1)
		})
	})
}

func TestWholeBundle(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		by, other := h.organization(), h.organization()
		ctx := t.Context()
		h.furnish(by)
		h.seller(other)
		b := testkit.Must(h.Export(ctx, by, "office"))(t)
		testkit.Equal(t, []any{len(b.Services), len(b.Servers), b.RequiredEnv}, []any{1, 2, []template.Need{{"OWN_PIN"}, {"OWN_X_KEY"}, {"WEATHER_PIN"}, {"WEATHER_X_KEY"}}})
		res := testkit.Must(h.ImportBundle(ctx, other, rewritten(t, b), "", false, ""))(t)
		again := testkit.Must(h.Export(ctx, other, res.Root.ID))(t)
		testkit.Equal(t, []any{res.Signed, again.Node, again.Services}, []any{true, b.Node, b.Services})
		for name, change := range map[string]func(*template.Bundle){
			"a price": func(b *template.Bundle) { b.Servers[1].Price = nil },
			"a configuration": func(b *template.Bundle) {
				b.Servers[1].Configuration = template.Document(`{"pin":"{{secret.OWN_PIN}}","region":"us"}`)
			},
			"a shared service":   func(b *template.Bundle) { b.Services[0].URL = "https://evil.example.com/" },
			"no shared services": func(b *template.Bundle) { b.Services = nil },
		} {
			var changed template.Bundle
			testkit.Must0(t, json.Unmarshal(testkit.Must(json.Marshal(b))(t), &changed))
			change(&changed)
			_, err := h.ImportBundle(ctx, other, testkit.Must(json.Marshal(changed))(t), "", false, "")
			if code(err) != "template.digest" {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// A server of one's own that is called like a service on offer does not stand
// in its way.
func TestServiceBySlug(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		by := h.organization()
		ctx := t.Context()
		operator := &access.Principal{Kind: access.OperatorKey, Scopes: access.Every}
		offered := testkit.Must(h.catalog.CreateService(ctx, operator, catalog.ServiceInput{Slug: "mail", URL: "https://mail.example.com/mcp"}))(t)
		testkit.Must(h.catalog.CreateServer(ctx, by, catalog.ServerInput{Workspace: "default", ServiceInput: catalog.ServiceInput{Slug: "mail", URL: "https://own.example.com/mcp"}}))(t)
		testkit.Must(h.importing(t, by, `{"name":"X","workspaces":[{"name":"A","servers":[{"slug":"post","service":"mail"}]}]}`, ""))(t)
		made := testkit.Must(h.catalog.CreateServer(ctx, by, catalog.ServerInput{Workspace: "default", Service: "mail", ServiceInput: catalog.ServiceInput{Slug: "again"}}))(t)
		for _, d := range append(testkit.Must(h.catalog.ListServers(ctx, by, "a"))(t), made) {
			testkit.Equal(t, d.Service.ID, offered.ID)
		}
		_, err := h.catalog.CreateServer(ctx, by, catalog.ServerInput{Workspace: "default", Service: "nobody", ServiceInput: catalog.ServiceInput{Slug: "x"}})
		testkit.Fault(t, err, "catalog.service_not_found")
	})
}
