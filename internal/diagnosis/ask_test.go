package diagnosis_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/demo"
	"headgate/internal/diagnosis"
	"headgate/internal/fault"
	"headgate/internal/testkit"
	"headgate/internal/testkit/oauthserver"
	"headgate/internal/upstream"
)

func TestCheckOAuth(t *testing.T) {
	granted := false
	w := newWorld(t, testkit.SQLite(t), func(o *diagnosis.Options) {
		o.Granted = func(context.Context, *access.Principal, *catalog.Server) bool { return granted }
	})
	s := newScript(t)
	posts := 0
	s.All = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			posts++
		}
		return false
	}
	open := w.register("open", s.URL, nil)
	keyed := w.register("keyed", s.URL+"/keyed", map[string]string{"X-Key": "k"})
	at := oauthserver.New(t).Protect(demo.Handler("1", time.Now))
	protected := w.register("protected", at.URL, nil)
	for _, c := range []struct {
		name   string
		server *catalog.Server
		want   diagnosis.OAuth
	}{
		{"an open server", open, diagnosis.OAuth{URL: open.URL, Method: "none"}},
		{"a server with a header", keyed, diagnosis.OAuth{URL: keyed.URL, Method: "headers"}},
		{"a server whose metadata says so", protected, diagnosis.OAuth{UseOAuth: true, URL: at.URL, Requires: true, Method: "oauth"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			testkit.Equal(t, *testkit.Must(w.CheckOAuth(t.Context(), w.by, c.server))(t), c.want)
		})
	}
	testkit.Equal(t, posts, 0) // MCP is spoken by POST
	t.Run("what the last report found counts, without asking", func(t *testing.T) {
		bare := newScript(t)
		bare.All = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(401); return true }
		server := w.register("bare", bare.URL, nil)
		testkit.Equal(t, testkit.Must(w.CheckOAuth(t.Context(), w.by, server))(t).UseOAuth, false)
		w.doctor(server)
		testkit.Equal(t, testkit.Must(w.CheckOAuth(t.Context(), w.by, server))(t).UseOAuth, true)
	})
	t.Run("a person who has brought tokens needs no sign-in", func(t *testing.T) {
		granted = true
		testkit.Equal(t, *testkit.Must(w.CheckOAuth(t.Context(), w.by, protected))(t), diagnosis.OAuth{UseOAuth: true, URL: at.URL, Method: "oauth"})
	})
	t.Run("where nothing answers that is said, for a no would be a guess", func(t *testing.T) {
		granted = false
		testkit.Equal(t, *testkit.Must(w.CheckOAuthURL(t.Context(), dead))(t), diagnosis.OAuth{URL: dead, Method: "none", Silent: true})
		testkit.Equal(t, testkit.Must(w.CheckOAuth(t.Context(), w.by, w.register("gone", dead, nil)))(t).Silent, true)
		testkit.Equal(t, testkit.Must(w.CheckOAuthURL(t.Context(), s.URL))(t).Silent, false)
	})
	t.Run("any URL can be asked about", func(t *testing.T) {
		testkit.Equal(t, testkit.Must(w.CheckOAuthURL(t.Context(), at.URL))(t).Requires, true)
		testkit.Equal(t, testkit.Must(w.CheckOAuthURL(t.Context(), s.URL))(t).UseOAuth, false)
		_, err := w.CheckOAuthURL(t.Context(), "file:///etc/passwd")
		testkit.Fault(t, err, "netguard.bad_url")
	})
}

func TestAsk(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t), impatient)
	s := newScript(t)
	server := w.register("s", s.URL, nil)
	t.Run("a list is the server's, or not there", func(t *testing.T) {
		l := testkit.Must(w.List(t.Context(), w.by, server, upstream.Tools, false))(t)
		testkit.Equal(t, l.Items[0].Name, "look")
		bare := w.register("bare", newScript(t).Set("initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"b","version":"1"}}`).URL, nil)
		_, err := w.List(t.Context(), w.by, bare, upstream.Templates, false)
		testkit.Fault(t, err, "diagnosis.feature")
		e := testkit.Must(w.Export(t.Context(), w.by, bare))(t)
		testkit.Equal(t, []int{len(e.Tools), len(e.Resources), len(e.Prompts)}, []int{0, 0, 0})
	})
	t.Run("a list and an export are of now; who goes on reading gets what was begun", func(t *testing.T) {
		changing := newScript(t)
		server := w.register("changing", changing.URL, nil)
		name := func(l *upstream.Listing) string { return l.Items[0].Name }
		testkit.Equal(t, name(testkit.Must(w.List(t.Context(), w.by, server, upstream.Tools, false))(t)), "look")
		changing.Set("tools/list", `{"tools":[{"name":"see","inputSchema":{"type":"object"}}]}`)
		testkit.Equal(t, name(testkit.Must(w.List(t.Context(), w.by, server, upstream.Tools, true))(t)), "look")
		testkit.Equal(t, testkit.Must(w.Export(t.Context(), w.by, server))(t).Tools[0].Name, "see")
		changing.Set("tools/list", `{"tools":[{"name":"gaze","inputSchema":{"type":"object"}}]}`)
		testkit.Equal(t, name(testkit.Must(w.List(t.Context(), w.by, server, upstream.Tools, false))(t)), "gaze")
	})
	t.Run("an export holds what a client needs and no more", func(t *testing.T) {
		e := testkit.Must(w.Export(t.Context(), w.by, server))(t)
		testkit.Equal(t, []string{e.ServerID, e.Tools[0].Name, string(e.Tools[0].InputSchema), e.Resources[0].URI, e.Prompts[0].Name}, []string{server.ID, "look", `{"type":"object"}`, "a://b", "p"})
	})
	t.Run("a server that is left alone for a moment is the one that fails", func(t *testing.T) {
		err := w.Failure(t.Context(), w.by, server, upstream.ErrOpen.After(9*time.Second))
		testkit.Fault(t, err, "diagnosis.down")
		testkit.Equal(t, []any{fault.Of(err).Kind, fault.Of(err).RetryAfter}, []any{fault.Upstream, 9 * time.Second})
	})
	t.Run("a server that hangs is a timeout, at the time that was said", func(t *testing.T) {
		h := newScript(t)
		h.All = hang
		start := time.Now()
		_, err := w.Validate(t.Context(), w.by, w.register("hangs", h.URL, nil))
		testkit.Fault(t, err, "upstream.timeout")
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
		h.CloseClientConnections()
	})
	t.Run("an unknown session that is taken is found", func(t *testing.T) {
		s := newScript(t).On("initialize", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			w.Header().Set("Mcp-Session-Id", strings.Repeat("s", 32))
			return false
		})
		r := w.doctor(w.register("sessions", s.URL, nil))
		if _, ok := findings(r)["protocol.strange-session"]; !ok || !r.Protocol.Session {
			t.Errorf("%+v", r.Findings)
		}
	})
}
