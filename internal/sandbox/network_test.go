//go:build linux && (amd64 || arm64)

package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"headgate/internal/sandbox"
)

func TestNetwork(t *testing.T) {
	walls(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello from %s", r.Host) }))
	defer server.Close()
	var mu sync.Mutex
	var dialled []string
	guard := func(ctx context.Context, network, addr string) (net.Conn, error) {
		mu.Lock()
		dialled = append(dialled, addr)
		mu.Unlock()
		if strings.HasSuffix(addr, ".example.test:80") || strings.HasSuffix(addr, ".example.test:8080") {
			return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
		}
		return nil, errors.New("refused")
	}
	l := newLauncher(guard)
	fetch := func(t *testing.T, way string, urls ...string) []string {
		spec := child(t, "fetch", append([]string{way}, urls...)...)
		spec.Network.AllowHosts = []string{"api.example.test", "*.wild.example.test", "odd.example.test:8080", "down.test"}
		return output(t, start(t, l, spec))
	}
	t.Run("a program that uses the proxy reaches allowed hosts only", func(t *testing.T) {
		got := fetch(t, "proxy", "http://api.example.test/", "http://a.wild.example.test/", "http://odd.example.test:8080/",
			"http://other.example.test/", "http://wild.example.test/", "http://api.example.test:8080/", "http://169.254.169.254/", server.URL)
		want := []string{
			"200 http://api.example.test/ hello from api.example.test", "200 http://a.wild.example.test/ hello from a.wild.example.test",
			"200 http://odd.example.test:8080/ hello from odd.example.test:8080",
		}
		for _, refused := range []string{"http://other.example.test/", "http://wild.example.test/", "http://api.example.test:8080/", "http://169.254.169.254/", server.URL} {
			want = append(want, "403 "+refused+" This host is not on the server's list of allowed hosts.")
		}
		if !cmp.Equal(got, want) {
			t.Fatal(cmp.Diff(want, got))
		}
	})
	t.Run("a program that does not reaches the same named hosts", func(t *testing.T) {
		got := fetch(t, "direct", "http://api.example.test/", "http://odd.example.test:8080/", "http://api.example.test:8080/",
			"http://other.example.test/", "http://169.254.169.254/", server.URL)
		want := []string{
			"200 http://api.example.test/ hello from api.example.test", "200 http://odd.example.test:8080/ hello from odd.example.test:8080",
			"refused http://api.example.test:8080/", "refused http://other.example.test/", "refused http://169.254.169.254/", "refused " + server.URL,
		}
		if !cmp.Equal(got, want) {
			t.Fatal(cmp.Diff(want, got))
		}
	})
	t.Run("the guard has the last word", func(t *testing.T) {
		if got := fetch(t, "proxy", "http://down.test/"); !cmp.Equal(got, []string{"502 http://down.test/ "}) {
			t.Fatalf("got %q", got)
		}
	})
	t.Run("it dials nothing that is not on the list", func(t *testing.T) {
		mu.Lock()
		defer mu.Unlock()
		for _, addr := range dialled {
			if !strings.HasSuffix(addr, "example.test:80") && addr != "odd.example.test:8080" && addr != "down.test:80" {
				t.Errorf("dialled %s", addr)
			}
		}
	})
	t.Run("two children with a network do not meet", func(t *testing.T) {
		first := child(t, "serve", "4000")
		first.Network.AllowHosts = []string{"api.example.test"}
		if line := receive(t, start(t, l, first)); line != "listening" {
			t.Fatalf("got %s", line)
		}
		second := child(t, "connect", "tcp", "127.0.0.1:4000")
		second.Network.AllowHosts = []string{"api.example.test"}
		if got := output(t, start(t, l, second)); len(got) > 0 {
			t.Fatalf("got %q", got)
		}
	})
	t.Run("the walls stay", func(t *testing.T) {
		spec := child(t, "echo")
		spec.Network.AllowHosts = []string{"api.example.test"}
		if report := start(t, l, spec).Attest(); report.Level != sandbox.Full {
			t.Fatalf("down: %+v", report.Down())
		}
	})
}
