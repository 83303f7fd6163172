package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
	"headgate/internal/upstream"
)

// sdkServer is the official SDK's server, with or without sessions; without, it
// speaks both eras.
func sdkServer(t *testing.T, stateless bool) string {
	s := sdk.NewServer(&sdk.Implementation{Name: "sdk", Version: "1"}, &sdk.ServerOptions{Instructions: "be kind"})
	s.AddTool(&sdk.Tool{Name: "echo", InputSchema: map[string]any{"type": "object"}}, func(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: string(r.Params.Arguments)}}}, nil
	})
	h := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, &sdk.StreamableHTTPOptions{Stateless: stateless})
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

func rawServer(t *testing.T, era rawmcp.Era) string {
	s := testkit.Must(rawmcp.Listen(rawmcp.Options{Era: era}))(t)
	t.Cleanup(s.Close)
	return s.URL()
}

func TestEras(t *testing.T) {
	for _, c := range []struct {
		name   string
		url    func(t *testing.T) string
		legacy mcp.Era // found for a legacy caller
		modern mcp.Era
	}{
		{"the SDK with sessions", func(t *testing.T) string { return sdkServer(t, false) }, mcp.Legacy, mcp.Legacy},
		{"the SDK without", func(t *testing.T) string { return sdkServer(t, true) }, mcp.Legacy, mcp.Modern},
		{"a legacy server", func(t *testing.T) string { return rawServer(t, rawmcp.Legacy) }, mcp.Legacy, mcp.Legacy},
		{"a modern server", func(t *testing.T) string { return rawServer(t, rawmcp.Modern) }, mcp.Modern, mcp.Modern},
		{"a server of both", func(t *testing.T) string { return rawServer(t, rawmcp.Both) }, mcp.Legacy, mcp.Modern},
	} {
		for want, found := range map[mcp.Era]mcp.Era{mcp.Legacy: c.legacy, mcp.Modern: c.modern} {
			t.Run(fmt.Sprintf("%s is spoken to as %s by a %s caller", c.name, found, want), func(t *testing.T) {
				h, s := newHub(t), serverAt(c.url(t))
				f := testkit.Must(h.Eras(t.Context(), s, ann, want))(t)
				if f.Era != found || f.Revision.Era() != found || !f.Has("tools") {
					t.Fatalf("got %+v", f)
				}
				a := testkit.Must(h.Exchange(t.Context(), call(s, f.Revision, "7", "echo", `{"text":"nonce-1"}`), nil))(t)
				if got := text(t, a); got != "nonce-1" && got != `{"text":"nonce-1"}` {
					t.Errorf("got %q", got)
				}
			})
		}
	}
	t.Run("instructions and names are kept", func(t *testing.T) {
		for _, stateless := range []bool{false, true} {
			h, s := newHub(t), serverAt(sdkServer(t, stateless))
			f := testkit.Must(h.Eras(t.Context(), s, ann, mcp.Modern))(t)
			if f.Instructions != "be kind" || string(f.ServerInfo) != `{"name":"sdk","version":"1"}` {
				t.Errorf("got %q %s", f.Instructions, f.ServerInfo)
			}
		}
	})
}

func TestEraPins(t *testing.T) {
	t.Run("a pin is never probed around", func(t *testing.T) {
		u := newScript(t)
		h, s := newHub(t), serverAt(u.URL)
		s.Era = catalog.Legacy
		f := testkit.Must(h.Eras(t.Context(), s, ann, mcp.Modern))(t)
		testkit.Equal(t, f.Era, mcp.Legacy)
		testkit.Equal(t, u.count(mcp.MethodDiscover), 0)
		_, err := h.Exchange(t.Context(), call(s, mcp.LatestModern, "1", "echo", `{}`), nil)
		testkit.Fault(t, err, "upstream.era")

		s = serverAt(u.URL)
		s.Era = catalog.Modern
		_, err = h.Eras(t.Context(), s, ann, mcp.Legacy)
		testkit.Fault(t, err, "upstream.era")
		_, err = h.Exchange(t.Context(), call(s, mcp.LatestLegacy, "1", "echo", `{}`), nil)
		testkit.Fault(t, err, "upstream.era")
	})
}

func TestEraProbe(t *testing.T) {
	ok := func(w http.ResponseWriter, status int, body string) bool {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
		return true
	}
	for _, c := range []struct {
		name     string
		discover func(w http.ResponseWriter, m message) bool
	}{
		{"400 with text", func(w http.ResponseWriter, _ message) bool {
			http.Error(w, "Bad Request: no session", 400)
			return true
		}},
		{"404", func(w http.ResponseWriter, _ message) bool { http.Error(w, "not found", 404); return true }},
		{"method not found", func(w http.ResponseWriter, m message) bool { fail(w, 200, m.ID, -32601, "no"); return true }},
		{"an error of its own", func(w http.ResponseWriter, m message) bool {
			fail(w, 400, m.ID, -32000, "Server not initialized")
			return true
		}},
		{"unsupported version", func(w http.ResponseWriter, m message) bool { fail(w, 400, m.ID, -32022, "no"); return true }},
		{"a crash", func(w http.ResponseWriter, _ message) bool { http.Error(w, "boom", 500); return true }},
		{"a web page", func(w http.ResponseWriter, _ message) bool { fmt.Fprint(w, "<html>"); return true }},
		{"only old revisions", func(w http.ResponseWriter, m message) bool {
			respond(w, m.ID, `{"supportedVersions":["2025-11-25"],"capabilities":{}}`)
			return true
		}},
	} {
		t.Run("discover answered with "+c.name+" means legacy, and is not asked twice", func(t *testing.T) {
			u := newScript(t).on(mcp.MethodDiscover, func(w http.ResponseWriter, _ *http.Request, m message) bool { return c.discover(w, m) })
			h, s := newHub(t), serverAt(u.URL)
			for range 3 {
				testkit.Equal(t, testkit.Must(h.Eras(t.Context(), s, ann, mcp.Modern))(t).Era, mcp.Legacy)
			}
			testkit.Equal(t, u.count(mcp.MethodDiscover), 1)
		})
	}
	t.Run("a sign-in is no sign of an era", func(t *testing.T) {
		u := newScript(t).on(mcp.MethodDiscover, func(w http.ResponseWriter, _ *http.Request, _ message) bool {
			w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="https://x"`)
			return ok(w, 401, `{}`)
		})
		h, s := newHub(t), serverAt(u.URL)
		_, err := h.Eras(t.Context(), s, ann, mcp.Modern)
		testkit.Fault(t, err, "upstream.auth")
		var challenge *upstream.Challenge
		if !asChallenge(err, &challenge) || challenge.Header != `Bearer resource_metadata="https://x"` {
			t.Errorf("challenge %v", challenge)
		}
		testkit.Equal(t, u.count("initialize"), 0)
	})
	t.Run("a failed look is remembered for a moment", func(t *testing.T) {
		u := newScript(t).on(mcp.MethodDiscover, func(w http.ResponseWriter, _ *http.Request, _ message) bool { return ok(w, 401, `{}`) })
		h, s := newHub(t), serverAt(u.URL)
		for range 5 {
			_, err := h.Eras(t.Context(), s, ann, mcp.Modern)
			testkit.Fault(t, err, "upstream.auth")
		}
		testkit.Equal(t, u.count(mcp.MethodDiscover), 1)
	})
	t.Run("a server that went back to legacy is noticed, and nothing was done", func(t *testing.T) {
		modern := true
		u := newScript(t).on(mcp.MethodDiscover, func(w http.ResponseWriter, _ *http.Request, m message) bool {
			if modern {
				respond(w, m.ID, `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`)
			} else {
				http.Error(w, "no session", 400)
			}
			return true
		})
		h, s := newHub(t), serverAt(u.URL)
		testkit.Equal(t, testkit.Must(h.Eras(t.Context(), s, ann, mcp.Modern))(t).Era, mcp.Modern)
		modern = false
		u.on("tools/call", func(w http.ResponseWriter, r *http.Request, m message) bool {
			if r.Header.Get("Mcp-Session-Id") == "" {
				http.Error(w, "Bad Request: no session", 400)
				return true
			}
			return false
		})
		_, err := h.Exchange(t.Context(), call(s, mcp.LatestModern, "1", "echo", `{"text":"x"}`), nil)
		testkit.Fault(t, err, "upstream.era")
		f := testkit.Must(h.Eras(t.Context(), s, ann, mcp.Modern))(t)
		testkit.Equal(t, f.Era, mcp.Legacy)
		testkit.Equal(t, text(t, testkit.Must(h.Exchange(t.Context(), call(s, f.Revision, "1", "echo", `{"text":"x"}`), nil))(t)), "x")
	})
}

func TestEraUpgrade(t *testing.T) {
	modern := false
	u := newScript(t)
	u.on("initialize", func(w http.ResponseWriter, _ *http.Request, m message) bool {
		if modern {
			fail(w, 400, m.ID, -32022, "modern only")
		}
		return modern
	}).on(mcp.MethodDiscover, func(w http.ResponseWriter, _ *http.Request, m message) bool {
		if modern {
			respond(w, m.ID, `{"supportedVersions":["2026-07-28"],"capabilities":{}}`)
		}
		return modern
	})
	h, s := newHub(t), serverAt(u.URL)
	testkit.Equal(t, testkit.Must(h.Eras(t.Context(), s, ann, mcp.Legacy))(t).Era, mcp.Legacy)
	modern = true
	u.forgetSessions()
	_, err := h.Exchange(t.Context(), call(s, mcp.LatestLegacy, "1", "echo", `{}`), nil)
	testkit.Fault(t, err, "upstream.era")
	testkit.Equal(t, testkit.Must(h.Eras(t.Context(), s, ann, mcp.Legacy))(t).Era, mcp.Modern)
}

func asChallenge(err error, to **upstream.Challenge) bool { return errors.As(err, to) }
