package server_test

import (
	"net/http"
	"net/netip"
	"testing"

	"headgate/internal/server"
	"headgate/internal/testkit"
)

// TestHostAndOrigin is M01: each is judged against its own list, so a page that
// rebinds its name to our address, whose Host and Origin agree, is refused.
func TestHostAndOrigin(t *testing.T) {
	loopback := server.Config{Listen: "127.0.0.1:8080"}
	public := server.Config{
		Listen: "0.0.0.0:443", BaseDomains: []string{"gate.test"}, Hosts: []string{"other.test:444"}, Origins: []string{"https://console.test"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}
	for _, c := range []struct {
		name    string
		cfg     server.Config
		method  string
		headers []string
		want    int
	}{
		{"loopback, no origin", loopback, "POST", []string{"Host: localhost:8080"}, 200},
		{"loopback by address, no origin", loopback, "POST", []string{"Host: [::1]:8080"}, 200},
		{"loopback, its own page", loopback, "POST", []string{"Host: localhost:8080", "Origin: http://127.0.0.1:8080"}, 200},
		{"loopback, a page of another local port", loopback, "POST", []string{"Host: localhost:8080", "Origin: http://localhost:3000"}, 403},
		{"rebound: host and origin agree and are evil", loopback, "POST", []string{"Host: evil.test:8080", "Origin: http://evil.test:8080"}, 403},
		{"rebound, without an origin", loopback, "GET", []string{"Host: evil.test:8080"}, 403},
		{"good host, evil origin", loopback, "POST", []string{"Host: localhost:8080", "Origin: http://evil.test"}, 403},
		{"good host, null origin", loopback, "POST", []string{"Host: localhost:8080", "Origin: null"}, 403},
		{"good host, two origins", loopback, "POST", []string{"Host: localhost:8080", "Origin: http://localhost:8080", "Origin: http://evil.test"}, 403},
		{"a cross-site post of a browser that hides its origin", loopback, "POST", []string{"Host: localhost:8080", "Sec-Fetch-Site: cross-site"}, 403},
		{"a link followed from another site", loopback, "GET", []string{"Host: localhost:8080", "Sec-Fetch-Site: cross-site"}, 200},
		{"no host", loopback, "GET", []string{"Host: "}, 403},
		{"a host with a path", loopback, "GET", []string{"Host: localhost/abc?"}, 403},
		{"a host that ends like ours", public, "GET", []string{"Host: evilgate.test"}, 403},
		{"the base domain", public, "GET", []string{"Host: gate.test", "TLS: 1"}, 200},
		{"the base domain in capitals, with a port", public, "GET", []string{"Host: GATE.test:443", "TLS: 1"}, 200},
		{"an organization's name", public, "GET", []string{"Host: acme.gate.test", "TLS: 1"}, 200},
		{"a name two levels down", public, "GET", []string{"Host: a.b.gate.test", "TLS: 1"}, 403},
		{"a trailing dot", public, "GET", []string{"Host: gate.test.", "TLS: 1"}, 403},
		{"localhost from outside", public, "GET", []string{"Host: localhost"}, 403},
		{"a further host on its port", public, "GET", []string{"Host: other.test:444", "TLS: 1"}, 200},
		{"a further host on another port", public, "GET", []string{"Host: other.test", "TLS: 1"}, 403},
		{"the address a probe connected to", public, "GET", []string{"Host: 10.1.2.3:443", "Local: 10.1.2.3:443"}, 200},
		{"another address", public, "GET", []string{"Host: 10.1.2.4:443", "Local: 10.1.2.3:443"}, 403},
		{"its own page", public, "POST", []string{"Host: acme.gate.test", "TLS: 1", "Origin: https://acme.gate.test"}, 200},
		{"its own page without TLS", public, "POST", []string{"Host: acme.gate.test", "TLS: 1", "Origin: http://acme.gate.test"}, 403},
		{"a listed page", public, "POST", []string{"Host: gate.test", "TLS: 1", "Origin: https://console.test"}, 200},
		{"a listed page on another port", public, "POST", []string{"Host: gate.test", "TLS: 1", "Origin: https://console.test:444"}, 403},
		{"a listed page on an evil host", public, "POST", []string{"Host: evil.test", "TLS: 1", "Origin: https://console.test"}, 403},
		{"proxied, the name the proxy was asked for", public, "POST", []string{"Peer: 10.0.0.1:1", "Host: backend:8080", "X-Forwarded-Host: gate.test", "X-Forwarded-Proto: https", "Origin: https://gate.test"}, 200},
		{"proxied, evil", public, "POST", []string{"Peer: 10.0.0.1:1", "Host: backend:8080", "X-Forwarded-Host: evil.test", "X-Forwarded-Proto: https", "Origin: https://evil.test"}, 403},
		{"not proxied, but claims to be", public, "POST", []string{"Host: evil.test", "X-Forwarded-Host: gate.test"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := newServer(t, c.cfg)
			if w := ask(s, c.method, "/say", c.headers...); w.Code != c.want {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, c.want)
			}
		})
	}
	t.Run("a route that judges origins itself still has its host judged", func(t *testing.T) {
		s, _ := newServer(t, loopback, server.Route{Prefix: "/app", Handler: http.HandlerFunc(say), OwnOrigin: func(*http.Request) bool { return true }})
		if w := ask(s, "POST", "/app", "Origin: https://tenant.test"); w.Code != 200 {
			t.Errorf("got %d", w.Code)
		}
		if w := ask(s, "POST", "/app", "Origin: https://tenant.test", "Host: evil.test"); w.Code != 403 {
			t.Errorf("got %d", w.Code)
		}
	})
}

// TestClientAddress is A17: no header from outside says who or where a caller is.
func TestClientAddress(t *testing.T) {
	proxied := server.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for _, c := range []struct {
		name, want string
		headers    []string
	}{
		{"a direct caller is its connection's", "192.0.2.9 plain", nil},
		{"a direct caller's claims are not believed", "192.0.2.9 plain", []string{"X-Forwarded-For: 203.0.113.5", "X-Forwarded-Proto: https", "Forwarded: for=203.0.113.5", "X-Real-IP: 203.0.113.5"}},
		{"a proxy's word is", "203.0.113.5 secure", []string{"Peer: 10.0.0.1:1", "X-Forwarded-For: 203.0.113.5", "X-Forwarded-Proto: https"}},
		{"only its last untrusted entry", "203.0.113.5 plain", []string{"Peer: 10.0.0.1:1", "X-Forwarded-For: 198.51.100.1, 203.0.113.5, 10.0.0.7"}},
		{"over several headers", "203.0.113.5 plain", []string{"Peer: 10.0.0.1:1", "X-Forwarded-For: 198.51.100.1, 203.0.113.5", "X-Forwarded-For: 10.0.0.7"}},
		{"junk ends the walk", "10.0.0.7 plain", []string{"Peer: 10.0.0.1:1", "X-Forwarded-For: 203.0.113.5, junk, 10.0.0.7"}},
		{"a proxy that says nothing is the caller", "10.0.0.1 plain", []string{"Peer: 10.0.0.1:1"}},
		{"IPv4 in IPv6 is IPv4", "203.0.113.5 plain", []string{"Peer: [::ffff:10.0.0.1]:1", "X-Forwarded-For: ::ffff:203.0.113.5"}},
		{"two protocols are none", "10.0.0.1 plain", []string{"Peer: 10.0.0.1:1", "X-Forwarded-Proto: https,http"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := newServer(t, proxied)
			testkit.Equal(t, ask(s, "GET", "/say", c.headers...).Body.String(), c.want)
		})
	}
	t.Run("no handler sees such a header, from anybody", func(t *testing.T) {
		names := []string{
			"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-User", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip",
			"X-User-Id", "X-Tenant-Id", "X-Remote-User", "Remote-User", "X-Auth-Request-Email", "X-Headgate-Internal-Principal", "X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override",
		}
		var seen http.Header
		s, _ := newServer(t, proxied, server.Route{Prefix: "/", Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header })})
		headers := []string{"X-Headgate-Org-Id: org_1", "X-API-Key: k"}
		for _, n := range names {
			headers = append(headers, n+": localhost")
		}
		for _, peer := range []string{"192.0.2.9:1", "10.0.0.1:1"} {
			ask(s, "GET", "/", append(headers, "Peer: "+peer)...)
			testkit.Equal(t, seen, http.Header{"X-Headgate-Org-Id": {"org_1"}, "X-Api-Key": {"k"}})
		}
	})
}
