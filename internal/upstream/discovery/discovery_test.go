package discovery_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"headgate/internal/netguard"
	"headgate/internal/testkit"
	"headgate/internal/upstream/discovery"
)

func TestParseChallenge(t *testing.T) {
	for _, c := range []struct {
		header string
		want   discovery.Challenge
	}{
		{``, discovery.Challenge{}},
		{`Basic realm="x"`, discovery.Challenge{}},
		{`Bearer`, discovery.Challenge{Bearer: true}},
		{`Bearer resource_metadata="https://a.example/m", scope="a b"`, discovery.Challenge{Bearer: true, ResourceMetadata: "https://a.example/m", Scope: "a b"}},
		{`bearer error="invalid_token",error_description="It \"ended\", sorry"`, discovery.Challenge{Bearer: true, Error: "invalid_token", Description: `It "ended", sorry`}},
		{`Basic realm="resource_metadata", Bearer resource_metadata="https://a.example"`, discovery.Challenge{Bearer: true, ResourceMetadata: "https://a.example"}},
		{`Bearer scope="a", Basic realm="r", scope="b"`, discovery.Challenge{Bearer: true, Scope: "a"}},
		{`Bearer resource_metadata=https://a.example/m, scope=a`, discovery.Challenge{Bearer: true, ResourceMetadata: "https://a.example/m", Scope: "a"}},
		{`Negotiate abc==, Bearer scope = "a"`, discovery.Challenge{Bearer: true, Scope: "a"}},
		{`Bearer scope="never ends`, discovery.Challenge{Bearer: true}},
		{`,,,"\(`, discovery.Challenge{}},
	} {
		t.Run(c.header, func(t *testing.T) { testkit.Equal(t, discovery.ParseChallenge(c.header), c.want) })
	}
}

func FuzzParseChallenge(f *testing.F) {
	f.Add(`Bearer resource_metadata="https://a.example/m", scope="a b", Basic realm="x"`)
	f.Fuzz(func(_ *testing.T, header string) { discovery.ParseChallenge(header) }) // ends, and does not panic
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		resource, server string
		exact, covers    bool
	}{
		{"https://a.example/mcp", "https://a.example/mcp", true, true},
		{"https://A.example/mcp/", "https://a.example/mcp", true, true},
		{"https://a.example", "https://a.example/mcp", false, true},
		{"https://a.example/m", "https://a.example/mcp", false, false},
		{"https://b.example/mcp", "https://a.example/mcp", false, false},
		{"http://a.example/mcp", "https://a.example/mcp", false, false},
		{"https://a.example/mcp/x", "https://a.example/mcp", false, false},
		{"", "https://a.example/mcp", false, false},
	} {
		exact, covers := discovery.Covers(c.resource, c.server)
		testkit.Equal(t, []bool{exact, covers}, []bool{c.exact, c.covers})
	}
}

// site serves documents by path and notes who was asked for what.
type site struct {
	*httptest.Server
	asked []string
	docs  map[string]func(base string) any
}

func newSite(t *testing.T, docs map[string]func(base string) any) *site {
	s := &site{docs: docs}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked = append(s.asked, r.URL.Path)
		doc, ok := s.docs[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		switch v := doc(s.URL).(type) {
		case string:
			if strings.HasPrefix(v, "http") {
				http.Redirect(w, r, v, http.StatusFound)
				return
			}
			fmt.Fprint(w, v)
		default:
			_ = json.NewEncoder(w).Encode(v)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

var client = netguard.New(netguard.Policy{Loopback: true}).HTTPClient(5*time.Second, 1<<20)

func TestDiscover(t *testing.T) {
	resource := func(base string) any {
		return map[string]any{"resource": base + "/mcp", "authorization_servers": []string{base + "/as"}}
	}
	issuer := func(base string) any {
		return map[string]any{"issuer": base + "/as", "token_endpoint": base + "/token"}
	}
	const prm, as = "/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server"
	for _, c := range []struct {
		name      string
		docs      map[string]func(string) any
		challenge string // a path
		asked     []string
		resource  bool
		issuer    bool
	}{
		{"where the challenge points comes first", map[string]func(string) any{"/here": resource, as + "/as": issuer}, "/here", []string{"/here", as + "/as"}, true, true},
		{"then the path, then the root", map[string]func(string) any{prm: resource, as + "/as": issuer}, "", []string{prm + "/mcp", prm, as + "/as"}, true, true},
		{"OpenID's places come after OAuth's", map[string]func(string) any{prm + "/mcp": resource, "/as/.well-known/openid-configuration": issuer}, "",
			[]string{prm + "/mcp", as + "/as", "/.well-known/openid-configuration/as", "/as/.well-known/openid-configuration"}, true, true},
		{"metadata of another issuer is none", map[string]func(string) any{prm + "/mcp": resource, as + "/as": func(string) any { return map[string]any{"issuer": "https://evil.example", "token_endpoint": "x"} }}, "",
			[]string{prm + "/mcp", as + "/as", "/.well-known/openid-configuration/as", "/as/.well-known/openid-configuration"}, true, false},
		{"a redirect is not followed", map[string]func(string) any{prm + "/mcp": func(base string) any { return base + "/elsewhere" }, "/elsewhere": resource, as + "/as": issuer}, "",
			[]string{prm + "/mcp", prm, as, "/.well-known/openid-configuration"}, false, false},
		{"an old server is its own authorization server", map[string]func(string) any{as: func(base string) any { return map[string]any{"issuer": base, "token_endpoint": base + "/token"} }}, "",
			[]string{prm + "/mcp", prm, as}, false, true},
		{"what is no object is no metadata", map[string]func(string) any{prm + "/mcp": func(string) any { return `[]` }, prm: func(string) any { return `"x"` }}, "",
			[]string{prm + "/mcp", prm, as, "/.well-known/openid-configuration"}, false, false},
		{"a resource without an authorization server ends it", map[string]func(string) any{prm + "/mcp": func(base string) any { return map[string]any{"resource": base} }}, "", []string{prm + "/mcp"}, true, false},
		{"an endless document is cut off", map[string]func(string) any{prm + "/mcp": func(string) any { return `{"resource":"` + strings.Repeat("x", 400<<10) + `"}` }}, "",
			[]string{prm + "/mcp", prm, as, "/.well-known/openid-configuration"}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, c.docs)
			ch := discovery.Challenge{}
			if c.challenge != "" {
				ch.ResourceMetadata = s.URL + c.challenge
			}
			f := discovery.Discover(t.Context(), client, s.URL+"/mcp", ch)
			testkit.Equal(t, s.asked, c.asked)
			testkit.Equal(t, []bool{f.Resource != nil, f.Issuer != nil}, []bool{c.resource, c.issuer})
			if good := c.resource && c.issuer; good != (f.Problem == "") {
				t.Errorf("problem %q", f.Problem)
			}
		})
	}
	t.Run("the next authorization server is asked when one has no metadata, of three", func(t *testing.T) {
		for known, want := range map[string]bool{"/as2": true, "/as3": true, "/as4": false} {
			s := newSite(t, map[string]func(string) any{
				prm + "/mcp": func(base string) any {
					return map[string]any{"resource": base + "/mcp", "authorization_servers": []string{base + "/as1", base + "/as2", base + "/as3", base + "/as4"}}
				},
				as + known: func(base string) any {
					return map[string]any{"issuer": base + known, "token_endpoint": base + "/token"}
				},
			})
			f := discovery.Discover(t.Context(), client, s.URL+"/mcp", discovery.Challenge{})
			testkit.Equal(t, []bool{f.Issuer != nil, f.Problem == ""}, []bool{want, want})
		}
	})
	t.Run("one authorization server alone", func(t *testing.T) {
		s := newSite(t, map[string]func(string) any{as + "/as": issuer})
		f := discovery.DiscoverIssuer(t.Context(), client, s.URL+"/as")
		testkit.Equal(t, []any{f.Issuer != nil, f.Resource == nil, f.Problem, s.asked}, []any{true, true, "", []string{as + "/as"}})
		if f := discovery.DiscoverIssuer(t.Context(), client, s.URL+"/other"); f.Issuer != nil || f.Problem == "" {
			t.Errorf("%+v", f)
		}
	})
	t.Run("a pointer to a closed network is refused like one to nowhere", func(t *testing.T) {
		s := newSite(t, map[string]func(string) any{"/secret": func(string) any { return map[string]any{"resource": "x"} }})
		closed := netguard.New(netguard.Policy{}).HTTPClient(5*time.Second, 1<<20)
		f := discovery.Discover(t.Context(), closed, "http://127.0.0.1:8099/mcp", discovery.Challenge{ResourceMetadata: s.URL + "/secret"})
		testkit.Equal(t, len(s.asked), 0)
		for _, a := range f.Attempts {
			if a.Status != 0 || a.Problem != f.Attempts[0].Problem {
				t.Errorf("%+v", a)
			}
		}
	})
	t.Run("a URL that cannot be read is said to be so", func(t *testing.T) {
		if f := discovery.Discover(t.Context(), client, "%", discovery.Challenge{}); f.Problem == "" || len(f.Attempts) != 0 {
			t.Errorf("%+v", f)
		}
	})
}
