package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/cli"
)

// platform is as much of the Platform API as a session needs.
type platform struct {
	*httptest.Server
	t         *testing.T
	home      string
	mu        sync.Mutex
	refreshed []string // the refresh tokens that came
	used      []string // the credentials that came
	refuse    bool
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	p := &platform{t: t, home: t.TempDir()}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/v1/auth/login":
			_, _ = io.WriteString(w, `{"success":true,"data":{"token":"first","refreshToken":"r0","user":{"email":"a@example.com","role":"owner"}},"meta":{"tokenExpires":5}}`)
		case "/v1/auth/refresh":
			p.refreshed = append(p.refreshed, string(bytes.TrimSpace(body)))
			if p.refuse {
				w.WriteHeader(401)
				_, _ = io.WriteString(w, `{"success":false,"error":{"code":"AUTH_TOKEN_INVALID","message":"This session has ended.","details":{}}}`)
				return
			}
			n := len(p.refreshed)
			_, _ = fmt.Fprintf(w, `{"success":true,"data":{"token":"token-%d","refreshToken":"r%d"},"meta":{"tokenExpires":900}}`, n, n)
		default:
			p.used = append(p.used, r.Header.Get("Authorization"))
			_, _ = io.WriteString(w, `{"success":true,"data":{"user":{"email":"a@example.com"}},"meta":{}}`)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *platform) run(args ...string) (code int, stderr string) {
	p.t.Helper()
	var out, err bytes.Buffer
	env := map[string]string{"XDG_CONFIG_HOME": p.home, "HEADGATE_URL": p.URL}
	code = (&cli.Program{Version: "v1"}).Run(context.Background(), args, strings.NewReader("password\n"), &out, &err, func(name string) string { return env[name] })
	return code, err.String()
}

func (p *platform) login() {
	p.t.Helper()
	if code, err := p.run("login", "--email", "a@example.com"); code != 0 {
		p.t.Fatal(err)
	}
}

func TestSession(t *testing.T) {
	t.Run("is renewed before its end, kept, and then used as it is", func(t *testing.T) {
		p := newPlatform(t)
		p.login() // for five seconds: too short a time for any request
		for range 2 {
			if code, err := p.run("whoami"); code != 0 {
				t.Fatal(err)
			}
		}
		if got := strings.Join(p.refreshed, " "); got != `{"refreshToken":"r0"}` {
			t.Errorf("renewed with %s", got)
		}
		if got := strings.Join(p.used, ", "); got != "Bearer token-1, Bearer token-1" {
			t.Errorf("sent %s", got)
		}
		files, _ := filepath.Glob(filepath.Join(p.home, "headgate", "*"))
		if len(files) != 1 {
			t.Fatalf("files: %v", files)
		}
		text, _ := os.ReadFile(files[0])
		var kept struct {
			RefreshToken string
			ExpiresAt    time.Time
		}
		if json.Unmarshal(text, &kept) != nil || kept.RefreshToken != "r1" || time.Until(kept.ExpiresAt) < 10*time.Minute {
			t.Errorf("kept %s", text)
		}
	})
	t.Run("that the server ended says how to get a new one", func(t *testing.T) {
		p := newPlatform(t)
		p.login()
		p.refuse = true
		code, err := p.run("whoami")
		if code != 3 || !strings.Contains(err, "headgate login") || len(p.used) != 0 {
			t.Error(code, err, p.used)
		}
	})
	t.Run("goes to its own server alone", func(t *testing.T) {
		p, other := newPlatform(t), newPlatform(t)
		p.login()
		if code, err := p.run("whoami", "--url", other.URL); code != 3 || len(other.used) != 0 {
			t.Error(code, err, other.used)
		}
	})
	t.Run("is forgotten when signing out, also without the server", func(t *testing.T) {
		p := newPlatform(t)
		p.login()
		p.Close()
		if code, err := p.run("logout"); code != 9 || !strings.Contains(err, "forgotten here") {
			t.Error(code, err)
		}
		if code, _ := p.run("logout"); code != 0 {
			t.Error("it was still there")
		}
	})
}
