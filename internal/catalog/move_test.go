package catalog_test

import (
	"encoding/json"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/id"
	"headgate/internal/testkit"
)

func TestSecretsStayAtTheirOrigin(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		const old, other = "https://mcp.example.com/mcp", "https://elsewhere.example.com/mcp"
		secret := map[string]string{"Authorization": "Bearer hunter2"}
		made := func(t *testing.T, headers map[string]string) (*catalog.ServerDetail, func(catalog.ServiceChange) error) {
			t.Helper()
			in := server("s" + strings.ToLower(id.New("srv")[20:]))
			in.URL, in.Headers = old, headers
			in.ConfigSchema, in.ConfigScope = json.RawMessage(twoFields), catalog.ForUser
			d := testkit.Must(h.CreateServer(ctx, h.home, in))(t)
			return d, func(ch catalog.ServiceChange) error {
				_, err := h.UpdateServer(ctx, h.home, d.ID, catalog.ServerChange{ServiceChange: ch})
				return err
			}
		}
		t.Run("another scheme, host or port is refused, and nothing has changed", func(t *testing.T) {
			d, update := made(t, secret)
			for _, url := range []string{other, "https://mcp.example.com:8443/mcp", "http://mcp.example.com/mcp", "https://mcp.example.com.evil.example/mcp"} {
				err := update(catalog.ServiceChange{URL: ptr(url), Name: ptr("Moved"), Headers: map[string]*string{"X-Other": ptr("b")}})
				testkit.Fault(t, err, "catalog.other_origin")
				if strings.Contains(err.Error(), "hunter2") {
					t.Error("the fault holds the secret")
				}
			}
			got := testkit.Must(h.GetServer(ctx, h.home, d.ID))(t)
			testkit.Equal(t, []any{got.Service.URL, got.Name, len(got.Service.HeaderNames)}, []any{old, d.Name, 1})
		})
		t.Run("another path, or the same origin in other letters, is fine", func(t *testing.T) {
			_, update := made(t, secret)
			for _, url := range []string{"https://mcp.example.com/v2/mcp?page=2", "https://MCP.example.com:443/mcp"} {
				testkit.Must0(t, update(catalog.ServiceChange{URL: ptr(url)}))
			}
		})
		t.Run("headers that are given again go along, in whatever letters", func(t *testing.T) {
			d, update := made(t, secret)
			testkit.Must0(t, update(catalog.ServiceChange{URL: ptr(other), Headers: map[string]*string{"authorization": ptr("Bearer new")}}))
			testkit.Equal(t, header(testkit.Must(h.bind(t, h.home, h.home.Workspace, d.Slug))(t), "authorization"), "Bearer new")
		})
		t.Run("so does a server whose headers are removed", func(t *testing.T) {
			_, update := made(t, secret)
			testkit.Must0(t, update(catalog.ServiceChange{URL: ptr(other), Headers: map[string]*string{"Authorization": nil}}))
		})
		t.Run("and one whose headers are references, which anybody who changes it may write", func(t *testing.T) {
			_, update := made(t, map[string]string{"Authorization": "Bearer {{secret.TOKEN}}", "X-Where": "{{config.region}}"})
			testkit.Must0(t, update(catalog.ServiceChange{URL: ptr(other)}))
		})
		t.Run("a person's configured secret stays, whatever the update does to the schema", func(t *testing.T) {
			d, update := made(t, nil)
			colleague := *h.home
			colleague.User = id.New("user")
			testkit.Must(h.Configure(ctx, &colleague, d.Service.ID, json.RawMessage(`{"region":"eu"}`)))(t)
			testkit.Must0(t, update(catalog.ServiceChange{URL: ptr("https://second.example.com/mcp")})) // no secret is among it
			testkit.Must(h.Configure(ctx, &colleague, d.Service.ID, json.RawMessage(`{"token":"hunter2"}`)))(t)
			for _, ch := range []catalog.ServiceChange{
				{URL: ptr(other)},
				{URL: ptr(other), ConfigSchema: ptr(json.RawMessage(strings.Replace(twoFields, `,"writeOnly":true`, "", 1)))},
				{URL: ptr(other), ConfigSchema: ptr(json.RawMessage("null"))},
				{URL: ptr(other), ConfigScope: ptr(catalog.ForOrganization), Headers: map[string]*string{"X-Key": ptr("{{config.token}}")}},
			} {
				testkit.Fault(t, update(ch), "catalog.other_origin")
			}
			testkit.Must0(t, h.Unconfigure(ctx, &colleague, d.Service.ID))
			testkit.Must0(t, update(catalog.ServiceChange{URL: ptr(other)}))
		})
		t.Run("the same holds for an organization's own service, and for one on offer", func(t *testing.T) {
			for name, by := range map[string]*access.Principal{"custom": h.customer, "offer": h.operator} {
				in := service(name)
				in.URL, in.Headers, in.ConfigSchema = old, secret, json.RawMessage(twoFields)
				s := testkit.Must(h.CreateService(ctx, by, in))(t)
				_, err := h.UpdateService(ctx, by, s.ID, catalog.ServiceChange{URL: ptr(other)})
				testkit.Fault(t, err, "catalog.other_origin")
				testkit.Must(h.UpdateService(ctx, by, s.ID, catalog.ServiceChange{URL: ptr(other), Headers: map[string]*string{"authorization": nil}}))(t)
				testkit.Must(h.Configure(ctx, h.customer, s.ID, json.RawMessage(`{"token":"hunter2"}`)))(t)
				_, err = h.UpdateService(ctx, by, s.ID, catalog.ServiceChange{URL: ptr(old)})
				if by == h.operator { // customers trust the seller with it, wherever the seller's server is
					testkit.Must0(t, err)
				} else {
					testkit.Fault(t, err, "catalog.other_origin")
				}
			}
		})
	})
}
