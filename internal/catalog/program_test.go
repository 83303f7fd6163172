package catalog_test

import (
	"encoding/json"
	"testing"

	"headgate/internal/catalog"
	"headgate/internal/seal"
	"headgate/internal/testkit"
	"headgate/internal/vault"
)

// program is a stdio service as the operator offers it.
func program(slug string) catalog.ServiceInput {
	return catalog.ServiceInput{Slug: slug, Transport: catalog.Stdio, Command: json.RawMessage(`{"entry":"notes"}`), ConfigScope: catalog.ForUser,
		ConfigSchema: json.RawMessage(`{"type":"object","properties":{"token":{"type":"string","x-secret":true},"depth":{"type":"integer"}}}`)}
}

func TestPrograms(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		t.Run("only the operator offers them", func(t *testing.T) {
			_, err := h.CreateService(ctx, h.home, program("mine"))
			testkit.Fault(t, err, "catalog.command")
			_, err = h.CreateServer(ctx, h.home, catalog.ServerInput{ServiceInput: program("mine")})
			testkit.Fault(t, err, "catalog.command")
			in := service("web")
			in.Command = json.RawMessage(`{"argv":["/bin/sh"]}`)
			_, err = h.CreateService(ctx, h.home, in)
			testkit.Fault(t, err, "catalog.transport")
			web := testkit.Must(h.CreateServer(ctx, h.home, server("web")))(t)
			_, err = h.UpdateServer(ctx, h.home, web.ID, catalog.ServerChange{ServiceChange: catalog.ServiceChange{Command: &in.Command}})
			testkit.Fault(t, err, "catalog.transport")
		})
		t.Run("a command goes without a URL", func(t *testing.T) {
			in := program("odd")
			in.URL = "https://mcp.example.com/mcp"
			_, err := h.CreateService(ctx, h.operator, in)
			testkit.Fault(t, err, "catalog.invalid")
		})
		offered := testkit.Must(h.CreateService(ctx, h.operator, program("notes")))(t)
		d := testkit.Must(h.CreateServer(ctx, h.home, catalog.ServerInput{Service: offered.ID, ServiceInput: catalog.ServiceInput{Slug: "notes"}}))(t)
		t.Run("a tenant cannot change the command of its server, nor see it", func(t *testing.T) {
			other := json.RawMessage(`{"argv":["/bin/sh"]}`)
			_, err := h.UpdateServer(ctx, h.home, d.ID, catalog.ServerChange{ServiceChange: catalog.ServiceChange{Command: &other}})
			testkit.Fault(t, err, "catalog.invalid")
			_, err = h.UpdateService(ctx, h.home, offered.ID, catalog.ServiceChange{Command: &other})
			testkit.Fault(t, err, "catalog.service_not_found")
			if s := testkit.Must(h.GetService(ctx, h.home, offered.ID))(t); s.Command != nil {
				t.Errorf("shown: %s", s.Command)
			}
		})
		bind := func(user string) *catalog.Binding {
			t.Helper()
			w := testkit.Must(h.resolver.Workspace(ctx, h.home.Organization, h.home.Workspace))(t)
			s, _ := w.Server(d.ID)
			by := *h.home
			by.User = user
			return testkit.Must(h.resolver.Bind(ctx, s, &by))(t)
		}
		t.Run("users have bindings of their own, configured or not", func(t *testing.T) {
			a, b, nobody := bind("user_a"), bind("user_b"), bind("")
			if a.User != "user_a" || b.User != "user_b" || nobody.User != "" || a.Identity == b.Identity || a.Identity == nobody.Identity {
				t.Errorf("%+v %+v %+v", a, b, nobody)
			}
		})
		t.Run("what a user filled in is in the binding", func(t *testing.T) {
			before := bind(h.home.User)
			testkit.Must(h.Configure(ctx, h.home, offered.ID, json.RawMessage(`{"token":"hunter2","depth":3}`)))(t)
			after := bind(h.home.User)
			if after.Config["token"] != "hunter2" || after.Config["depth"] != json.Number("3") || after.Identity == before.Identity || after.User != h.home.User {
				t.Errorf("%+v", after)
			}
		})
		t.Run("the schema holds a program's value also where a secret stands for it", func(t *testing.T) {
			v, _, _ := h.secrets(t)
			in := program("strict")
			in.ConfigSchema = json.RawMessage(`{"type":"object","properties":{"mode":{"type":"string","enum":["fast","safe"]}}}`)
			strict := testkit.Must(h.CreateService(ctx, h.operator, in))(t)
			made := testkit.Must(h.CreateServer(ctx, h.home, catalog.ServerInput{Service: strict.ID, ServiceInput: catalog.ServiceInput{Slug: "strict"}}))(t)
			testkit.Must(h.Configure(ctx, h.home, strict.ID, json.RawMessage(`{"mode":"{{secret.MODE}}"}`)))(t)
			for value, fits := range map[string]bool{"fast": true, "--delete-everything": false} {
				testkit.Must(v.Set(ctx, h.home, vault.Place{Organization: h.home.Organization}, "MODE", seal.NewValue(value)))(t)
				b, err := h.bind(t, h.home, h.home.Workspace, made.Slug)
				if fits && (err != nil || b.Config["mode"] != value) {
					t.Errorf("%s: %+v %v", value, b, err)
				}
				if !fits {
					testkit.Fault(t, err, "catalog.unconfigured")
				}
			}
		})
		t.Run("the operator changes the command, and the server's version rises", func(t *testing.T) {
			version := func() int64 {
				w := testkit.Must(h.resolver.Workspace(ctx, h.home.Organization, h.home.Workspace))(t)
				s, _ := w.Server(d.ID)
				return s.Version
			}
			before := version()
			next := json.RawMessage(`{"entry":"notes","version":"2"}`)
			s := testkit.Must(h.UpdateService(ctx, h.operator, offered.ID, catalog.ServiceChange{Command: &next}))(t)
			if version() <= before || string(s.Command) != string(next) {
				t.Errorf("version %d, command %s", version(), s.Command)
			}
		})
	})
}
