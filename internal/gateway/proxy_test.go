package gateway_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"headgate/internal/testkit"
)

// holding is a reverse proxy that does what makes event streams useless behind
// many: it holds an answer back until it is whole, and packs it, unless the
// answer says not to.
func holding(t *testing.T, to string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // first: a server takes it away once it answers
		out, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.RequestURI(), bytes.NewReader(body))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		out.Header = r.Header.Clone()
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		for name, values := range resp.Header {
			w.Header()[name] = values
		}
		if resp.Header.Get("X-Accel-Buffering") == "no" && strings.Contains(resp.Header.Get("Cache-Control"), "no-transform") {
			w.WriteHeader(resp.StatusCode)
			buf := make([]byte, 32<<10)
			for {
				n, err := resp.Body.Read(buf)
				_, _ = w.Write(buf[:n])
				w.(http.Flusher).Flush()
				if err != nil {
					return
				}
			}
		}
		whole, _ := io.ReadAll(resp.Body)
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(whole)
		_ = z.Close()
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Del("Content-Length")
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(packed.Bytes())
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

const nginxConfig = `daemon off;
%s
worker_processes 1;
error_log stderr crit;
pid %[2]s/pid;
events { worker_connections 128; }
http {
	access_log off;
	client_body_temp_path %[2]s/1; proxy_temp_path %[2]s/2; fastcgi_temp_path %[2]s/3; uwsgi_temp_path %[2]s/4; scgi_temp_path %[2]s/5;
	gzip on; gzip_proxied any; gzip_min_length 1; gzip_types *;
	server { listen %[3]s; location / { proxy_pass %[4]s; proxy_http_version 1.1; proxy_set_header Host $http_host; } }
}
`

// nginx is the real thing, as it comes: with buffering, and packing everything.
// "" where it is not installed.
func nginx(t *testing.T, to string) string {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			return ""
		}
	}
	dir, user := t.TempDir(), ""
	if os.Geteuid() == 0 {
		user = "user root;" // the directories are root's
	}
	l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	address := l.Addr().String()
	testkit.Must0(t, l.Close())
	file := filepath.Join(dir, "nginx.conf")
	testkit.Must0(t, os.WriteFile(file, fmt.Appendf(nil, nginxConfig, user, dir, address, to), 0o600))
	cmd := exec.Command(path, "-p", dir, "-c", file, "-e", "stderr")
	testkit.Must0(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
	})
	if !listens(address, ended) {
		t.Fatal("nginx does not listen")
	}
	return "http://" + address
}

// TestBehindProxies shows that streams of both eras pass a proxy that holds
// answers back: an event is there while the call goes on, and so is a
// subscription's.
func TestBehindProxies(t *testing.T) {
	h := newHouse(t)
	u := newScript(t, true)
	u.holds = "subscriptions/listen"
	h.serve("weather", u.URL)
	old := newScript(t, false)
	h.serve("old", old.URL)
	own := h.url
	for name, proxy := range map[string]func(*testing.T, string) string{"one that holds answers back": holding, "nginx": nginx} {
		t.Run(name, func(t *testing.T) {
			h.t = t
			if h.url = proxy(t, own); h.url == "" {
				t.Skip("nginx is not installed: the other proxy does what it does")
			}
			note := `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`
			answer := `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}`
			for path, s := range map[string]*script{"/mcp/weather": u, "/mcp/old": old} {
				r := h.modernRequest(t.Context(), path, "tools/call", `"name":"x"`)
				if s == old {
					l := h.initialize(path, "2025-11-25", "{}")
					r = h.request(t.Context(), "POST", path, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`, l.headers()...)
				}
				came := make(chan *http.Response, 1)
				go func() {
					resp, err := http.DefaultClient.Do(r)
					if err != nil {
						t.Error(err)
					}
					came <- resp
				}()
				in := s.gets()
				in.sends(t, note, 0)
				resp := <-came
				if resp == nil {
					t.FailNow()
				}
				if resp.Uncompressed && name != "nginx" { // which packs what it is told to, event by event
					t.Error("the stream is packed")
				}
				e := newEvents(t, resp)
				if got := e.message(); !strings.Contains(got, "notifications/progress") {
					t.Errorf("%s: %s", path, got)
				}
				in.sends(t, answer, 0)
				if got := e.message(); !strings.Contains(got, `"result"`) {
					t.Errorf("%s: %s", path, got)
				}
			}
			l := h.events(h.modernRequest(t.Context(), "/mcp/weather", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`))
			testkit.Equal(t, l.want().Method, "notifications/subscriptions/acknowledged")
			testkit.Equal(t, h.modern("/mcp/weather", "tools/list", "").status, 200)
		})
	}
}
