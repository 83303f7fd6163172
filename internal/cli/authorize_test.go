package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/cli"
	"headgate/internal/demo"
	"headgate/internal/testkit"
	"headgate/internal/testkit/oauthserver"
)

// person uses the headgate command, and a browser in which they agree to
// everything.
type person struct {
	t     *testing.T
	env   map[string]string
	input string
	pages []url.Values // that the browser was shown
	first map[string]string
	log   *locked
}

// locked is a buffer for several goroutines.
type locked struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}

func (l *locked) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

// newPerson starts a Headgate, whose owner with the first start's key it is.
func newPerson(t *testing.T) *person {
	t.Helper()
	dir := t.TempDir()
	p := &person{t: t, log: &locked{}}
	base, err := serve(dir, slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug})), t.Cleanup)
	testkit.Must0(t, err)
	testkit.Must0(t, json.Unmarshal(testkit.Must(os.ReadFile(filepath.Join(dir, "data", "first-run.json")))(t), &p.first))
	p.env = map[string]string{"HEADGATE_URL": base, "HEADGATE_KEY": p.first["apiKey"], "XDG_CONFIG_HOME": t.TempDir()}
	return p
}

var aPage = regexp.MustCompile(`(?m)^    (http\S+)$`)

// run runs a command. Each page that it prints is opened.
func (p *person) run(args ...string) (code int, out, errs string) {
	p.t.Helper()
	read, write := io.Pipe()
	var stdout, stderr bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		b, opened := make([]byte, 4096), 0
		for {
			n, err := read.Read(b)
			stderr.Write(b[:n])
			for _, m := range aPage.FindAllSubmatch(stderr.Bytes(), -1)[opened:] {
				opened++
				p.open(string(m[1]))
			}
			if err != nil {
				return
			}
		}
	}()
	code = (&cli.Program{Version: "v1"}).Run(p.t.Context(), args, strings.NewReader(p.input), &stdout, write, func(name string) string { return p.env[name] })
	_ = write.Close()
	<-done
	return code, stdout.String(), stderr.String()
}

func (p *person) open(page string) {
	u, err := url.Parse(page)
	if err != nil {
		return
	}
	p.pages = append(p.pages, u.Query())
	resp, err := http.Get(page) // a redirect leads to the command's own listener
	if err == nil {
		_ = resp.Body.Close()
	}
}

// want runs a command that must end with a code, and returns what it printed.
func (p *person) want(code int, args ...string) string {
	p.t.Helper()
	got, out, errs := p.run(args...)
	if got != code {
		p.t.Fatalf("%v: exit code %d, want %d\n%s%s", args, got, code, out, errs)
	}
	return out + errs
}

// call calls a tool of a server through the Gateway.
func (p *person) call(server string) string {
	p.t.Helper()
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"through"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
		`"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"}}}}`
	r := testkit.Must(http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.env["HEADGATE_URL"]+"/mcp/"+server, strings.NewReader(body)))(p.t)
	for name, value := range map[string]string{"Authorization": "Bearer " + p.first["apiKey"], "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "echo"} {
		r.Header.Set(name, value)
	}
	resp := testkit.Must(http.DefaultClient.Do(r))(p.t)
	defer resp.Body.Close()
	return string(testkit.Must(io.ReadAll(resp.Body))(p.t))
}

// eventually waits until a text holds another.
func (p *person) eventually(want string, get func() string) string {
	p.t.Helper()
	text := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if text = get(); strings.Contains(text, want) {
			return text
		}
	}
	p.t.Fatalf("never %q: %s", want, text)
	return ""
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in %s", part, text)
		}
	}
}

// TestAuthorize is the whole life of a sign-in at a protected server: none, a
// call through the Gateway, a token that ends and is renewed, a sign-in that
// the authorization server takes back, and another.
func TestAuthorize(t *testing.T) {
	p, as := newPerson(t), oauthserver.New(t)
	as.Lifetime = 1
	at := as.Protect(demo.Handler("1", time.Now))
	p.want(0, "server", "add", "crm", at.URL)
	contains(t, p.call("crm"), `"code":"upstream.auth"`, "headgate server authorize")
	contains(t, p.want(3, "call", "crm", "echo", `{"text":"x"}`), "headgate server authorize NAME")

	contains(t, p.want(0, "server", "authorize", "crm"), "Signed in to crm", "renewed", "Permissions: mcp")
	testkit.Equal(t, []string{p.pages[0].Get("resource"), p.pages[0].Get("code_challenge_method")}, []string{at.URL, "S256"})
	contains(t, p.want(0, "server", "show", "crm"), "at "+as.URL)
	p.eventually("through", func() string { return p.call("crm") })

	as.Revoke() // the access token is no good any more, as one that has ended
	seen, renewals := len(at.Seen()), as.Refreshes()
	p.eventually("through", func() string { return p.call("crm") })
	if as.Refreshes() == renewals || slices.Contains(at.Seen()[:seen], at.Seen()[len(at.Seen())-1]) {
		t.Error("the token was not renewed")
	}

	as.RevokeAll()
	shown := p.eventually("over: ", func() string { p.call("crm"); return p.want(0, "server", "show", "crm") })
	contains(t, shown, "invalid_grant", "headgate server authorize crm")
	contains(t, p.call("crm"), `"code":"upstream.auth"`, "headgate server authorize")
	contains(t, p.want(0, "server", "authorize", "crm"), "Signed in to crm")
	p.eventually("through", func() string { return p.call("crm") })

	p.want(0, "server", "deauthorize", "crm")
	contains(t, p.call("crm"), `"code":"upstream.auth"`)
	p.want(5, "server", "deauthorize", "crm")

	// Neither codes nor secrets nor tokens are in the log.
	for _, secret := range []string{"at-", "rt-", "cs-", "code-", "code_verifier"} {
		if log := p.log.text(); log == "" || regexp.MustCompile(regexp.QuoteMeta(secret)+`[A-Z2-7]{26}`).MatchString(log) {
			t.Errorf("%s… is in the log, or there is no log", secret)
		}
	}
}

func TestAuthorizeWays(t *testing.T) {
	p := newPerson(t)
	n := 0
	protected := func(t *testing.T) (*oauthserver.Server, *oauthserver.Resource, string) {
		as := oauthserver.New(t)
		at := as.Protect(demo.Handler("1", time.Now))
		n++
		name := fmt.Sprintf("s%d", n)
		p.want(0, "server", "add", name, at.URL)
		p.input, p.pages = "", nil
		return as, at, name
	}
	t.Run("with the session of headgate login", func(t *testing.T) {
		_, _, name := protected(t)
		key := p.env["HEADGATE_KEY"]
		delete(p.env, "HEADGATE_KEY")
		defer func() { p.env["HEADGATE_KEY"] = key }()
		p.input = p.first["ownerPassword"] + "\n"
		p.want(0, "login", "--email", p.first["ownerEmail"])
		p.want(0, "server", "authorize", name)
		contains(t, p.call(name), "through") // the key is the same person's
	})
	t.Run("a key of no person is refused before any page", func(t *testing.T) {
		_, _, name := protected(t)
		key := p.env["HEADGATE_KEY"]
		p.env["HEADGATE_KEY"] = p.first["organizationKey"]
		defer func() { p.env["HEADGATE_KEY"] = key }()
		contains(t, p.want(4, "server", "authorize", name), "belong to a person")
		testkit.Equal(t, len(p.pages), 0)
	})
	t.Run("a call that wants more permissions says which, and gets them beside the others", func(t *testing.T) {
		_, at, name := protected(t)
		at.Needs = func(m map[string]any) string {
			if m["method"] == "tools/call" {
				return "crm:write"
			}
			return "mcp"
		}
		p.want(0, "server", "authorize", name)
		contains(t, p.call(name), `"code":"upstream.scope"`, `"scope":"crm:write"`)
		contains(t, p.want(3, "call", name, "echo", `{"text":"x"}`), "--scope crm:write")
		p.want(0, "server", "authorize", name, "--scope", "crm:write")
		testkit.Equal(t, p.pages[1].Get("scope"), "mcp crm:write")
		contains(t, p.call(name), "through")
	})
	t.Run("a list that wants more permissions gets them at once", func(t *testing.T) {
		_, at, name := protected(t)
		at.Needs = func(m map[string]any) string { return map[any]string{"tools/list": "crm:read"}[m["method"]] }
		contains(t, p.want(0, "server", "authorize", name), "Permissions: mcp crm:read")
		testkit.Equal(t, []string{p.pages[0].Get("scope"), p.pages[1].Get("scope")}, []string{"mcp", "mcp crm:read"})
	})
	t.Run("as the client itself", func(t *testing.T) {
		_, _, name := protected(t)
		p.input = "secret\n"
		out := p.want(0, "server", "authorize", name, "--client-id", "client", "--client-secret", "--client-credentials")
		contains(t, out, "which is renewed")
		testkit.Equal(t, len(p.pages), 0)
		contains(t, p.call(name), "through")
	})
	t.Run("with what somebody else says of a workload, or of a person", func(t *testing.T) {
		as, at, name := protected(t)
		file := filepath.Join(t.TempDir(), "token")
		testkit.Must0(t, os.WriteFile(file, []byte("a.b.c\n"), 0o600))
		var asked []string
		as.OnToken = func(w http.ResponseWriter, r *http.Request) bool {
			asked = append(asked, r.FormValue("grant_type")+" "+r.FormValue("assertion")+r.FormValue("subject_token")+" "+r.FormValue("client_id"))
			if r.FormValue("audience") != "" {
				fmt.Fprint(w, `{"access_token":"d.e.f","token_type":"N_A"}`)
				return true
			}
			access, _ := as.Grant(at.URL)
			fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":600}`, access)
			return true
		}
		contains(t, p.want(0, "server", "authorize", name, "--client-id", "robot", "--assertion", file), "sign in again then")
		contains(t, p.call(name), "through")
		p.want(0, "server", "authorize", name, "--client-id", "robot", "--id-token", file, "--identity-provider", as.URL, "--identity-client-id", "sso")
		contains(t, p.call(name), "through")
		testkit.Equal(t, asked, []string{"urn:ietf:params:oauth:grant-type:jwt-bearer a.b.c robot", "urn:ietf:params:oauth:grant-type:token-exchange a.b.c sso",
			"urn:ietf:params:oauth:grant-type:jwt-bearer d.e.f robot"})
		testkit.Equal(t, len(p.pages), 0)
	})
	t.Run("as a client that was registered by hand, at its port", func(t *testing.T) {
		as, _, name := protected(t)
		as.Metadata = func(m map[string]any) { delete(m, "registration_endpoint") }
		contains(t, p.want(2, "server", "authorize", name), "give its client id")
		address := testkit.Must(freeAddress())(t)
		_, port, _ := strings.Cut(address, ":")
		p.input = "secret\n"
		p.want(0, "server", "authorize", name, "--client-id", "client", "--client-secret", "--port", port)
		testkit.Equal(t, p.pages[0].Get("redirect_uri"), "http://"+address+"/callback")
	})
	t.Run("a person who says no", func(t *testing.T) {
		as, _, name := protected(t)
		as.OnAuthorize = func(_, a url.Values) { a.Del("code"); a.Set("error", "access_denied") }
		contains(t, p.want(4, "server", "authorize", name), "access_denied")
	})
	t.Run("nobody comes", func(t *testing.T) {
		as, _, name := protected(t)
		as.OnAuthorize = func(_, a url.Values) { a.Set("state", "other") }
		contains(t, p.want(9, "server", "authorize", name, "--timeout", "50ms"), "Nobody signed in within 50ms")
	})
	t.Run("an answer of another authorization server", func(t *testing.T) {
		as, _, name := protected(t)
		as.OnAuthorize = func(_, a url.Values) { a.Set("iss", "https://evil.example") }
		contains(t, p.want(9, "server", "authorize", name), "another authorization server")
	})
	t.Run("a server without a sign-in", func(t *testing.T) {
		contains(t, p.want(2, "server", "authorize", "demo"), "nowhere to sign in")
	})
	t.Run("flags that do not fit", func(t *testing.T) {
		_, _, name := protected(t)
		for _, flags := range [][]string{{"--client-secret"}, {"--client-credentials"}, {"--client-id", "c", "--client-credentials"}, {"--scope", `a"b`},
			{"--client-id", "c", "--private-key", "/nowhere"}, {"--assertion", "x"}, {"--client-id", "c", "--assertion", "/nowhere"}, {"--client-id", "c", "--id-token", "x"},
			{"--client-id", "c", "--client-secret", "--client-credentials", "--assertion", "x"}, {"--identity-provider", "https://idp.example"}, {"--allow-networks", "10.0.0.0/99"}, {"--port", "70000"}} {
			p.want(2, append([]string{"server", "authorize", name}, flags...)...)
		}
		testkit.Equal(t, len(p.pages), 0)
	})
	t.Run("an interrupt ends it", func(t *testing.T) {
		as, _, name := protected(t)
		ctx, cancel := context.WithCancel(t.Context())
		as.OnAuthorize = func(_, a url.Values) { a.Set("state", "other"); cancel() }
		read, write := io.Pipe()
		go func() {
			b := make([]byte, 4096)
			for n, err := read.Read(b); err == nil; n, err = read.Read(b) {
				if m := aPage.FindSubmatch(b[:n]); m != nil {
					p.open(string(m[1]))
				}
			}
		}()
		code := (&cli.Program{Version: "v1"}).Run(ctx, []string{"server", "authorize", name}, strings.NewReader(""), io.Discard, write, func(n string) string { return p.env[n] })
		_ = write.Close()
		testkit.Equal(t, code, 130)
	})
}
