package managemcp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/managemcp"
	"headgate/internal/rest"
	"headgate/internal/rest/platform"
	"headgate/internal/server/request"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

// house is the door over real services, on a loopback server, with a tenant's
// owner and the keys that operate.
type house struct {
	*world.World
	t        *testing.T
	platform *rest.Door
	server   *httptest.Server
	owner    *world.Person
	key      string // the organization's
	operator string
	single   bool
	held     map[string]bool // tools whose answer was held to its output schema
}

func newHouse(t *testing.T) *house {
	t.Helper()
	w := world.New(t, testkit.SQLite(t), world.Options{})
	h := &house{World: w, t: t, held: map[string]bool{}}
	h.platform = platform.New(platform.Options{Version: "test", Store: w.Store, Identity: w.Identity, Tenancy: w.Tenancy, APIKeys: w.APIKeys, Workspaces: w.Workspaces, Catalog: w.Catalog,
		Resolver: w.Resolver, Hub: w.Hub, Calls: w.Calls, Credits: w.Credits, Vault: w.Vault, Budgets: w.Budgets, Approvals: w.Approvals, Templates: w.Templates, Trail: w.Trail,
		Bodies: w.Bodies, Feed: w.Feed, Errors: w.Errors, Limiter: w.Limiter, Daily: w.Daily, Idempotency: w.Replay, Keys: w.Keys, Now: w.Now, Log: slog.New(slog.DiscardHandler)})
	find := rest.Credentials{}
	for _, p := range apikey.Prefixes() {
		find.Prefixes = append(find.Prefixes, p.Text)
	}
	door := managemcp.New(managemcp.Options{Door: h.platform, Credentials: find, Version: "test",
		Authenticate: func(r *http.Request, c rest.Credential) (*access.Principal, error) {
			if c.Prefix == "" {
				return w.Identity.Authenticate(r.Context(), c.Value)
			}
			return w.APIKeys.Authenticate(r.Context(), c.Value, request.ClientAddr(r.Context()))
		},
		Allow:  func(context.Context, *access.Principal) error { return nil },
		Single: func(context.Context) (bool, error) { return h.single, nil },
		Slug: func(ctx context.Context, organization string) (string, error) {
			o, err := w.Tenancy.Organization(ctx, organization)
			if err != nil {
				return "", err
			}
			return o.Slug, nil
		},
		HostSlug: func(host string) string {
			slug, _, _ := strings.Cut(host, ".headgate.test")
			return strings.TrimPrefix(slug, host)
		},
	})
	mux := http.NewServeMux()
	mux.Handle("/manage/", door)
	mux.Handle("/v1/", h.platform)
	h.server = httptest.NewServer(mux)
	t.Cleanup(h.server.Close)
	h.owner = h.Tenant("owner")
	_, h.key = h.Key(h.owner.Organization, access.OrganizationKey, "")
	_, h.operator = h.Key(nil, access.OperatorKey, "")
	return h
}

// answer is a tool's result.
type answer struct {
	t       *testing.T
	name    string
	IsError bool
	Data    map[string]any
}

// ok ends the test unless the tool went well.
func (a *answer) ok() map[string]any {
	a.t.Helper()
	if a.IsError {
		a.t.Fatalf("%s failed: %v", a.name, a.Data)
	}
	return a.Data
}

// failed checks the word of a failure, and returns its status (0 for null).
func (a *answer) failed(word string) (status int) {
	a.t.Helper()
	if !a.IsError || a.Data["error"] != word || a.Data["detail"] == nil {
		a.t.Fatalf("%s: got %v, want %s", a.name, a.Data, word)
	}
	n, _ := a.Data["status"].(json.Number)
	v, _ := n.Int64()
	return int(v)
}

// headers of a request to the door, as the organization.
func (h *house) headers() map[string]string {
	return map[string]string{"Authorization": "Bearer " + h.key, "X-Headgate-Org-Id": h.owner.Organization.ID}
}

// post sends one JSON-RPC message and returns the response.
func (h *house) post(headers map[string]string, body string) (int, string, http.Header) {
	h.t.Helper()
	r := testkit.Must(http.NewRequest(http.MethodPost, h.server.URL+"/manage/mcp", strings.NewReader(body)))(h.t)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for name, value := range headers {
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	resp := testkit.Must(h.server.Client().Do(r))(h.t)
	defer resp.Body.Close()
	var b bytes.Buffer
	testkit.Must(b.ReadFrom(resp.Body))(h.t)
	return resp.StatusCode, b.String(), resp.Header
}

// tool calls a tool over HTTP, and holds its answer to its output schema.
func (h *house) tool(name string, arguments any, headers ...map[string]string) *answer {
	h.t.Helper()
	with := h.headers()
	for _, more := range headers {
		for k, v := range more {
			with[k] = v
		}
	}
	text := testkit.Must(json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": map[string]any{"name": name, "arguments": arguments}}))(h.t)
	status, body, _ := h.post(with, string(text))
	var reply struct {
		Result *struct {
			IsError           bool            `json:"isError"`
			StructuredContent json.RawMessage `json:"structuredContent"`
			Content           []struct{ Text string }
		}
		Error json.RawMessage
	}
	if err := json.Unmarshal([]byte(body), &reply); err != nil || status != 200 || reply.Result == nil || len(reply.Result.Content) != 1 {
		h.t.Fatalf("%s: %d %s", name, status, body)
	}
	a := &answer{t: h.t, name: name, IsError: reply.Result.IsError}
	dec := json.NewDecoder(strings.NewReader(reply.Result.Content[0].Text))
	dec.UseNumber()
	testkit.Must0(h.t, dec.Decode(&a.Data))
	if a.IsError != (reply.Result.StructuredContent == nil) {
		h.t.Errorf("%s: isError %v, structured %s", name, a.IsError, reply.Result.StructuredContent)
	}
	if !a.IsError {
		h.conforms(name, reply.Result.StructuredContent, with)
		h.held[name] = true
	}
	return a
}

var schemas = map[string]*jsonschema.Schema{}

// conforms holds an answer to the tool's output schema.
func (h *house) conforms(name string, content []byte, as map[string]string) {
	h.t.Helper()
	if schemas[name] == nil {
		for _, t := range h.list(as) {
			doc := testkit.Must(jsonschema.UnmarshalJSON(bytes.NewReader(testkit.Must(json.Marshal(t.OutputSchema))(h.t))))(h.t)
			c := jsonschema.NewCompiler()
			testkit.Must0(h.t, c.AddResource(t.Name+".json", doc))
			schemas[t.Name] = testkit.Must(c.Compile(t.Name + ".json"))(h.t)
		}
	}
	if err := schemas[name].Validate(testkit.Must(jsonschema.UnmarshalJSON(bytes.NewReader(content)))(h.t)); err != nil {
		h.t.Errorf("%s: its answer does not fit its output schema: %v\n%s", name, err, content)
	}
}

// list returns the tools that a credential sees.
func (h *house) list(headers map[string]string) []*mcp.Tool {
	h.t.Helper()
	status, body, _ := h.post(headers, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	var reply struct {
		Result struct{ Tools []*mcp.Tool }
	}
	if err := json.Unmarshal([]byte(body), &reply); err != nil || status != 200 {
		h.t.Fatalf("%d %s", status, body)
	}
	return reply.Result.Tools
}

// api asks the Platform API as the owner, and returns data.
func (h *house) api(method, path string, body any) (int, map[string]any) {
	h.t.Helper()
	text := ""
	if body != nil {
		text = string(testkit.Must(json.Marshal(body))(h.t))
	}
	r := httptest.NewRequest(method, "/v1"+path, strings.NewReader(text))
	r.Header.Set("Authorization", "Bearer "+h.owner.Token)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	h.platform.ServeHTTP(w, r)
	var reply struct{ Data map[string]any }
	if w.Body.Len() > 0 {
		testkit.Must0(h.t, json.Unmarshal(w.Body.Bytes(), &reply))
	}
	return w.Code, reply.Data
}

func text(v any) string { s, _ := v.(string); return s }
