package platform_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/rest"
	"headgate/internal/rest/platform"
	"headgate/internal/rest/resttest"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

func TestMain(m *testing.M) { os.Exit(resttest.Main(m)) }

// house is the door over real services.
type house struct {
	*world.World
	t    *testing.T
	door *rest.Door
	// Owner's tenant has a demo server in its home organization.
	owner *world.Person
	demo  string // its service's id
}

func newHouse(t *testing.T, store *db.Store, o world.Options) *house {
	t.Helper()
	h := &house{World: world.New(t, store, o), t: t}
	h.door = platform.New(options(h.World))
	testkit.Must0(t, h.door.Check())
	h.owner = h.Tenant("owner")
	h.demo = h.Demo(h.owner.Organization, "demo").Service.ID
	return h
}

func options(w *world.World) platform.Options {
	entries, host := programs(w)
	return platform.Options{Launch: entries, Programs: host, Version: "test", Store: w.Store, Identity: w.Identity, Tenancy: w.Tenancy, APIKeys: w.APIKeys, Workspaces: w.Workspaces, Catalog: w.Catalog,
		Resolver: w.Resolver, Hub: w.Hub, Calls: w.Calls, Credits: w.Credits, Vault: w.Vault, Budgets: w.Budgets, Approvals: w.Approvals, Templates: w.Templates, Trail: w.Trail, Bodies: w.Bodies, Feed: w.Feed, Errors: w.Errors, Limiter: w.Limiter, Daily: w.Daily,
		Idempotency: w.Replay, Keys: w.Keys, Now: w.Now, Log: slog.New(slog.DiscardHandler)}
}

// onSQLite runs a test with a house on SQLite alone: where the door, not the
// store, is what is shown.
func onSQLite(t *testing.T) *house { return newHouse(t, testkit.SQLite(t), world.Options{}) }

// answer is what came back.
type answer struct {
	t      *testing.T
	Status int
	Header http.Header
	Raw    string
	Body   struct {
		Success *bool           `json:"success"`
		Data    json.RawMessage `json:"data"`
		Meta    json.RawMessage `json:"meta"`
		Error   *struct {
			Code    string         `json:"code"`
			Message string         `json:"message"`
			Details map[string]any `json:"details"`
		} `json:"error"`
	}
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
	r := httptest.NewRequest(method, "/v1"+path, strings.NewReader(text))
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
	return h.send(r)
}

func (h *house) send(r *http.Request) *answer {
	h.t.Helper()
	w := resttest.Serve(h.t, h.door, r)
	a := &answer{t: h.t, Status: w.Code, Header: w.Header(), Raw: w.Body.String()}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(w.Body.Bytes(), &a.Body); err != nil || a.Body.Success == nil {
			h.t.Errorf("%s %s: no envelope: %d %s", r.Method, r.URL, w.Code, w.Body)
		}
	}
	return a
}

// want checks the status, and that a success looks like one.
func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.Status != status {
		a.t.Fatalf("status %d, want %d: %s", a.Status, status, a.Raw)
	}
	if status < 300 && status != 204 && a.Raw != "" && strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
		if !*a.Body.Success || !bytes.HasPrefix(a.Body.Data, []byte("{")) || !bytes.HasPrefix(a.Body.Meta, []byte("{")) {
			a.t.Errorf("no success of the Platform form: %s", a.Raw)
		}
	}
	return a
}

// refused checks a failure's status and word, and its form.
func (a *answer) refused(status int, code string) *answer {
	a.t.Helper()
	if a.Body.Error == nil || *a.Body.Success || a.Body.Error.Details == nil || a.Body.Error.Message == "" {
		a.t.Fatalf("no failure of the Platform form: %d %s", a.Status, a.Raw)
	}
	if a.Status != status || a.Body.Error.Code != code {
		a.t.Errorf("got %d %s (%s), want %d %s", a.Status, a.Body.Error.Code, a.Body.Error.Message, status, code)
	}
	return a
}

// data reads data at a path of members.
func (a *answer) data(path ...string) any { a.t.Helper(); return at(a.t, a.Body.Data, path...) }
func (a *answer) meta(path ...string) any { a.t.Helper(); return at(a.t, a.Body.Meta, path...) }
func (a *answer) text(path ...string) string {
	a.t.Helper()
	s, _ := a.data(path...).(string)
	return s
}

func at(t *testing.T, raw json.RawMessage, path ...string) any {
	t.Helper()
	var v any
	testkit.Must0(t, json.Unmarshal(raw, &v))
	for _, p := range path {
		if list, ok := v.([]any); ok && len(list) > 0 {
			v = list[0]
		}
		m, ok := v.(map[string]any)
		if !ok {
			t.Errorf("%s: nothing at %v", raw, path)
			return nil
		}
		v = m[p]
	}
	return v
}

// keys lists the members of an object in data, as one sorted text.
func members(v any) map[string]bool {
	set := map[string]bool{}
	m, _ := v.(map[string]any)
	for k := range m {
		set[k] = true
	}
	return set
}

// has checks that an object has the members the contract names.
func (a *answer) has(names string, path ...string) *answer {
	a.t.Helper()
	v := a.data(path...)
	if list, ok := v.([]any); ok {
		if len(list) == 0 {
			a.t.Fatalf("%v is an empty list", path)
		}
		v = list[0]
	}
	got := members(v)
	for name := range strings.FieldsSeq(names) {
		if !got[name] {
			a.t.Errorf("%v has no %s: %s", path, name, a.Raw)
		}
	}
	return a
}

// principal is who a credential stands for.
func (h *house) principal(credential string) *access.Principal {
	h.t.Helper()
	if strings.Contains(credential, ".") {
		return testkit.Must(h.Identity.Authenticate(context.Background(), credential))(h.t)
	}
	return testkit.Must(h.APIKeys.Authenticate(context.Background(), credential, netip.MustParseAddr("192.0.2.9")))(h.t)
}
