package checkup_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/diagnosis/checkup"
	"headgate/internal/diagnosis/report"
	"headgate/internal/seal"
	"headgate/internal/testkit"
	"headgate/internal/testkit/mcpscript"
)

// examineWith examines with options of a test's own.
func examineWith(t *testing.T, o checkup.Options) *report.Report {
	t.Helper()
	if o.Client == nil {
		o.Client = checkup.Client(loopback, 20*time.Second)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Resolve == nil {
		o.Resolve = net.DefaultResolver.LookupNetIP
	}
	if o.Patience == 0 {
		o.Patience = time.Second
	}
	t.Cleanup(o.Client.CloseIdleConnections)
	r := report.New(report.Target{URL: o.URL, Transport: "http"}, time.Time{})
	checkup.OverNetwork(t.Context(), r, o)
	return r
}

// found checks that a report has a finding that says what, why and how to mend.
func found(t *testing.T, r *report.Report, id string) {
	t.Helper()
	f, ok := findings(r)[id]
	if !ok {
		t.Errorf("%s is missing in %+v", id, r.Findings)
	}
	if ok && (f.What == "" || f.Why == "" || f.Fix == "" || f.Check == "" || f.Severity == "") {
		t.Errorf("a finding says what, why and how to mend: %+v", f)
	}
}

// guarded is an MCP server behind a sign-in, whose challenge and metadata a test
// writes. ISSUER and URL in them stand for its own addresses.
type guarded struct{ challenge, resource, issuer string }

func (g guarded) serve(t *testing.T) string {
	t.Helper()
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own := strings.NewReplacer("ISSUER", s.URL, "URL", s.URL+"/mcp")
		body := map[string]string{"/.well-known/oauth-protected-resource/mcp": g.resource, "/.well-known/oauth-authorization-server": g.issuer}[r.URL.Path]
		switch {
		case r.URL.Path == "/mcp":
			status := http.StatusUnauthorized
			challenge, forbidden := strings.CutPrefix(g.challenge, "403 ")
			if forbidden {
				status = http.StatusForbidden
			}
			w.Header().Set("WWW-Authenticate", own.Replace(challenge))
			w.WriteHeader(status)
		case body == "":
			http.NotFound(w, r)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, own.Replace(body))
		}
	}))
	t.Cleanup(s.Close)
	return s.URL + "/mcp"
}

func TestSignInFindings(t *testing.T) {
	const (
		challenge = `Bearer resource_metadata="ISSUER/.well-known/oauth-protected-resource/mcp"`
		resource  = `{"resource":"URL","authorization_servers":["ISSUER"]}`
		issuer    = `{"issuer":"ISSUER","authorization_endpoint":"ISSUER/a","token_endpoint":"ISSUER/t","code_challenge_methods_supported":["S256"],"registration_endpoint":"ISSUER/r"}`
	)
	for id, g := range map[string]guarded{
		"auth.sign-in":              {challenge, resource, issuer},
		"auth.no-iss":               {challenge, resource, issuer},
		"auth.challenge-status":     {"403 " + challenge, resource, issuer},
		"auth.no-challenge":         {`Basic realm="x"`, resource, issuer},
		"auth.no-pointer":           {"Bearer", resource, issuer},
		"auth.no-resource-metadata": {challenge, "", issuer},
		"auth.resource-mismatch":    {challenge, `{"resource":"https://other.example","authorization_servers":["ISSUER"]}`, issuer},
		"auth.resource-parent":      {challenge, `{"resource":"ISSUER","authorization_servers":["ISSUER"]}`, issuer},
		"auth.offline-scope":        {challenge, `{"resource":"URL","authorization_servers":["ISSUER"],"scopes_supported":["offline_access"]}`, issuer},
		"auth.no-issuer-metadata":   {challenge, resource, ""},
		"auth.no-endpoint":          {challenge, resource, strings.Replace(issuer, `"token_endpoint":"ISSUER/t",`, "", 1)},
		"auth.no-pkce":              {challenge, resource, strings.Replace(issuer, "S256", "plain", 1)},
		"auth.no-registration":      {challenge, resource, strings.Replace(issuer, `,"registration_endpoint":"ISSUER/r"`, "", 1)},
	} {
		t.Run(id, func(t *testing.T) {
			r := examine(t, g.serve(t), loopback)
			testkit.Equal(t, r.Status, report.OAuthRequired)
			found(t, r, id)
		})
	}
	t.Run("auth.token-scope", func(t *testing.T) {
		// {"scope":"read"}
		token := seal.NewValue("Bearer eyJhbGciOiJub25lIn0.eyJzY29wZSI6InJlYWQifQ.c2ln")
		url := guarded{challenge + `, scope="read write"`, resource, issuer}.serve(t)
		r := examineWith(t, checkup.Options{URL: url, Headers: []catalog.Header{{Name: "Authorization", Value: token}}})
		found(t, r, "auth.token-scope")
		testkit.Equal(t, findings(r)["auth.token-scope"].Subjects, []string{"write"})
	})
}

func TestNetworkFindings(t *testing.T) {
	t.Run("dns.slow, and http without TLS", func(t *testing.T) {
		s := mcpscript.New(t)
		_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
		slow := func(context.Context, string, string) ([]netip.Addr, error) {
			<-time.After(600 * time.Millisecond)
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		}
		r := examineWith(t, checkup.Options{URL: "http://far.example:" + port, Client: &http.Client{Transport: &http.Transport{DialContext: dial}}, Resolve: slow, Patience: 5 * time.Second})
		found(t, r, "dns.slow")
		found(t, r, "tls.none")
	})
	t.Run("clock.skew", func(t *testing.T) {
		found(t, examineWith(t, checkup.Options{URL: mcpscript.New(t).URL, Now: func() time.Time { return time.Now().Add(time.Hour) }}), "clock.skew")
	})
	t.Run("tls.expires-soon, redirects.downgrade, redirects.not-followed", func(t *testing.T) {
		plain := mcpscript.New(t)
		s := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusPermanentRedirect))
		t.Cleanup(s.Close)
		client := s.Client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		ends := s.Certificate().NotAfter
		r := examineWith(t, checkup.Options{URL: s.URL, Client: client, Now: func() time.Time { return ends.Add(-24 * time.Hour) }})
		for _, id := range []string{"tls.expires-soon", "redirects.downgrade", "redirects.not-followed"} {
			found(t, r, id)
		}
	})
	t.Run("latency.slow, streaming.buffered", func(t *testing.T) {
		s := mcpscript.New(t).On("prompts/list", func(w http.ResponseWriter, _ *http.Request, m mcpscript.Message) bool {
			<-time.After(3100 * time.Millisecond)
			stream(w, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"prompts":[]}}`, m.ID))
			return true
		})
		r := examineWith(t, checkup.Options{URL: s.URL, Patience: 15 * time.Second})
		found(t, r, "latency.slow")
		found(t, r, "streaming.buffered")
	})
}

func TestSurfaceFindings(t *testing.T) {
	tools := func(list ...string) func(*mcpscript.Server) {
		return func(s *mcpscript.Server) { s.Set("tools/list", `{"tools":[`+strings.Join(list, ",")+`]}`) }
	}
	var many []string
	for i := range 41 {
		many = append(many, fmt.Sprintf(`{"name":"t%d","inputSchema":{"type":"object"}}`, i))
	}
	huge := `{"type":"object","description":"` + strings.Repeat("x", 70<<10) + `"}`
	for id, server := range map[string]func(*mcpscript.Server){
		"size.many-tools": tools(many...),
		"size.large-tool": tools(fmt.Sprintf(`{"name":"t","description":%q,"inputSchema":{"type":"object"}}`, strings.Repeat("w ", 5000))),
		"schemas.huge":    tools(`{"name":"t","inputSchema":` + huge + `}`),
		"names.shortened": tools(`{"name":"` + strings.Repeat("n", 60) + `","inputSchema":{"type":"object"}}`),
		"era.very-old": func(s *mcpscript.Server) {
			s.Set("initialize", `{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}`)
		},
		"protocol.hangs": func(s *mcpscript.Server) {
			s.On("headgate/doctor", func(w http.ResponseWriter, r *http.Request, _ mcpscript.Message) bool { return mcpscript.Hang(w, r) })
		},
		"connection.failed": func(s *mcpscript.Server) { s.Drop("initialize") },
		"protocol.content-type": func(s *mcpscript.Server) {
			s.On("headgate/doctor", func(w http.ResponseWriter, _ *http.Request, m mcpscript.Message) bool {
				w.Header().Set("Content-Type", "text/plain")
				fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, m.ID)
				return true
			})
		},
		"protocol.session-id": func(s *mcpscript.Server) {
			s.On("initialize", func(w http.ResponseWriter, _ *http.Request, _ mcpscript.Message) bool {
				w.Header().Set("Mcp-Session-Id", "a session")
				return false
			})
		},
		"protocol.strange-session-status": func(s *mcpscript.Server) {
			s.On("initialize", func(w http.ResponseWriter, _ *http.Request, _ mcpscript.Message) bool {
				w.Header().Set("Mcp-Session-Id", "its-own-session")
				return false
			}).On("tools/list", func(w http.ResponseWriter, r *http.Request, _ mcpscript.Message) bool {
				strange := r.Header.Get("Mcp-Session-Id") != "its-own-session"
				if strange {
					w.WriteHeader(http.StatusInternalServerError)
				}
				return strange
			})
		},
	} {
		t.Run(id, func(t *testing.T) {
			s := mcpscript.New(t)
			server(s)
			found(t, examineWith(t, checkup.Options{URL: s.URL, Slug: "a-server"}), id)
		})
	}
}

func TestModernFindings(t *testing.T) {
	const discovered = `{"resultType":"complete","ttlMs":1,"cacheScope":"public","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`
	for id, server := range map[string]func(*mcpscript.Server){
		"protocol.header-code": func(s *mcpscript.Server) {
			s.On("server/discover", func(w http.ResponseWriter, r *http.Request, m mcpscript.Message) bool {
				wrong := r.Header.Get("Mcp-Method") != "server/discover"
				if wrong {
					mcpscript.Fail(w, 400, m.ID, -32600, "no")
				}
				return wrong
			})
		},
		"protocol.supported-versions": func(s *mcpscript.Server) {
			s.On("server/discover", func(w http.ResponseWriter, _ *http.Request, m mcpscript.Message) bool {
				future := m.Params.Meta.Version > "2027"
				if future {
					mcpscript.Fail(w, 400, m.ID, -32022, "no")
				}
				return future
			})
		},
		"protocol.session-in-modern": func(s *mcpscript.Server) {
			s.On("headgate/doctor", func(w http.ResponseWriter, _ *http.Request, _ mcpscript.Message) bool {
				w.Header().Set("Mcp-Session-Id", "session")
				return false
			})
		},
		"protocol.get": func(s *mcpscript.Server) {
			s.All = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet {
					w.WriteHeader(http.StatusOK)
				}
				return r.Method == http.MethodGet
			}
		},
		"protocol.cache-scope-changes": func(s *mcpscript.Server) {
			s.On("tools/list", func(w http.ResponseWriter, _ *http.Request, m mcpscript.Message) bool {
				result := `{"resultType":"complete","ttlMs":1,"cacheScope":"public","tools":[],"nextCursor":"more"}`
				if m.Params.Cursor != "" {
					result = `{"resultType":"complete","ttlMs":1,"cacheScope":"private","tools":[]}`
				}
				mcpscript.Respond(w, m.ID, result)
				return true
			})
		},
	} {
		t.Run(id, func(t *testing.T) {
			s := mcpscript.New(t).Drop("initialize").Set("server/discover", discovered)
			server(s)
			found(t, examine(t, s.URL, loopback), id)
		})
	}
	t.Run("headers.base64", func(t *testing.T) { // the SDK compares Mcp-Name without decoding it (v1.8.0)
		url, _ := modern(t, asItIs)
		found(t, examine(t, url, loopback), "headers.base64")
	})
}
