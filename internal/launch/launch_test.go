package launch_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	shipped "headgate/catalog"
	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/launch"
	"headgate/internal/netguard"
	"headgate/internal/sandbox"
	"headgate/internal/seal"
	"headgate/internal/testkit"
)

// house is the operator's catalog with an organization that uses it.
type house struct {
	*launch.Service
	catalog  *catalog.Catalog
	resolver *catalog.Resolver
	store    *db.Store
	data     string
	operator *access.Principal
	tenant   *access.Principal
}

func newHouse(t *testing.T, s *db.Store) *house {
	t.Helper()
	keys, _, err := seal.Generate()
	testkit.Must0(t, err)
	tenant, plan, org, ws := id.New("ten"), id.New("plan"), id.New("org"), id.New("ws")
	for _, q := range []struct {
		text string
		args []any
	}{
		{`INSERT INTO tenants (id, slug, name, created_at) VALUES ($1, 't', 'T', 1)`, []any{tenant}},
		{`INSERT INTO plans (id, slug, name, rate_per_minute, burst, monthly_credits, features, created_at) VALUES ($1, 'p', 'P', 1, 1, 0, '[]', 1)`, []any{plan}},
		{`INSERT INTO organizations (id, tenant_id, slug, name, home, plan_id, body_policy, created_at) VALUES ($1, $2, 'o', 'O', TRUE, $3, 'full', 1)`, []any{org, tenant, plan}},
		{`INSERT INTO workspaces (id, organization_id, slug, name, is_default, status, runtime, tier, created_at, updated_at) VALUES ($1, $2, 'default', 'Default', TRUE, 'active', '', 0, 1, 1)`, []any{ws, org}},
	} {
		testkit.Must(db.Exec(t.Context(), s, q.text, q.args...))(t)
	}
	h := &house{store: s, data: t.TempDir(), operator: &access.Principal{Kind: access.OperatorKey, ID: "op"},
		tenant: &access.Principal{Kind: access.Session, ID: "s", Tenant: tenant, Organization: org, Workspace: ws, User: id.New("user"), Role: access.Owner, Scopes: access.Every}}
	h.catalog = catalog.New(catalog.Options{Store: s, Keys: keys, Guard: netguard.NewWithResolver(netguard.Policy{}, func(context.Context, string, string) ([]netip.Addr, error) { return nil, nil })})
	h.resolver = catalog.NewResolver(s, keys)
	h.Service = testkit.Must(launch.New(launch.Options{Store: s, Catalog: h.catalog, Data: h.data, Shipped: shipped.Files, Now: time.Now, Log: slog.New(slog.DiscardHandler)}))(t)
	return h
}

// offered makes a server of an entry that needs no installation.
func (h *house) offered(t *testing.T, text []byte) *catalog.ServerDetail {
	t.Helper()
	o, _, err := h.Add(t.Context(), h.operator, launch.Source{Entry: text})
	testkit.Must0(t, err)
	o = testkit.Must(h.Enable(t.Context(), h.operator, o.Entry.Name, nil))(t)
	return testkit.Must(h.catalog.CreateServer(t.Context(), h.tenant, catalog.ServerInput{Service: o.Service.ID, ServiceInput: catalog.ServiceInput{Slug: o.Entry.Name}}))(t)
}

func (h *house) spec(t *testing.T, d *catalog.ServerDetail) (sandbox.Spec, error) {
	t.Helper()
	w := testkit.Must(h.resolver.Workspace(t.Context(), h.tenant.Organization, h.tenant.Workspace))(t)
	s, _ := w.Server(d.ID)
	b, err := h.resolver.Bind(t.Context(), s, h.tenant)
	if err != nil {
		return sandbox.Spec{}, err
	}
	return h.Spec(t.Context(), s, b)
}

const grep = `
name: grep
program: /usr/bin/grep
args: [--line-buffered, "--max-count={count}", "--color={color}", "{flag}", "{words}", "{dirs}", "{file}"]
env: {TOKEN: "{token}", STATE: "{private}/state"}
network: [api.example.com]
parameters:
  - {name: count, type: integer, min: 1, max: 100}
  - {name: color, type: enum, values: [always, never]}
  - {name: flag, type: string, dash: true, pattern: "-[iv]"}
  - {name: words, type: string, maxLength: 40}
  - {name: dirs, type: path, list: true}
  - {name: file, type: path, default: notes/today}
  - {name: token, type: secret}
`

func TestConfiguration(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s)
		d := h.offered(t, []byte(grep))
		configure := func(config string) error {
			_, err := h.catalog.Configure(t.Context(), h.tenant, d.Service.ID, json.RawMessage(config))
			return err
		}
		t.Run("values reach arguments and variables as they are; what has none is left out", func(t *testing.T) {
			testkit.Must0(t, configure(`{"words":"a b;$(id)\n`+"`id`"+`","count":7,"dirs":["x","y/z"],"token":"hunter2"}`))
			spec := testkit.Must(h.spec(t, d))(t)
			testkit.Equal(t, spec.Argv, []string{"/usr/bin/grep", "--line-buffered", "--max-count=7", "a b;$(id)\n`id`", "/private/x", "/private/y/z", "/private/notes/today"})
			testkit.Equal(t, spec.Env, map[string]string{"TOKEN": "hunter2", "STATE": "/private/state"})
			testkit.Equal(t, spec.Network.AllowHosts, []string{"api.example.com"})
			if !strings.HasPrefix(spec.WorkDir, h.data) || !strings.Contains(spec.WorkDir, h.tenant.Organization) || !strings.Contains(spec.WorkDir, d.ID) {
				t.Errorf("work directory %s", spec.WorkDir)
			}
			for _, dir := range []string{"x", "y/z", "notes/today"} {
				if info, err := os.Stat(filepath.Join(spec.WorkDir, dir)); err != nil || !info.IsDir() {
					t.Errorf("%s: %v", dir, err)
				}
			}
		})
		for _, c := range []struct{ name, config string }{
			{"a program", `{"program":"/bin/sh"}`},
			{"a command", `{"command":"bash"}`},
			{"an argument list", `{"args":["-c","id"]}`},
			{"NODE_OPTIONS", `{"NODE_OPTIONS":"--require /private/x"}`},
			{"LD_PRELOAD", `{"LD_PRELOAD":"/private/x.so"}`},
			{"PYTHONSTARTUP", `{"PYTHONSTARTUP":"/private/x.py"}`},
			{"an environment", `{"env":{"LD_PRELOAD":"x"}}`},
			{"an option as a word", `{"words":"-f/etc/passwd"}`},
			{"a long option as a word", `{"words":"--file=/etc/passwd"}`},
			{"an option that its pattern does not foresee", `{"flag":"--file=/etc/passwd"}`},
			{"an option in a secret", `{"token":"-x"}`},
			{"a negative number where none is foreseen", `{"count":-1}`},
			{"a number too large", `{"count":101}`},
			{"a fraction", `{"count":1.5}`},
			{"a text as a number", `{"count":"7"}`},
			{"another color", `{"color":"auto"}`},
			{"an absolute path", `{"file":"/etc/passwd"}`},
			{"a path upwards", `{"file":"../../keys.json"}`},
			{"a path upwards in the middle", `{"file":"a/../../b"}`},
			{"a path that is an option", `{"file":"-x"}`},
			{"a path with a line break", `{"file":"a\nb"}`},
			{"a path with a backslash", `{"file":"..\\b"}`},
			{"paths of which one is an option", `{"dirs":["a","-x"]}`},
			{"a NUL", `{"words":"a\u0000b"}`},
			{"a word too long", `{"words":"` + strings.Repeat("x", 41) + `"}`},
			{"an object as a word", `{"words":{"a":1}}`},
		} {
			t.Run(c.name+" is refused", func(t *testing.T) {
				testkit.Fault(t, configure(c.config), "catalog.bad_config")
			})
		}
	})
}

// TestStoredValuesAreNotTrusted fills in values that the schema never saw.
func TestStoredValuesAreNotTrusted(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t))
	d := h.offered(t, []byte(grep))
	w := testkit.Must(h.resolver.Workspace(t.Context(), h.tenant.Organization, h.tenant.Workspace))(t)
	s, _ := w.Server(d.ID)
	for _, config := range []map[string]any{
		{"words": "-x"}, {"words": "a\x00b"}, {"flag": "--x"}, {"count": json.Number("-1")}, {"count": json.Number("0x10")}, {"count": "NaN"}, {"color": "auto"}, {"file": "/etc/passwd"},
		{"file": "../x"}, {"file": "a/-x"}, {"dirs": []any{"a", "../b"}}, {"dirs": "a"}, {"words": []any{"a"}}, {"LD_PRELOAD": "x"}, {"private": "/"}, {"token": true, "words": map[string]any{}},
	} {
		if spec, err := h.Spec(t.Context(), s, &catalog.Binding{Identity: "x", Config: config}); err == nil {
			t.Errorf("%v became %q", config, spec.Argv)
		}
	}
}

func TestLinksInTheWorkDirectory(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t))
	d := h.offered(t, []byte(grep))
	spec := testkit.Must(h.spec(t, d))(t)
	outside := t.TempDir()
	testkit.Must0(t, os.RemoveAll(filepath.Join(spec.WorkDir, "notes")))
	testkit.Must0(t, os.Symlink(outside, filepath.Join(spec.WorkDir, "notes")))
	if _, err := h.spec(t, d); err == nil {
		t.Error("followed a child's link")
	}
	if entries := testkit.Must(os.ReadDir(outside))(t); len(entries) != 0 {
		t.Errorf("made %v outside", entries)
	}
}

func TestOperatorOnly(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t))
	ctx := t.Context()
	for name, do := range map[string]func(by *access.Principal) error{
		"list": func(by *access.Principal) error { _, err := h.List(ctx, by); return err },
		"show": func(by *access.Principal) error { _, err := h.Get(ctx, by, "memory"); return err },
		"add": func(by *access.Principal) error {
			_, _, err := h.Add(ctx, by, launch.Source{Entry: []byte(grep)})
			return err
		},
		"enable":  func(by *access.Principal) error { _, err := h.Enable(ctx, by, "memory", nil); return err },
		"disable": func(by *access.Principal) error { return h.Disable(ctx, by, "memory") },
		"remove":  func(by *access.Principal) error { return h.Remove(ctx, by, "memory") },
		"try":     func(by *access.Principal) error { return h.Try(ctx, by, "memory", nil, nil) },
	} {
		t.Run("a tenant cannot "+name, func(t *testing.T) {
			testkit.Fault(t, do(h.tenant), "access.denied")
			testkit.Fault(t, do(nil), "access.denied")
		})
	}
}

func TestEntries(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s)
		ctx := t.Context()
		t.Run("the shipped ones are there, and not enabled", func(t *testing.T) {
			var names []string
			for _, o := range testkit.Must(h.List(ctx, h.operator))(t) {
				names = append(names, o.Entry.Name)
				if !o.Shipped || o.Service != nil || o.Installed {
					t.Errorf("%+v", o)
				}
			}
			testkit.Equal(t, names, []string{"everything", "filesystem", "memory", "sequential-thinking"})
		})
		d := h.offered(t, []byte(grep))
		t.Run("an enabled one is a service on offer, its parameters the schema", func(t *testing.T) {
			services, _, err := h.catalog.ListServices(ctx, h.tenant, "grep", catalog.Page{})
			testkit.Must0(t, err)
			if len(services) != 1 || services[0].Transport != catalog.Stdio || services[0].Command != nil || !strings.Contains(string(services[0].ConfigSchema), `"token":{"maxLength":1024,"not":{"pattern":"^-|\\x00"},"type":"string","x-secret":true}`) {
				t.Errorf("%+v %s", services, services[0].ConfigSchema)
			}
		})
		t.Run("a name is taken once", func(t *testing.T) {
			_, _, err := h.Add(ctx, h.operator, launch.Source{Entry: []byte(grep)})
			testkit.Fault(t, err, "launch.name_taken")
			_, _, err = h.Add(ctx, h.operator, launch.Source{Entry: []byte(grep), Name: "memory"})
			testkit.Fault(t, err, "launch.name_taken")
		})
		t.Run("shipped and enabled ones are not removed", func(t *testing.T) {
			testkit.Fault(t, h.Remove(ctx, h.operator, "memory"), "launch.shipped")
			testkit.Fault(t, h.Remove(ctx, h.operator, "grep"), "launch.enabled")
			testkit.Fault(t, h.Remove(ctx, h.operator, "nobody"), "launch.no_entry")
		})
		t.Run("disabling it ends its servers, and it can be removed", func(t *testing.T) {
			testkit.Must0(t, h.Disable(ctx, h.operator, "grep"))
			_, err := h.catalog.GetServer(ctx, h.tenant, d.ID)
			testkit.Fault(t, err, "catalog.server_not_found")
			testkit.Must0(t, h.Remove(ctx, h.operator, "grep"))
			_, err = h.Get(ctx, h.operator, "grep")
			testkit.Fault(t, err, "launch.no_entry")
		})
		t.Run("adding and removing are in the trail", func(t *testing.T) {
			got := testkit.Must(db.All(ctx, s, func(a *string) []any { return []any{a} }, `SELECT action FROM events WHERE target_id='grep' ORDER BY seq`))(t)
			testkit.Equal(t, got, []string{"catalog.add", "catalog.remove"})
		})
	})
}

func TestServerJSON(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t))
	text := `{"name":"io.example/memory","title":"Memory","description":"d","version":"9","packages":[
	 {"registryType":"oci","identifier":"example/x"},
	 {"registryType":"npm","identifier":"@modelcontextprotocol/server-memory","version":"2026.8.31","runtimeHint":"npx","transport":{"type":"stdio"},
	  "runtimeArguments":[{"type":"named","name":"--mount","value":"type=bind,src=/,dst=/host"},{"type":"named","name":"--user","value":"root"}],
	  "packageArguments":[{"type":"positional","valueHint":"root-dir","format":"filepath","isRequired":true,"default":"/"},{"type":"named","name":"--verbose"},{"type":"named","name":"--level","choices":["low","high"],"default":"low"},
	    {"type":"named","name":"--token","isSecret":true},{"type":"named","name":"--require=/x","value":"y"},{"type":"positional","value":"fixed"}],
	  "environmentVariables":[{"name":"API_KEY","isSecret":true,"isRequired":true},{"name":"NODE_OPTIONS","value":"--require /x"},{"name":"LD_PRELOAD","default":"x"},{"name":"MODE","value":"fast"}]}]}`
	if testing.Short() {
		t.Skip("asks npm")
	}
	testkit.Node(t)
	o, warnings, err := h.Add(t.Context(), h.operator, launch.Source{ServerJSON: []byte(text), Name: "remembering"})
	testkit.Must0(t, err)
	t.Run("becomes an entry with typed parameters", func(t *testing.T) {
		testkit.Equal(t, o.Entry.Args, []string{"{root_dir}", "--verbose", "--level={level}", "fixed"})
		testkit.Equal(t, o.Entry.Env, map[string]string{"API_KEY": "{api_key}", "MODE": "fast"})
		var types []launch.Type
		for _, p := range o.Entry.Parameters {
			types = append(types, p.Type)
		}
		testkit.Equal(t, types, []launch.Type{launch.Path, launch.Enum, launch.Secret})
		if !strings.HasPrefix(o.Entry.Package.Integrity, "sha512-") {
			t.Errorf("%+v", o.Entry.Package)
		}
	})
	t.Run("what would steer the launch is dropped, with a warning", func(t *testing.T) {
		all := strings.Join(warnings, "\n")
		for _, word := range []string{"Arguments of the runtime", "npx", "--token", "--require=/x", "NODE_OPTIONS", "LD_PRELOAD", "root_dir"} {
			if !strings.Contains(all, word) {
				t.Errorf("no word of %s in:\n%s", word, all)
			}
		}
		if text := string(testkit.Must(json.Marshal(o.Entry))(t)); strings.Contains(text, "mount") || strings.Contains(text, "root\"") {
			t.Errorf("taken over: %s", text)
		}
	})
}

func TestSources(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t))
	for _, c := range []struct {
		name string
		src  launch.Source
	}{
		{"nothing", launch.Source{}},
		{"two things", launch.Source{NPM: "a@1.2.3", Entry: []byte(grep)}},
		{"a package without a version", launch.Source{NPM: "@acme/notes"}},
		{"a package with a range", launch.Source{NPM: "@acme/notes@^1"}},
		{"a package by tag", launch.Source{NPM: "notes@latest"}},
		{"a package from a URL", launch.Source{NPM: "https://example.com/x.tgz@1.2.3"}},
		{"an option", launch.Source{NPM: "--global@1.2.3"}},
		{"a server.json with no npm package", launch.Source{ServerJSON: []byte(`{"packages":[{"registryType":"oci","identifier":"x"}]}`)}},
		{"a server.json with a range", launch.Source{ServerJSON: []byte(`{"packages":[{"registryType":"npm","identifier":"x","version":"*"}]}`)}},
	} {
		t.Run(c.name+" is refused before npm is asked", func(t *testing.T) {
			t.Setenv("PATH", "")
			_, _, err := h.Add(t.Context(), h.operator, c.src)
			testkit.Fault(t, err, "launch.bad_entry")
		})
	}
}
