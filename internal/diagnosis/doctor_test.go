package diagnosis_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/demo"
	"headgate/internal/diagnosis"
	"headgate/internal/diagnosis/report"
	"headgate/internal/testkit"
	"headgate/internal/testkit/oauthserver"
)

func impatient(o *diagnosis.Options) { o.Patience = 200 * time.Millisecond }

func TestDoctorOfWellServers(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t))
	ready := func(t *testing.T, r *report.Report, era string) {
		t.Helper()
		if r.Status != report.Ready || r.InitInfo.Era != era || r.Error != nil || r.Count(report.SevError) > 0 || r.ExitCode() != 0 {
			t.Errorf("%s %+v %+v %+v", r.Status, r.InitInfo, r.Error, r.Findings)
		}
	}
	t.Run("the reference server is ready, with every list", func(t *testing.T) {
		r := w.doctor(w.register("everything", testkit.Everything(t), nil))
		ready(t, r, "legacy")
		if len(r.Tools) < 5 || len(r.Resources) == 0 || len(r.ResourceTemplates) == 0 || len(r.Prompts) == 0 || r.Size.Tokens == 0 {
			t.Errorf("%d tools, %d resources, %d templates, %d prompts", len(r.Tools), len(r.Resources), len(r.ResourceTemplates), len(r.Prompts))
		}
	})
	t.Run("a server of both eras is spoken to in the modern one, and its headers are tried", func(t *testing.T) {
		s := httptest.NewServer(demo.Handler("1", time.Now))
		t.Cleanup(s.Close)
		r := w.doctor(w.register("both", s.URL, nil))
		ready(t, r, "modern")
		testkit.Equal(t, r.Protocol.Eras, []string{"legacy", "modern"})
		// The SDK compares Mcp-Name without decoding it (v1.8.0).
		testkit.Equal(t, outcome(r, "headers").Status, report.Warning)
	})
	t.Run("a server of the HTTP+SSE transport is found and used", func(t *testing.T) {
		s := httptest.NewServer(sdk.NewSSEHandler(func(*http.Request) *sdk.Server {
			m := sdk.NewServer(&sdk.Implementation{Name: "old", Version: "1"}, nil)
			m.AddTool(&sdk.Tool{Name: "t", Description: "T.", InputSchema: map[string]any{"type": "object"}}, nil)
			return m
		}, nil))
		t.Cleanup(s.Close)
		r := w.doctor(w.register("old", s.URL, nil))
		testkit.Equal(t, r.Probe.Transport.Selected, "sse")
		if r.Status != report.Ready || len(r.Tools) != 1 {
			t.Errorf("%s %+v %d tools", r.Status, r.Checks, len(r.Tools))
		}
	})
	t.Run("a server of this process is examined through the hub", func(t *testing.T) {
		d := testkit.Must(w.catalog.CreateServer(t.Context(), &access.Principal{Kind: access.System, ID: "headgate", Tenant: w.tenant, Organization: w.org, Role: access.Owner, Scopes: access.Every},
			catalog.ServerInput{Workspace: w.workspace, ServiceInput: catalog.ServiceInput{Slug: "demo", Transport: catalog.Builtin, URL: demo.Name}}))(t)
		r := w.doctor(w.server(d.ID))
		if r.Status != report.Ready || len(r.Tools) != 3 || r.Probe != nil || r.Target.URL != "" {
			t.Errorf("%s %+v", r.Status, r.Checks)
		}
	})
}

func outcome(r *report.Report, id string) report.Outcome {
	for _, o := range r.Further {
		if o.ID == id {
			return o
		}
	}
	return report.Outcome{}
}

func TestDoctorOfProtectedServers(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t))
	as := oauthserver.New(t)
	protected := as.Protect(demo.Handler("1", time.Now))
	t.Run("without credentials a sign-in is required, and who gives it is named", func(t *testing.T) {
		r := w.doctor(w.register("anonymous", protected.URL, nil))
		testkit.Equal(t, r.Status, report.OAuthRequired)
		testkit.Equal(t, r.ExitCode(), 3)
		testkit.Equal(t, r.Connection.Status, "skipped")
		testkit.Equal(t, r.Error.Code, "OAUTH_REQUIRED")
		o := r.Probe.OAuth
		if !o.Required || o.ResourceMetadataURL == "" || o.AuthorizationServerMetadataURL == "" || o.DiscoveryError != "" {
			t.Errorf("%+v", o)
		}
		testkit.Equal(t, o.RegistrationStrategies, []string{"cimd", "dcr", "preregistered"})
		if r.Count(report.SevError) != 0 {
			t.Errorf("findings: %+v", r.Findings)
		}
	})
	t.Run("with a good token it is ready, and the token is nowhere in the report", func(t *testing.T) {
		token, _ := as.Grant(protected.URL)
		r := w.doctor(w.register("signed-in", protected.URL, map[string]string{"Authorization": "Bearer " + token}))
		testkit.Equal(t, r.Status, report.Ready)
		testkit.Equal(t, r.Probe.Status, "oauth_required")
		testkit.Equal(t, r.Protocol.Eras, []string{"legacy", "modern"})
		if text := testkit.Must(r.JSON())(t); strings.Contains(string(text), token) {
			t.Error("the report holds the token")
		}
	})
	t.Run("credentials that are refused are forbidden", func(t *testing.T) {
		r := w.doctor(w.register("refused", protected.URL, map[string]string{"Authorization": "Bearer nonsense-token"}))
		testkit.Equal(t, r.Status, report.Failed)
		testkit.Equal(t, r.Error.Code, "FORBIDDEN")
	})
	t.Run("metadata that misleads is found", func(t *testing.T) {
		bad := oauthserver.New(t)
		bad.Metadata = func(m map[string]any) {
			m["code_challenge_methods_supported"] = []string{"plain"}
			m["token_endpoint"] = "http://tokens.example/token"
			delete(m, "registration_endpoint")
			delete(m, "client_id_metadata_document_supported")
		}
		r := w.doctor(w.register("misled", bad.Protect(demo.Handler("1", time.Now)).URL, nil))
		f := findings(r)
		for _, id := range []string{"auth.no-pkce", "auth.plain-endpoint", "auth.no-registration"} {
			if _, ok := f[id]; !ok {
				t.Errorf("%s is missing in %v", id, r.Findings)
			}
		}
	})
	t.Run("a bare 401 is told how to do it", func(t *testing.T) {
		s := newScript(t)
		s.All = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(401); return true }
		f := findings(w.doctor(w.register("bare", s.URL, nil)))
		if _, ok := f["auth.no-challenge"]; !ok {
			t.Errorf("%v", f)
		}
	})
	t.Run("a server that takes keys and has no OAuth is not blamed for it", func(t *testing.T) {
		s := newScript(t)
		s.All = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("X-Key") == "" {
				w.WriteHeader(401)
			}
			return r.Header.Get("X-Key") == ""
		}
		r := w.doctor(w.register("keyed", s.URL, map[string]string{"X-Key": "good-enough-key"}))
		testkit.Equal(t, r.Status, report.Ready)
		if _, ok := findings(r)["auth.no-oauth"]; !ok || r.Count(report.SevError) > 0 {
			t.Errorf("%+v", r.Findings)
		}
	})
	t.Run("a token for another audience, or expired, is found", func(t *testing.T) {
		// {"aud":"https://other.example","exp":1}
		jwt := "eyJhbGciOiJub25lIn0.eyJhdWQiOiJodHRwczovL290aGVyLmV4YW1wbGUiLCJleHAiOjF9.c2ln"
		f := findings(w.doctor(w.register("audience", newScript(t).URL, map[string]string{"Authorization": "Bearer " + jwt})))
		if _, ok := f["auth.token-audience"]; !ok {
			t.Errorf("%v", f)
		}
		if _, ok := f["auth.token-expired"]; !ok {
			t.Errorf("%v", f)
		}
	})
}

func TestDoctorOfBrokenServers(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t), impatient)
	t.Run("a server that hangs costs its time and no more", func(t *testing.T) {
		s := newScript(t)
		s.All = hang
		r := w.doctor(w.register("hangs", s.URL, nil))
		testkit.Equal(t, r.Status, report.Failed)
		testkit.Equal(t, r.Error.Code, "TIMEOUT")
		if r.DurationMs > 2000 {
			t.Errorf("%d ms", r.DurationMs)
		}
	})
	t.Run("one list that fails leaves the others", func(t *testing.T) {
		s := newScript(t).On("tools/list", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			fail(w, 200, m.ID, -32603, "broken")
			return true
		})
		r := w.doctor(w.register("half", s.URL, nil))
		testkit.Equal(t, r.Status, report.Partial)
		testkit.Equal(t, r.ExitCode(), 5)
		testkit.Equal(t, []string{r.Checks.Tools.Status, r.Checks.Resources.Status, r.Checks.Prompts.Status}, []string{"error", "ok", "ok"})
		testkit.Equal(t, fmt.Sprint(r.Error.Details["rpcCode"]), "-32603")
	})
	t.Run("a list that hangs leaves the others", func(t *testing.T) {
		s := newScript(t).On("prompts/list", func(_ http.ResponseWriter, r *http.Request, _ message) bool { return hang(nil, r) })
		r := w.doctor(w.register("half-slow", s.URL, nil))
		testkit.Equal(t, r.Status, report.Partial)
		testkit.Equal(t, []string{r.Checks.Tools.Status, r.Checks.Prompts.Status}, []string{"ok", "error"})
	})
	t.Run("a list without an end is one mistake, not a run without an end", func(t *testing.T) {
		n := 0
		s := newScript(t).On("tools/list", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			n++
			respond(w, m.ID, fmt.Sprintf(`{"tools":[],"nextCursor":"%d"}`, n%3))
			return true
		})
		r := w.doctor(w.register("endless", s.URL, nil))
		testkit.Equal(t, r.Checks.Tools.Status, "error")
		if n > 4 {
			t.Errorf("asked %d times", n)
		}
	})
	t.Run("a list too long to read is cut and told", func(t *testing.T) {
		entry := fmt.Sprintf(`{"uri":"a://b","name":"b","description":%q}`, strings.Repeat("<", 1<<19))
		s := newScript(t).On("resources/list", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			respond(w, m.ID, `{"resources":[`+entry+`],"nextCursor":"`+m.Params.Cursor+`x"}`)
			return true
		})
		r := w.doctor(w.register("long", s.URL, nil))
		if _, ok := findings(r)["size.list-too-long"]; !ok || len(r.Resources) > 8 {
			t.Errorf("%d resources, %v", len(r.Resources), r.Findings)
		}
	})
	t.Run("an answer that is no MCP is said to be none", func(t *testing.T) {
		s := newScript(t)
		s.All = func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, "<html>hello"); return true }
		r := w.doctor(w.register("page", s.URL, nil))
		testkit.Equal(t, r.Status, report.Failed)
		testkit.Equal(t, r.Probe.Status, "reachable")
	})
	t.Run("a redirect is followed with nothing in hand, and its end is named", func(t *testing.T) {
		end := newScript(t)
		seen := ""
		end.All = func(_ http.ResponseWriter, r *http.Request) bool { seen += r.Header.Get("X-Secret"); return false }
		s := newScript(t)
		s.All = func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, end.URL+"/mcp?token=1", http.StatusPermanentRedirect)
			return true
		}
		r := w.doctor(w.register("moved", s.URL, map[string]string{"X-Secret": "s3cr3t-value"}))
		testkit.Equal(t, r.Status, report.Failed)
		testkit.Equal(t, r.Network.Redirects, []report.Redirect{{Status: 308, To: end.URL + "/mcp"}})
		testkit.Equal(t, seen, "")
	})
}

func TestDoctorKeepsSecrets(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t))
	const secret = "s3cr3t-value-of-a-header"
	s := newScript(t).On("initialize", func(w http.ResponseWriter, r *http.Request, m message) bool {
		w.Header().Set("Mcp-Session-Id", "session-0123456789")
		respond(w, m.ID, fmt.Sprintf(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":%q,"version":"1"},"instructions":"session-0123456789 %s"}`, r.Header.Get("X-Key"), r.URL.RawQuery))
		return true
	})
	r := w.doctor(w.register("echo", s.URL+"/?key=in-the-url", map[string]string{"X-Key": secret}))
	testkit.Equal(t, r.Status, report.Ready)
	kept := testkit.Must(w.Report(t.Context(), w.by, r.ID))(t)
	for name, report := range map[string]*report.Report{"answered": r, "kept": kept} {
		text := string(testkit.Must(report.JSON())(t))
		for _, s := range []string{secret, "session-0123456789", "in-the-url"} {
			if strings.Contains(text, s) {
				t.Errorf("the %s report holds %q", name, s)
			}
		}
	}
	if s.Count("initialize") < 2 {
		t.Error("the server was not asked with the header")
	}
}

// flood answers without an end, as fast as it can.
func flood(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Content-Type", "application/json")
	for chunk := []byte(strings.Repeat(" ", 64<<10)); r.Context().Err() == nil; {
		if _, err := w.Write(chunk); err != nil {
			break
		}
	}
	return true
}

// heapPeak watches the heap from now on; the function it returns stops that and
// says by how much it grew at most.
func heapPeak(t *testing.T) func() int64 {
	t.Helper()
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		peak := int64(0)
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-tick.C:
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				peak = max(peak, int64(now.HeapAlloc)-int64(before.HeapAlloc))
			case <-stop:
				tick.Stop()
				most <- peak
				return
			}
		}
	}()
	return func() int64 { close(stop); return <-most }
}

func TestDoctorBounds(t *testing.T) {
	t.Run("fifty at once end in time and in little memory", func(t *testing.T) {
		entry := fmt.Sprintf(`{"name":"n","description":%q,"inputSchema":{"type":"object"}}`, strings.Repeat("x", 256<<10))
		big := newScript(t).Set("tools/list", `{"tools":[`+entry+`]}`)
		hangs, floods := newScript(t), newScript(t)
		hangs.All, floods.All = hang, flood
		urls := []string{big.URL, hangs.URL, dead, floods.URL}
		svc := diagnosis.New(diagnosis.Options{Guard: loopback, Patience: 2 * time.Second, Timeout: 12 * time.Second})
		peak := heapPeak(t)
		statuses := make([]report.Status, 50)
		done := make(chan struct{})
		go func() {
			defer close(done)
			var wg sync.WaitGroup
			for i := range statuses {
				wg.Go(func() {
					r, err := svc.Examine(context.Background(), urls[i%len(urls)], nil)
					if err != nil {
						t.Error(err)
						return
					}
					statuses[i] = r.Status
				})
			}
			wg.Wait()
		}()
		select {
		case <-done:
		case <-time.After(30 * time.Second): // none of the bad ones ends by itself
			t.Fatal("a diagnosis has no end")
		}
		if grown := peak(); grown > 256<<20 {
			t.Errorf("fifty took %d MiB at a time", grown>>20)
		}
		for i, status := range statuses {
			if well := i%len(urls) == 0; well != (status == report.Ready) {
				t.Errorf("%s: %s", urls[i%len(urls)], status)
			}
		}
	})
	t.Run("beyond the slots one waits, and gives up with its caller", func(t *testing.T) {
		hangs, began := newScript(t), make(chan struct{}, 8)
		hangs.All = func(w http.ResponseWriter, r *http.Request) bool {
			began <- struct{}{}
			return hang(w, r)
		}
		svc := diagnosis.New(diagnosis.Options{Guard: loopback, Parallel: 1, Patience: 2 * time.Second})
		first, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = svc.Examine(first, hangs.URL, nil) })
		<-began
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := svc.Examine(ctx, hangs.URL, nil)
		testkit.Fault(t, err, "diagnosis.busy")
		stop()
		wg.Wait()
	})
}

func TestDoctorRights(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t))
	viewer := *w.by
	viewer.Role = access.Viewer
	s := newScript(t)
	server := w.register("s", s.URL, nil)
	before := s.Count("initialize")
	_, err := w.Doctor(t.Context(), &viewer, server, false)
	testkit.Fault(t, err, "access.denied")
	_, err = w.DoctorURL(t.Context(), &viewer, s.URL, nil)
	testkit.Fault(t, err, "access.denied")
	_, err = w.Validate(t.Context(), &viewer, server)
	testkit.Fault(t, err, "access.denied")
	testkit.Equal(t, s.Count("initialize"), before)
	for _, url := range []string{"file:///etc/passwd", "stdio:ls", "http://user:pw@127.0.0.1/", "http://127.0.0.1:22/"} {
		if _, err := w.DoctorURL(t.Context(), w.by, url, nil); err == nil {
			t.Errorf("%s was accepted", url)
		}
	}
	_, err = w.DoctorURL(t.Context(), w.by, s.URL, &diagnosis.Extra{Headers: map[string]string{"Host": "x"}})
	testkit.Fault(t, err, "netguard.bad_header")
}

func TestReportJSON(t *testing.T) {
	t.Run("a report reads back as it was written, and lists are never null", func(t *testing.T) {
		r := testkit.Must(diagnosis.New(diagnosis.Options{Guard: loopback}).Examine(t.Context(), dead, nil))(t)
		text := testkit.Must(r.JSON())(t)
		again := testkit.Must(testkit.Must(report.Parse(text))(t).JSON())(t)
		testkit.Equal(t, string(again), string(text))
		var m map[string]any
		testkit.Must0(t, json.Unmarshal(text, &m))
		for _, key := range []string{"target", "generatedAt", "status", "probe", "connection", "initInfo", "capabilities", "tools", "toolsMetadata", "resources", "resourceTemplates", "prompts", "checks", "error"} {
			if _, ok := m[key]; !ok {
				t.Errorf("%s is missing", key)
			}
		}
		for _, key := range []string{"tools", "resources", "resourceTemplates", "prompts", "findings", "steps"} {
			if m[key] == nil {
				t.Errorf("%s is null", key)
			}
		}
	})
}
