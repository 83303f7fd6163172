package netguard_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/fault"
	"headgate/internal/netguard"
)

// canary listens on loopback and counts who comes.
func canary(t *testing.T) (port string, hits *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	hits = new(atomic.Int32)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			hits.Add(1)
			c.Close()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, hits
}

// answering is a resolver that gives its answers in turn, the last one for ever.
func answering(answers ...[]string) netguard.Resolver {
	var n atomic.Int32
	return func(context.Context, string, string) ([]netip.Addr, error) {
		i := min(int(n.Add(1)), len(answers)) - 1
		var out []netip.Addr
		for _, a := range answers[i] {
			out = append(out, netip.MustParseAddr(a))
		}
		return out, nil
	}
}

// spellings of this host and its private surroundings, as hosts of a URL.
var spellings = []string{
	"127.0.0.1", "127.1", "127.0.1", "127.000.000.001", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "0X7F.0.0.1",
	"0177.0.0.1", "017700000001", "127.0.0.0x1", "127.0.0.1.", "127.255.255.254", "0.0.0.0", "0", "0.1.2.3",
	"%31%32%37.0.0.1", "127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "①②⑦.0.0.1", "localhost.", "loc%61lhost",
	"[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::0001]", "[::1%25lo]", "[fe80::1%25eth0]", "[::ffff:127.0.0.1]",
	"[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]",
	"[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2002:7f00:1::1]", "[2002:808:808::1]",
	"[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[2001::1]", "[2001:db8::1]", "[fec0::1]", "[fc00::1]", "[fd12::1]",
	"[fe80::1]", "[ff02::1]", "[100::1]", "[3fff::1]", "[5f00::1]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]",
	"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.100.100.200", "169.254.169.254",
	"169.254.170.2", "168.63.129.16", "198.18.0.1", "192.0.0.1", "192.0.2.1", "203.0.113.9", "224.0.0.1", "240.0.0.1",
	"255.255.255.255", "[::ffff:10.0.0.1]", "[64:ff9b::10.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]",
	"127.0.0.1@example.com", "example.com@127.0.0.1", "127.0.0.1\\@example.com", "[127.0.0.1]", "[::1", "::1",
	"127.0.0.1\t", "-localhost", "local host",
}

func TestSpellings(t *testing.T) {
	port, hits := canary(t)
	g := netguard.New(netguard.Policy{})
	client := g.HTTPClient(5*time.Second, 0)
	for _, host := range spellings {
		t.Run("refuses "+host, func(t *testing.T) {
			raw := "http://" + host + ":" + port + "/mcp"
			if u, err := g.CheckURL(raw); err == nil {
				t.Errorf("CheckURL accepts it as %s", u)
			}
			if resp, err := client.Get(raw); err == nil {
				resp.Body.Close()
				t.Error("HTTPClient connects")
			}
			bare := strings.Trim(host, "[]")
			bare = strings.ReplaceAll(bare, "%25", "%")
			if c, err := g.DialContext(t.Context(), "tcp", net.JoinHostPort(bare, port)); err == nil {
				c.Close()
				t.Error("DialContext connects")
			} else if !errors.Is(err, netguard.ErrBlocked) {
				t.Errorf("DialContext: %v", err)
			}
		})
	}
	if len(spellings) < 60 {
		t.Errorf("only %d spellings", len(spellings))
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("the canary was reached %d times", n)
	}
}

func TestCheckAddr(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, c := range []struct {
		why   string
		allow []netip.Prefix
		addr  string
		open  bool
	}{
		{"public IPv4", nil, "8.8.8.8", true},
		{"public IPv6", nil, "2606:4700::1111", true},
		{"public IPv4 behind NAT64", nil, "64:ff9b::8.8.8.8", true},
		{"mapped public IPv4", nil, "::ffff:8.8.8.8", true},
		{"addresses next to the special ones", nil, "172.32.0.1", true},
		{"addresses next to the carriers' ones", nil, "100.128.0.1", true},
		{"an opened network", []netip.Prefix{prefix("10.1.0.0/16")}, "10.1.2.3", true},
		{"an opened network in its mapped form", []netip.Prefix{prefix("10.1.0.0/16")}, "::ffff:10.1.2.3", true},
		{"an opened network behind NAT64", []netip.Prefix{prefix("10.1.0.0/16")}, "64:ff9b::10.1.2.3", true},
		{"the neighbour of an opened network", []netip.Prefix{prefix("10.1.0.0/16")}, "10.2.0.1", false},
		{"metadata in a broadly opened network", []netip.Prefix{prefix("0.0.0.0/0")}, "169.254.169.254", false},
		{"embedded metadata in a broadly opened network", []netip.Prefix{prefix("::/0"), prefix("0.0.0.0/0")}, "2002:a9fe:a9fe::", false},
		{"metadata named by itself", []netip.Prefix{prefix("169.254.169.254/32")}, "169.254.169.254", true},
		{"a zoned address in an opened network", []netip.Prefix{prefix("fe80::/10")}, "fe80::1%eth0", false},
	} {
		t.Run(c.why, func(t *testing.T) {
			err := netguard.New(netguard.Policy{Allow: c.allow}).CheckAddr(netip.MustParseAddr(c.addr))
			if (err == nil) != c.open {
				t.Fatalf("%s: open = %v, want %v", c.addr, err == nil, c.open)
			}
		})
	}
	t.Run("the zero address is refused", func(t *testing.T) {
		if netguard.New(netguard.Policy{}).CheckAddr(netip.Addr{}) == nil {
			t.Fatal("accepted")
		}
	})
}

func TestDialContext(t *testing.T) {
	port, hits := canary(t)
	dial := func(t *testing.T, p netguard.Policy, r netguard.Resolver) error {
		c, err := netguard.NewWithResolver(p, r).DialContext(t.Context(), "tcp", net.JoinHostPort("mcp.example.com", port))
		if err == nil {
			c.Close()
		}
		return err
	}
	refused := func(t *testing.T, err error) {
		t.Helper()
		if !errors.Is(err, netguard.ErrBlocked) || hits.Load() != 0 {
			t.Fatalf("err = %v, hits = %d", err, hits.Load())
		}
	}
	t.Run("a name that resolves to this host is refused", func(t *testing.T) {
		refused(t, dial(t, netguard.Policy{}, answering([]string{"127.0.0.1"})))
	})
	t.Run("one closed address among public ones spoils the name", func(t *testing.T) {
		refused(t, dial(t, netguard.Policy{}, answering([]string{"8.8.8.8", "127.0.0.1"})))
		refused(t, dial(t, netguard.Policy{}, answering([]string{"2606:4700::1111", "::1"})))
		refused(t, dial(t, netguard.Policy{}, answering([]string{"::ffff:127.0.0.1"})))
	})
	t.Run("a name whose second answer is this host is asked once and dialed at the first", func(t *testing.T) {
		var asked atomic.Int32
		rebinding := answering([]string{"10.255.255.1"}, []string{"127.0.0.1"})
		g := netguard.NewWithResolver(netguard.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
			func(ctx context.Context, network, host string) ([]netip.Addr, error) {
				asked.Add(1)
				return rebinding(ctx, network, host)
			})
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := g.DialContext(ctx, "tcp", net.JoinHostPort("mcp.example.com", port))
		refused(t, err)
		if asked.Load() != 1 {
			t.Fatalf("asked %d times", asked.Load())
		}
		_, err = g.DialContext(t.Context(), "tcp", net.JoinHostPort("mcp.example.com", port))
		refused(t, err)
	})
	t.Run("other networks than TCP are refused", func(t *testing.T) {
		for _, network := range []string{"udp", "unix", "ip", ""} {
			_, err := netguard.New(netguard.Policy{Loopback: true}).DialContext(t.Context(), network, "127.0.0.1:"+port)
			refused(t, err)
		}
	})
	t.Run("a deadline is visible in the cause", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := netguard.NewWithResolver(netguard.Policy{}, func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, errors.New("no answer")
		}).DialContext(ctx, "tcp", "mcp.example.com:443")
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, netguard.ErrBlocked) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("loopback is reached where the policy opens it, also past a dead first address", func(t *testing.T) {
		p := netguard.Policy{Loopback: true}
		if err := dial(t, p, answering([]string{"127.0.0.9", "127.0.0.1"})); err != nil {
			t.Fatal(err)
		}
	})
}

// Nothing gets this far today; the check is there for the day something does.
func TestControl(t *testing.T) {
	g := netguard.New(netguard.Policy{})
	for address, open := range map[string]bool{
		"8.8.8.8:443": true, "[2606:4700::1111]:443": true, "127.0.0.1:443": false, "[::1]:443": false, "10.0.0.1:443": false, "junk": false,
	} {
		if err := g.Control(address); (err == nil) != open {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestFailuresLookAlike(t *testing.T) {
	open, _ := canary(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	_, closedPort, _ := net.SplitHostPort(closed.Addr().String())

	text := func(p netguard.Policy, addr string, r netguard.Resolver) string {
		_, err := netguard.NewWithResolver(p, r).DialContext(t.Context(), "tcp", addr)
		if err == nil {
			t.Fatalf("%s: connected", addr)
		}
		f := fault.Of(err)
		return fmt.Sprint(f.Kind, f.Code, f.Message, f.Details)
	}
	nxdomain := func(context.Context, string, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}
	}
	texts := map[string]string{
		"private and open":   text(netguard.Policy{}, "127.0.0.1:"+open, nil),
		"private and closed": text(netguard.Policy{}, "127.0.0.1:"+closedPort, nil),
		"allowed and closed": text(netguard.Policy{Loopback: true}, "127.0.0.1:"+closedPort, nil),
		"private name":       text(netguard.Policy{}, "db.internal:"+open, answering([]string{"10.0.0.1"})),
		"no such name":       text(netguard.Policy{}, "nope.internal:"+open, nxdomain),
		"no address":         text(netguard.Policy{}, "none.internal:"+open, answering(nil)),
	}
	for name, got := range texts {
		if got != texts["no such name"] {
			t.Errorf("%s: %s", name, got)
		}
		for _, secret := range []string{"127.0.0.1", "10.0.0.1", "internal", open} {
			if strings.Contains(got, secret) {
				t.Errorf("%s: the message holds %q", name, secret)
			}
		}
	}
	if !strings.Contains(texts["no such name"], "allow-networks") {
		t.Error("the message does not say what the operator can do")
	}
}

func TestCheckURL(t *testing.T) {
	g := netguard.New(netguard.Policy{})
	for raw, want := range map[string]string{
		"https://mcp.example.com/mcp":            "https://mcp.example.com/mcp",
		"HTTPS://MCP.Example.COM:8443/A/b?x=1&y": "https://mcp.example.com:8443/A/b?x=1&y",
		"http://xn--bcher-kva.example":           "http://xn--bcher-kva.example",
		"http://mcp_server:8000/mcp":             "http://mcp_server:8000/mcp",
		"http://8.8.8.8/":                        "http://8.8.8.8/",
		"https://[2606:4700::1111]:8080/":        "https://[2606:4700::1111]:8080/",
		"https://7.example.com/%2e%2e":           "https://7.example.com/%2e%2e",
	} {
		t.Run("accepts "+raw, func(t *testing.T) {
			u, err := g.CheckURL(raw)
			if err != nil || u.String() != want {
				t.Fatalf("got %v, %v", u, err)
			}
		})
	}
	for _, raw := range []string{
		"", "mcp.example.com", "//mcp.example.com/", "file:///etc/passwd", "gopher://example.com", "unix:/run/x.sock",
		"ftp://example.com", "javascript:alert(1)", "http:example.com", "http://", "http:///mcp", "https://u:p@example.com",
		"https://u@example.com", "https://@example.com", "https://example.com/#", "https://example.com/#x",
		"https://example.com:/", "https://example.com:0/", "https://example.com:080/", "https://example.com:65536/",
		"https://example.com:22/", "https://example.com:25/", "https://example.com:5432/", "https://example.com:6379/",
		"https://example.com:x/", "https://example..com/", "https://.example.com/", "https://example.com./",
		"https://exa mple.com/", "https://example.com/\r\nX: y", "https://example.com/\x00", "https://bücher.example/",
		"https://example.com\\@evil.example/", "https://example.com/ä", "https://a.0x7f/", "https://" + strings.Repeat("a", 64) + ".com/",
		"https://example.com/" + strings.Repeat("a", 2048),
	} {
		t.Run("refuses "+fmt.Sprintf("%.40q", raw), func(t *testing.T) {
			u, err := g.CheckURL(raw)
			if !errors.Is(err, netguard.ErrURL) {
				t.Fatalf("got %v, %v", u, err)
			}
		})
	}
	t.Run("never repeats what was given", func(t *testing.T) {
		_, err := g.CheckURL("https://user:hunter2@exam%zzple.com/")
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Fatalf("got %v", err)
		}
	})
}

func TestCheckHeader(t *testing.T) {
	for name, value := range map[string]string{
		"Authorization": "Bearer abc.def", "Cookie": "a=b; c=d", "X-Api-Key": "k", "X_Custom": "tab\there", "x-empty": "",
	} {
		t.Run("accepts "+name, func(t *testing.T) {
			if err := netguard.CheckHeader(name, value); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, h := range [][2]string{
		{"", "x"}, {"X A", "x"}, {"X-A:", "x"}, {"X-A\r\n", "x"}, {"X-Ä", "x"}, {"Host", "x"}, {"hOsT", "x"}, {"Connection", "close"},
		{"Keep-Alive", "x"}, {"Transfer-Encoding", "chunked"}, {"Content-Length", "0"}, {"Content-Type", "x"}, {"Accept", "x"},
		{"Proxy-Authorization", "x"}, {"Proxy-Anything", "x"}, {"TE", "trailers"}, {"Trailer", "x"}, {"Upgrade", "h2c"},
		{"Expect", "100-continue"}, {"Mcp-Session-Id", "x"}, {"MCP-Protocol-Version", "x"}, {"Accept-Encoding", "gzip"},
		{"X-A", "a\r\nHost: b"}, {"X-A", "a\nb"}, {"X-A", "a\rb"}, {"X-A", "a\x00b"}, {"X-A", "ä"}, {"X-A", " a"}, {"X-A", "a "},
		{"X-A", strings.Repeat("a", 8193)}, {strings.Repeat("a", 129), "x"},
	} {
		t.Run(fmt.Sprintf("refuses %.30q: %.30q", h[0], h[1]), func(t *testing.T) {
			if err := netguard.CheckHeader(h[0], h[1]); !errors.Is(err, netguard.ErrHeader) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestHTTPClient(t *testing.T) {
	var redirected atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/big", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 1001)) })
	mux.HandleFunc("/fits", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 1000)) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/target", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/target", func(http.ResponseWriter, *http.Request) { redirected.Add(1) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	client := netguard.New(netguard.Policy{Loopback: true}).HTTPClient(5*time.Second, 1000)
	defer client.CloseIdleConnections()
	get := func(t *testing.T, url string) (int, string, error) {
		resp, err := client.Get(url)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b), err
	}
	t.Run("a body of exactly the limit is read", func(t *testing.T) {
		if _, body, err := get(t, srv.URL+"/fits"); err != nil || len(body) != 1000 {
			t.Fatalf("got %d bytes, %v", len(body), err)
		}
	})
	t.Run("a longer body is an error", func(t *testing.T) {
		if _, body, err := get(t, srv.URL+"/big"); !errors.Is(err, netguard.ErrBodyTooLarge) || len(body) != 1000 {
			t.Fatalf("got %d bytes, %v", len(body), err)
		}
	})
	t.Run("a redirect is an answer", func(t *testing.T) {
		status, _, err := get(t, srv.URL+"/away")
		if err != nil || status != http.StatusTemporaryRedirect || redirected.Load() != 0 {
			t.Fatalf("got %d, %v, %d followed", status, err, redirected.Load())
		}
	})
	t.Run("proxy variables are ignored", func(t *testing.T) {
		port, hits := canary(t)
		t.Setenv("HTTP_PROXY", "http://127.0.0.1:"+port)
		t.Setenv("http_proxy", "http://127.0.0.1:"+port)
		if _, _, err := get(t, "http://mcp.invalid/"); err == nil || hits.Load() != 0 {
			t.Fatalf("err = %v, the proxy was asked %d times", err, hits.Load())
		}
	})
	t.Run("URL rules hold for requests nobody checked", func(t *testing.T) {
		for _, u := range []string{"http://user:pw@127.0.0.1/", "http://127.0.0.1:6379/", "http://2130706433/"} {
			if _, _, err := get(t, u); !errors.Is(err, netguard.ErrURL) {
				t.Errorf("%s: %v", u, err)
			}
		}
	})
}
