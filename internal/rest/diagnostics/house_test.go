package diagnostics_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/approval"
	"headgate/internal/call"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/demo"
	"headgate/internal/diagnosis"
	"headgate/internal/diagnosis/grants"
	"headgate/internal/fault"
	"headgate/internal/identity"
	"headgate/internal/quota"
	"headgate/internal/rest"
	"headgate/internal/rest/diagnostics"
	"headgate/internal/rest/meter"
	"headgate/internal/rest/resttest"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
	"headgate/internal/upstream"
)

func TestMain(m *testing.M) { os.Exit(resttest.Main(m)) }

// house is the doors over real services, with a hub that sends people's tokens.
type house struct {
	*world.World
	t         *testing.T
	hub       *upstream.Hub
	grants    *grants.Service
	diagnosis *diagnosis.Service
	door, web *rest.Door
	platform  *rest.Door
	now       time.Time

	owner   *world.Person
	key     string // the owner's diagnostics key
	project string // the default workspace's id
	demo    string // the id of a demo server in it
}

type change func(*diagnostics.Options)

func newHouse(t *testing.T, store *db.Store, changes ...change) *house {
	t.Helper()
	return newHouseIn(t, store, world.Options{}, changes...)
}

func newHouseIn(t *testing.T, store *db.Store, wo world.Options, changes ...change) *house {
	t.Helper()
	h := &house{t: t, now: time.Now()}
	wo.Now = func() time.Time { return h.now }
	h.World = world.New(t, store, wo)
	h.grants = grants.New(grants.Options{Store: store, Keys: h.Keys, Guard: h.Guard, Ask: h.Approvals.Secret, Now: h.Now})
	binder := h.grants.Binder(h.Resolver)
	h.hub = upstream.NewHub(upstream.Options{Binder: binder, Dial: h.Guard.DialContext, Version: "test",
		Channels: map[catalog.Transport]upstream.Channel{catalog.Builtin: upstream.Builtins{demo.Name: demo.Handler("test", h.Now)}}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		h.hub.Close(ctx)
	})
	calls := call.New(call.Options{Credits: h.Credits, Committer: call.NewCommitter(store, h.Credits, h.Log), Bodies: h.Bodies, Upstream: h.hub,
		Limiter: h.Limiter, Daily: h.Daily, Terms: h.Calls.Terms, Value: 10_000, Now: h.Now, Log: h.Log})
	h.diagnosis = diagnosis.New(diagnosis.Options{Store: store, Guard: h.Guard, Hub: h.hub, Binder: binder, Resolver: h.Resolver, Granted: h.grants.Granted,
		Now: h.Now, Patience: time.Second, Timeout: 10 * time.Second})
	o := diagnostics.Options{Version: "test", Store: store, Identity: h.Identity, Tenancy: h.Tenancy, APIKeys: h.APIKeys, Workspaces: h.Workspaces, Catalog: h.Catalog,
		Resolver: h.Resolver, Hub: h.hub, Calls: calls, Diagnosis: h.diagnosis, Grants: h.grants, Approvals: h.Approvals, Errors: h.Errors, Limiter: h.Limiter, Sealer: h.Keys,
		Now: h.Now, Log: slog.New(slog.DiscardHandler)}
	for _, c := range changes {
		c(&o)
	}
	h.door, h.web = diagnostics.New(o)
	h.platform = h.platformOf(meter.Meter{Limiter: h.Limiter, Tenancy: h.Tenancy, Addresses: quota.Limit{PerMinute: 6e8, Burst: 1e7}})
	for _, d := range []*rest.Door{h.door, h.web, h.platform} {
		testkit.Must0(t, d.Check())
	}
	h.owner = h.Tenant("owner")
	h.project = testkit.Must(h.Workspaces.Default(t.Context(), h.owner.Organization.ID))(t).ID
	h.demo = h.Demo(h.owner.Organization, "demo").ID
	h.key = h.diagnosticsKey(h.owner.Organization, h.owner.ID)
	return h
}

// platformOf is what this package adds to the Platform API, at a door of its own.
func (h *house) platformOf(m meter.Meter) *rest.Door {
	d := rest.New(rest.Config{Base: "/v1", Title: "Platform", Version: "test", Form: rest.PlatformForm(map[string]string{identity.ErrTokenExpired.Code: "AUTH_TOKEN_EXPIRED"}), Sealer: h.Keys,
		Authenticate: h.anyone, CredentialFaults: []*fault.Error{identity.ErrTokenExpired}, Limit: m.Limit, Credentials: rest.Credentials{Prefixes: []string{"mcp_sk_", "sk_"}}, Gate: h.ask, Needs: approval.ErrNeeded, Waits: reflect.TypeFor[waits]()})
	diagnostics.RegisterPlatform(d, diagnostics.PlatformOptions{Catalog: h.Catalog, Resolver: h.Resolver, Diagnosis: h.diagnosis, Grants: h.grants})
	return d
}

// waits is what the Platform API answers while a person is asked.
type waits struct {
	ID string `json:"id"`
}

// ask is the Platform API's way to ask a person.
func (h *house) ask(ctx context.Context, op rest.Op, input []byte) (context.Context, any, error) {
	ctx, pending, err := h.Approvals.Check(ctx, rest.Principal(ctx), approval.Operation{Gate: approval.Gate(op.Gate), Action: op.ID, Target: op.ID, Reason: op.Summary, Arguments: input})
	if pending == nil || err != nil {
		return ctx, nil, err
	}
	return ctx, waits{pending.ID}, nil
}

// anyone is the Platform API's part that matters here: who calls.
func (h *house) anyone(r *http.Request, c rest.Credential) (*access.Principal, error) {
	if c.Prefix != "" {
		return h.APIKeys.Authenticate(r.Context(), c.Value, netip.MustParseAddr("192.0.2.9"))
	}
	return h.Identity.Authenticate(r.Context(), c.Value)
}

func onSQLite(t *testing.T, changes ...change) *house {
	t.Helper()
	return newHouse(t, testkit.SQLite(t), changes...)
}

func (h *house) diagnosticsKey(o *tenancy.Organization, user string) string {
	h.t.Helper()
	_, value := h.Key(o, access.DiagnosticsKey, user)
	return value
}

// register registers a server by URL in the owner's default workspace.
func (h *house) register(name, url string) string {
	h.t.Helper()
	a := h.as(h.key, "POST", "/api/v1/projects/"+h.project+"/servers", map[string]any{"name": name, "enabled": true, "transportType": "http", "url": url}).want(201)
	h.rest()
	return a.text("id")
}

// rest lets the keys' rates recover.
func (h *house) rest() { h.now = h.now.Add(time.Minute) }

// on is the path of an operation of a server.
func (h *house) on(server, op string) string {
	return "/api/v1/projects/" + h.project + "/servers/" + server + op
}

// answer is what came back.
type answer struct {
	t      *testing.T
	Status int
	Header http.Header
	Raw    string
	Body   map[string]any
}

// as sends a request with a credential ("" for none). body is JSON text, or
// anything that becomes it; headers are "Name: value".
func (h *house) as(credential, method, path string, body any, headers ...string) *answer {
	h.t.Helper()
	var text string
	switch b := body.(type) {
	case nil:
	case string:
		text = b
	default:
		text = string(testkit.Must(json.Marshal(b))(h.t))
	}
	r := httptest.NewRequest(method, path, strings.NewReader(text))
	if text != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	door := h.door
	switch {
	case strings.HasPrefix(path, "/api/web"):
		door = h.web
	case strings.HasPrefix(path, "/v1"):
		door = h.platform
	}
	w := resttest.Serve(h.t, door, r)
	a := &answer{t: h.t, Status: w.Code, Header: w.Header(), Raw: w.Body.String()}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &a.Body); err != nil {
			h.t.Errorf("%s %s: no object: %d %s", method, path, w.Code, w.Body)
		}
	}
	return a
}

// want checks the status.
func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.Status != status {
		a.t.Fatalf("status %d, want %d: %s", a.Status, status, a.Raw)
	}
	return a
}

// refused checks a failure's status and word, and that it has the door's form.
func (a *answer) refused(status int, code string) *answer {
	a.t.Helper()
	if a.Status != status || a.Body["code"] != code || a.Body["message"] == "" {
		a.t.Errorf("got %d %s, want %d %s", a.Status, a.Raw, status, code)
	}
	for k := range a.Body {
		if k != "code" && k != "message" && k != "details" {
			a.t.Errorf("a failure has the member %s: %s", k, a.Raw)
		}
	}
	if d, ok := a.Body["details"].(map[string]any); ok && len(d) == 0 {
		a.t.Errorf("empty details are left out: %s", a.Raw)
	}
	return a
}

// at reads the body at a path.
func (a *answer) at(path ...any) any {
	a.t.Helper()
	var v any = a.Body
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				a.t.Fatalf("nothing at %v in %s", path, a.Raw)
			}
			v = m[p]
		case int:
			l, ok := v.([]any)
			if !ok || p >= len(l) {
				a.t.Fatalf("nothing at %v in %s", path, a.Raw)
			}
			v = l[p]
		}
	}
	return v
}

func (a *answer) text(path ...any) string {
	a.t.Helper()
	return fmt.Sprint(a.at(path...))
}

func (a *answer) has(names string) *answer {
	a.t.Helper()
	for name := range strings.FieldsSeq(names) {
		if _, ok := a.Body[name]; !ok {
			a.t.Errorf("no %s in %s", name, a.Raw)
		}
	}
	return a
}

// revoke ends a key by its text.
func (h *house) revoke(value string) {
	h.t.Helper()
	p := testkit.Must(h.APIKeys.Authenticate(h.t.Context(), value, netip.MustParseAddr("192.0.2.9")))(h.t)
	testkit.Must0(h.t, h.APIKeys.Revoke(h.t.Context(), world.Headgate(h.owner.Organization), p.ID))
}
