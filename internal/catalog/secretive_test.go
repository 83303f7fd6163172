package catalog_test

import (
	"encoding/json"
	"errors"
	"testing"

	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/testkit"
)

const twoFields = `{"type":"object","properties":{"region":{"type":"string"},"token":{"type":"string","writeOnly":true}}}`

func TestSecretsAreAskedAbout(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		in := server("notes")
		in.Headers, in.ConfigSchema = map[string]string{"X-Own": "hunter2", "X-Vault": "Bearer {{secret.TOKEN}}"}, json.RawMessage(twoFields)
		d := testkit.Must(h.CreateServer(ctx, h.home, in))(t)
		offered := service("shop")
		offered.ConfigSchema = json.RawMessage(twoFields)
		shop := testkit.Must(h.CreateService(ctx, h.home, offered))(t)
		create := func(slug, url string, headers map[string]string) error {
			in := server(slug)
			in.URL, in.Headers = url, headers
			_, err := h.CreateServer(ctx, h.home, in)
			return err
		}
		update := func(ch catalog.ServiceChange) error {
			_, err := h.UpdateServer(ctx, h.home, d.ID, catalog.ServerChange{ServiceChange: ch})
			return err
		}
		headers := func(name string, value *string) error {
			return update(catalog.ServiceChange{Headers: map[string]*string{name: value}})
		}
		configure := func(text string) error {
			_, err := h.Configure(ctx, h.home, shop.ID, json.RawMessage(text))
			return err
		}
		const plain = "https://mcp.example.com/mcp"
		for _, c := range []struct {
			promise string
			asks    bool
			do      func() error
		}{
			{"a new server without headers is none of it", false, func() error { return create("a", plain, nil) }},
			{"nor one whose headers are made of references", false, func() error {
				in := server("b")
				in.Headers, in.ConfigSchema = map[string]string{"Authorization": "Bearer {{secret.TOKEN}}", "X-Where": "{{config.region}}"}, json.RawMessage(twoFields)
				_, err := h.CreateServer(ctx, h.home, in)
				return err
			}},
			{"a header's value is a secret", true, func() error { return create("c", plain, map[string]string{"Authorization": "Bearer hunter2"}) }},
			{"so is text around a reference", true, func() error { return create("d", plain, map[string]string{"X-Key": "hunter2{{secret.TOKEN}}"}) }},
			{"and a credential in the address", true, func() error { return create("e", plain+"?api_key=hunter2", nil) }},
			{"but no other parameter", false, func() error { return create("f", plain+"?page=2", nil) }},
			{"a name is none", false, func() error { return update(catalog.ServiceChange{Name: ptr("N")}) }},
			{"a header may be set to a reference", false, func() error { return headers("X-More", ptr("{{secret.MORE}}")) }},
			{"and such a one be taken away", false, func() error { return headers("x-more", nil) }},
			{"one that is set to text is a secret", true, func() error { return headers("X-More", ptr("hunter3")) }},
			{"even to what it was, so that nobody learns it by guessing", true, func() error { return headers("X-More", ptr("hunter3")) }},
			{"one that was text is replaced", true, func() error { return headers("x-more", ptr("{{secret.MORE}}")) }},
			{"or taken away", true, func() error { return headers("x-own", nil) }},
			{"a new address with a credential", true, func() error { return update(catalog.ServiceChange{URL: ptr(plain + "?token=x")}) }},
			{"and its end", true, func() error { return update(catalog.ServiceChange{URL: ptr(plain)}) }},
			{"a secret field may hold a reference", false, func() error { return configure(`{"region":"eu","token":"{{secret.TOKEN}}"}`) }},
			{"a field that is no secret changes", false, func() error { return configure(`{"region":"us"}`) }},
			{"a secret field's value is a secret", true, func() error { return configure(`{"token":"hunter2"}`) }},
			{"it stays where it is left out", false, func() error { return configure(`{"region":"eu"}`) }},
			{"it is replaced", true, func() error { return configure(`{"token":"{{secret.TOKEN}}"}`) }},
			{"a configuration of references is forgotten", false, func() error { return h.Unconfigure(ctx, h.home, shop.ID) }},
			{"one with a secret is made", true, func() error { return configure(`{"token":"hunter2"}`) }},
			{"and forgotten", true, func() error { return h.Unconfigure(ctx, h.home, shop.ID) }},
		} {
			h.asked = 0
			if err := c.do(); err != nil {
				t.Fatalf("%s: %v", c.promise, err)
			}
			if (h.asked > 0) != c.asks {
				t.Errorf("%s: asked %d times", c.promise, h.asked)
			}
		}
		t.Run("refused, nothing has happened", func(t *testing.T) {
			testkit.Must0(t, configure(`{"token":"hunter2"}`))
			state := func() string {
				events := testkit.Must(db.Value[int64](ctx, h.store, `SELECT COUNT(*) FROM events`))(t)
				servers := testkit.Must(h.ListServers(ctx, h.home, ""))(t)
				kept := testkit.Must(h.Configuration(ctx, h.home, shop.ID))(t)
				return string(testkit.Must(json.Marshal([]any{events, servers, kept}))(t))
			}
			before := state()
			h.deny = errors.New("not now")
			defer func() { h.deny = nil }()
			for name, do := range map[string]func() error{
				"create":      func() error { return create("x", plain, map[string]string{"X-Key": "hunter2"}) },
				"update":      func() error { return headers("X-Key", ptr("hunter2")) },
				"configure":   func() error { return configure(`{"region":"us","token":"hunter3"}`) },
				"unconfigure": func() error { return h.Unconfigure(ctx, h.home, shop.ID) },
				"service": func() error {
					in := service("s")
					in.Headers = map[string]string{"X-Key": "hunter2"}
					_, err := h.CreateService(ctx, h.home, in)
					return err
				},
			} {
				if err := do(); !errors.Is(err, h.deny) {
					t.Errorf("%s: %v", name, err)
				}
			}
			testkit.Equal(t, state(), before)
		})
		t.Run("no event holds an address's credential", func(t *testing.T) {
			n := testkit.Must(db.Value[int64](ctx, h.store, `SELECT COUNT(*) FROM events WHERE details LIKE '%hunter%'`))(t)
			testkit.Equal(t, n, int64(0))
		})
	})
}
