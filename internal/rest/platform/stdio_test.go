package platform_test

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"

	shipped "headgate/catalog"
	"headgate/internal/access"
	"headgate/internal/launch"
	"headgate/internal/sandbox"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
	"headgate/internal/upstream/stdio"
)

// plain is an entry that needs no installation, and whose program is none.
const plain = "name: plain\nprogram: /usr/bin/true\nargs: [\"{word}\"]\nenv: {TOKEN: \"{token}\"}\nparameters: [{name: word, type: string}, {name: token, type: secret}]\n"

// programs are a catalog with the entry plain beside what is shipped, and a
// host that has no walls and needs none here: no program of these tests runs
// for a tenant.
func programs(w *world.World) (*launch.Service, *stdio.Host) {
	log := slog.New(slog.DiscardHandler)
	launcher := testkit.Must(sandbox.NewLauncher(sandbox.Config{Executable: "/bin/true", Log: log, Now: w.Now}))(w.T)
	files := fstest.MapFS{"plain.yaml": {Data: []byte(plain)}}
	for _, name := range []string{"memory.yaml", "locks/memory.json"} {
		files[name] = &fstest.MapFile{Data: testkit.Must(shipped.Files.ReadFile(name))(w.T)}
	}
	entries := testkit.Must(launch.New(launch.Options{Store: w.Store, Catalog: w.Catalog, Data: w.T.TempDir(), Shipped: files, Level: sandbox.None, Now: w.Now, Log: log}))(w.T)
	host := stdio.NewHost(stdio.Options{Launcher: launcher, Level: sandbox.None, Resolver: w.Resolver, Spec: entries.Spec, Now: w.Now, Log: log})
	w.T.Cleanup(func() { host.Close(w.T.Context()) })
	return entries, host
}

func (h *house) keyOf(kind access.Kind) string {
	h.t.Helper()
	o := h.owner.Organization
	if kind == access.OperatorKey {
		o = nil
	}
	_, text := h.Key(o, kind, "")
	return text
}

func TestCatalogOfPrograms(t *testing.T) {
	h := onSQLite(t)
	operator := h.keyOf(access.OperatorKey)
	owner := h.Start(h.owner.User, h.owner.Organization.ID).Token
	t.Run("an enabled entry is a service that tenants make servers of", func(t *testing.T) {
		h.as(operator, "POST", "/admin/catalog/plain/enable", `{"price":3}`).want(200)
		var list struct {
			Services []struct{ ID, Slug string }
		}
		testkit.Must0(t, json.Unmarshal(h.as(owner, "GET", "/mcp/services", nil).want(200).Body.Data, &list))
		for _, s := range list.Services {
			if s.Slug != "plain" {
				continue
			}
			a := h.as(owner, "POST", "/mcp/servers", map[string]any{"slug": "mine", "serviceId": s.ID}).want(201)
			if !strings.Contains(a.Raw, `"transport":"stdio"`) || strings.Contains(a.Raw, "/usr/bin") || strings.Contains(a.Raw, "TOKEN") {
				t.Errorf("shows how it is started: %s", a.Raw)
			}
			return
		}
		t.Errorf("not among %+v", list.Services)
	})
	t.Run("a trial says how far a program came", func(t *testing.T) {
		a := h.as(operator, "POST", "/admin/catalog/plain/try", `{"config":{"word":"x"}}`).want(200)
		var data struct {
			Trial struct {
				OK   bool
				Code string
				Exit string
			}
		}
		testkit.Must0(t, json.Unmarshal(a.Body.Data, &data))
		// It may end before or after the first message reaches it.
		if data.Trial.OK || data.Trial.Code != "stdio.ended" && data.Trial.Code != "sandbox.exited" || !strings.Contains(data.Trial.Exit, "code 0") {
			t.Errorf("%s", a.Raw)
		}
		h.as(operator, "POST", "/admin/catalog/plain/try", `{"config":{"word":"-x"}}`).refused(400, "MCP_SERVICE_UNCONFIGURED")
	})
	t.Run("the state of the walls is told", func(t *testing.T) {
		a := h.as(operator, "GET", "/admin/sandbox", nil).want(200)
		if !strings.Contains(a.Raw, `"required":"none"`) || !strings.Contains(a.Raw, `"enabled":true`) {
			t.Errorf("%s", a.Raw)
		}
	})
	t.Run("logs of a server that is none of yours are not there", func(t *testing.T) {
		other := h.Tenant("other")
		d := h.Demo(other.Organization, "theirs")
		h.as(owner, "GET", "/mcp/servers/"+d.ID+"/logs", nil).refused(404, "RESOURCE_NOT_FOUND")
	})
}

// TestTenantsStartNoProgram sends everything a tenant might send to have one of
// their own started (security.md S01). Nothing is: /usr/bin/touch would leave a
// file.
func TestTenantsStartNoProgram(t *testing.T) {
	h := onSQLite(t)
	operator := h.keyOf(access.OperatorKey)
	owner := h.Start(h.owner.User, h.owner.Organization.ID).Token
	h.as(operator, "POST", "/admin/catalog/plain/enable", `{}`).want(200)
	mark := t.TempDir() + "/mark"
	var offered struct {
		Services []struct{ ID, Slug string }
	}
	testkit.Must0(t, json.Unmarshal(h.as(owner, "GET", "/mcp/services", nil).want(200).Body.Data, &offered))
	var service string
	for _, s := range offered.Services {
		if s.Slug == "plain" {
			service = s.ID
		}
	}
	var made struct{ Server struct{ ID string } }
	testkit.Must0(t, json.Unmarshal(h.as(owner, "POST", "/mcp/servers", map[string]any{"slug": "mine", "serviceId": service}).want(201).Body.Data, &made))
	commands := []map[string]any{
		{"command": "/usr/bin/touch", "args": []string{mark}},
		{"command": "bash", "args": []string{"-c", "touch " + mark}},
		{"command": "npx", "args": []string{"-c", "touch " + mark}},
		{"command": "node", "args": []string{"-e", "x"}},
		{"command": "python3", "args": []string{"-c", "x"}},
		{"command": "env", "args": []string{"-S", "touch " + mark}},
		{"program": "/usr/bin/touch"},
		{"env": map[string]any{"NODE_OPTIONS": "--require " + mark}},
		{"env": map[string]any{"LD_PRELOAD": mark}},
		{"environment": map[string]any{"PYTHONSTARTUP": mark}},
		{"transport": "stdio", "url": "/usr/bin/touch " + mark},
		{"transport": "stdio", "url": "file:///usr/bin/touch"},
		{"transport": "stdio", "url": "http://127.0.0.1:8089/mcp"},
		{"transport": "builtin", "url": "demo"},
	}
	for _, extra := range commands {
		for _, place := range []struct{ method, path string }{{"POST", "/mcp/servers"}, {"POST", "/mcp/services"}, {"PATCH", "/mcp/servers/" + made.Server.ID},
			{"PATCH", "/mcp/services/" + service}, {"POST", "/mcp/servers/" + made.Server.ID + "/test"}, {"POST", "/mcp/services/" + service + "/configure"}} {
			body := map[string]any{}
			for k, v := range extra {
				body[k] = v
			}
			switch place.path {
			case "/mcp/servers", "/mcp/services":
				body["slug"] = "evil"
			}
			if strings.HasSuffix(place.path, "/configure") {
				body = map[string]any{"config": extra}
			}
			if a := h.as(owner, place.method, place.path, body); a.Status < 400 || a.Status >= 500 {
				t.Errorf("%s %s with %v: %d %s", place.method, place.path, extra, a.Status, a.Raw)
			}
		}
	}
	t.Run("and the operator's routes are not theirs", func(t *testing.T) {
		for _, credential := range []string{owner, h.keyOf(access.OrganizationKey)} {
			h.as(credential, "POST", "/admin/catalog", map[string]any{"entry": "name: evil\nprogram: /usr/bin/touch\nargs: [" + mark + "]\n"}).refused(403, "AUTH_INSUFFICIENT_SCOPE")
			h.as(credential, "POST", "/admin/catalog/plain/try", `{}`).refused(403, "AUTH_INSUFFICIENT_SCOPE")
		}
	})
}
