//go:build linux && (amd64 || arm64)

package stdio_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
	"headgate/internal/upstream"
	"headgate/internal/upstream/stdio"
)

// TestChanges keeps children in step with what the store says of their server.
func TestChanges(t *testing.T) {
	store := testkit.SQLite(t)
	w := world.New(t, store, world.Options{})
	h := newHouse(t, func(o *stdio.Options) { o.Resolver = w.Resolver })
	store.OnChange(h.host.Changed)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = h.host.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	hub := upstream.NewHub(upstream.Options{Binder: w.Resolver, Channels: map[catalog.Transport]upstream.Channel{catalog.Stdio: h.host}})
	t.Cleanup(func() { hub.Close(context.Background()) })

	owner := w.Tenant("owner")
	org := owner.Organization
	ws := testkit.Must(w.Workspaces.Default(ctx, org.ID))(t)
	by := &access.Principal{Kind: access.Session, ID: "s", Tenant: org.Tenant, Organization: org.ID, Workspace: ws.ID, User: owner.User.ID, Role: access.Owner, Scopes: access.Every}
	operator := &access.Principal{Kind: access.OperatorKey, ID: "op"}
	offer := func(slug string) (*catalog.Service, *catalog.ServerDetail) {
		s := testkit.Must(w.Catalog.CreateService(ctx, operator, catalog.ServiceInput{Slug: slug, Transport: catalog.Stdio, Command: json.RawMessage(`{"mode":"legacy"}`),
			ConfigSchema: json.RawMessage(`{"type":"object","properties":{"depth":{"type":"integer"}}}`)}))(t)
		return s, testkit.Must(w.Catalog.CreateServer(ctx, by, catalog.ServerInput{Workspace: ws.ID, Service: s.ID, ServiceInput: catalog.ServiceInput{Slug: slug}}))(t)
	}
	find := func(d *catalog.ServerDetail) *catalog.Server {
		t.Helper()
		r := testkit.Must(w.Resolver.Workspace(ctx, org.ID, ws.ID))(t)
		s, ok := r.Server(d.ID)
		if !ok {
			t.Fatal("no such server")
		}
		return s
	}
	call := func(d *catalog.ServerDetail) string {
		t.Helper()
		r := request(find(d), mcp.LatestLegacy, "1", "pid", `{}`)
		r.By = by
		a := testkit.Must(hub.Exchange(ctx, r, nil))(t)
		defer a.Release()
		return textOf(t, a)
	}
	ended := func(d *catalog.ServerDetail) {
		t.Helper()
		eventually(t, "its child has ended", func() bool { return len(h.host.PIDs(d.ID)) == 0 && len(h.host.Status(d.ID)) == 0 })
	}
	off, on := false, true

	t.Run("one that is switched off has no child, and a new one when it is on again", func(t *testing.T) {
		_, d := offer("switched")
		call(d)
		testkit.Must(w.Catalog.UpdateServer(ctx, by, d.ID, catalog.ServerChange{Enabled: &off}))(t)
		ended(d)
		testkit.Must(w.Catalog.UpdateServer(ctx, by, d.ID, catalog.ServerChange{Enabled: &on}))(t)
		call(d)
	})
	t.Run("one that is removed has none", func(t *testing.T) {
		_, d := offer("removed")
		call(d)
		testkit.Must0(t, w.Catalog.DeleteServer(ctx, by, d.ID))
		ended(d)
	})
	t.Run("a service that is taken off the offer ends them all", func(t *testing.T) {
		s, d := offer("withdrawn")
		call(d)
		testkit.Must0(t, w.Catalog.RemoveService(ctx, operator, s.ID))
		ended(d)
	})
	t.Run("another configuration or command is another child; a new name or price is not", func(t *testing.T) {
		s, d := offer("configured")
		first := call(d)
		name, price := "Other", int64(7)
		testkit.Must(w.Catalog.UpdateServer(ctx, by, d.ID, catalog.ServerChange{ServiceChange: catalog.ServiceChange{Name: &name}}))(t)
		testkit.Must0(t, setPrice(ctx, w.Catalog, operator, s.ID, price))
		time.Sleep(20 * time.Millisecond) // nothing is to happen
		if got := call(d); got != first {
			t.Errorf("a new child without need: %s, then %s", first, got)
		}
		testkit.Must(w.Catalog.Configure(ctx, by, s.ID, json.RawMessage(`{"depth":3}`)))(t)
		second := call(d)
		if second == first {
			t.Error("the old child with a new configuration")
		}
		eventually(t, "one child", func() bool { return len(h.host.PIDs(d.ID)) == 1 })
		command := json.RawMessage(`{"mode":"legacy","version":2}`)
		testkit.Must(w.Catalog.UpdateService(ctx, operator, s.ID, catalog.ServiceChange{Command: &command}))(t)
		if call(d) == second {
			t.Error("the old child with a new command")
		}
		eventually(t, "one child", func() bool { return len(h.host.PIDs(d.ID)) == 1 })
	})
	t.Run("a call under way may end first", func(t *testing.T) {
		_, d := offer("busy")
		call(d)
		r := request(find(d), mcp.LatestLegacy, "1", "hold", `{}`)
		r.By = by
		leave, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); _, _ = hub.Exchange(leave, r, nil) }()
		eventually(t, "held", func() bool { s := h.host.Status(d.ID); return len(s) == 1 && s[0].Calls == 1 })
		testkit.Must(w.Catalog.UpdateServer(ctx, by, d.ID, catalog.ServerChange{Enabled: &off}))(t)
		eventually(t, "no new calls", func() bool { return len(h.host.Status(d.ID)) == 0 })
		cancel()
		<-done
	})
}

func setPrice(ctx context.Context, c *catalog.Catalog, by *access.Principal, service string, price int64) error {
	_, err := c.SetPrices(ctx, by, service, catalog.PriceChange{Default: &price})
	return err
}

// TestOldVersionsStayDown: the hub keeps what it has opened of a server's old
// version for a while, and its streams try again.
func TestOldVersionsStayDown(t *testing.T) {
	store := testkit.SQLite(t)
	w := world.New(t, store, world.Options{})
	h := newHouse(t, func(o *stdio.Options) { o.Resolver = w.Resolver })
	owner := w.Tenant("owner")
	ws := testkit.Must(w.Workspaces.Default(t.Context(), owner.Organization.ID))(t)
	s := server("legacy")
	s.Organization, s.Workspace = owner.Organization.ID, ws.ID // a server that the store does not know
	_, err := h.hub.Exchange(t.Context(), request(s, mcp.LatestLegacy, "1", "echo", `{}`), nil)
	testkit.Fault(t, err, "upstream.failed")
	if n := len(h.host.PIDs(s.Key())); n != 0 || h.host.Stats().Programs != 0 {
		t.Errorf("%d processes, %+v", n, h.host.Stats())
	}
}
