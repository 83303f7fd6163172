package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"headgate/internal/db"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
)

// post is a mail server of this host.
type post struct {
	mu   sync.Mutex
	mail []string
}

type delivery struct{ post *post }

func newPost(t *testing.T) (*post, string) {
	p := &post{}
	server := smtp.NewServer(p)
	server.Domain, server.ReadTimeout, server.WriteTimeout = "127.0.0.1", 10*time.Second, 10*time.Second
	l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { _ = server.Close(); wg.Wait() })
	return p, "smtp://" + l.Addr().String() + "?security=none"
}

func (p *post) NewSession(*smtp.Conn) (smtp.Session, error) { return delivery{p}, nil }

func (delivery) Mail(string, *smtp.MailOptions) error { return nil }
func (delivery) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (delivery) Reset()                               {}
func (delivery) Logout() error                        { return nil }
func (d delivery) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	d.post.mu.Lock()
	defer d.post.mu.Unlock()
	d.post.mail = append(d.post.mail, string(text))
	return err
}

var linkForm = regexp.MustCompile(`(https?://[^\s"<]+)#token=([\w-]+)`)

// link waits for the n-th mail and returns its link's page and token.
func (p *post) link(h *house, n int) (page, token string) {
	h.t.Helper()
	var text string
	h.soon(fmt.Sprintf("mail %d", n), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.mail) < n {
			return false
		}
		text = strings.NewReplacer("=\r\n", "", "=3D", "=").Replace(p.mail[n-1]) // quoted-printable
		return true
	})
	m := linkForm.FindStringSubmatch(text)
	if m == nil {
		h.t.Fatalf("no link in %s", text)
	}
	return m[1], m[2]
}

// say sends a request and returns the answer's body, whose status must be want.
func (h *house) say(want int, credential, method, route string, body any, headers ...string) map[string]any {
	h.t.Helper()
	var text []byte
	if body != nil {
		text = testkit.Must(json.Marshal(body))(h.t)
	}
	req := testkit.Must(http.NewRequest(method, "http://"+h.addr+route, bytes.NewReader(text)))(h.t)
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	res := testkit.Must(http.DefaultClient.Do(req))(h.t)
	defer res.Body.Close()
	answer := testkit.Must(io.ReadAll(res.Body))(h.t)
	if res.StatusCode != want {
		h.t.Fatalf("%s %s: %d %s", method, route, res.StatusCode, answer)
	}
	var v map[string]any
	if len(answer) > 0 {
		testkit.Must0(h.t, json.Unmarshal(answer, &v))
	}
	return v
}

// in walks down an answer.
func in(v any, path ...string) string {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	s, _ := v.(string)
	return s
}

type object = map[string]any

// TestSecrets plants every kind of secret through a whole server and looks for
// it in everything the server keeps and says.
func TestSecrets(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		mails, smtpURL := newPost(t)
		shared := "dK3vQ9xLw7TzR5mN2bYc8HfJ4gPs6AeU"
		internal := freeAddr(t)
		h.flags = []string{"--log-level", "debug", "--internal-listen", internal, "--sign-up", "open", "--base-url", "https://gate.example.com", "--allow-hosts", "127.0.0.1", "--smtp", smtpURL,
			"--external-issuer", "https://issuer.example.com", "--external-audience", "x", "--external-algorithm", "HS256", "--external-secret", shared}
		h.start()
		secrets := h.plant(mails)
		secrets["shared secret"] = shared

		said := h.crawl(h.owner(), secrets)
		res := testkit.Must(http.Get("http://" + internal + "/metrics"))(t)
		said["/metrics"] = testkit.Must(io.ReadAll(res.Body))(t)
		_ = res.Body.Close()
		h.stop(syscall.SIGTERM)
		said["the server's log"] = h.log.Bytes()
		testkit.Must0(t, filepath.WalkDir(h.data, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && d.Name() != "first-run.json" && d.Name() != "keys.json" {
				said[d.Name()], err = os.ReadFile(path)
			}
			return err
		}))
		if h.database != "" {
			said["the database"] = dump(t, h.database)
		}
		if len(said) < 40 {
			t.Errorf("only %d places were looked at", len(said))
		}
		for place, text := range said {
			for what, secret := range secrets {
				for form, s := range forms(secret) {
					if bytes.Contains(text, []byte(s)) {
						t.Errorf("%s holds the %s (%s)", place, what, form)
					}
				}
			}
		}
	})
}

func freeAddr(t *testing.T) string {
	l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer l.Close()
	return l.Addr().String()
}

// forms are the ways a secret may lie about.
func forms(secret string) map[string]string {
	return map[string]string{"plain": secret, "hex": hex.EncodeToString([]byte(secret)), "base64": base64.RawStdEncoding.EncodeToString([]byte(secret)),
		"base64url": base64.RawURLEncoding.EncodeToString([]byte(secret)), "URL": url.QueryEscape(secret)}
}

func (h *house) owner() string {
	var f struct{ OwnerEmail, OwnerPassword string }
	testkit.Must0(h.t, json.Unmarshal(testkit.Must(os.ReadFile(filepath.Join(h.data, "first-run.json")))(h.t), &f))
	return in(h.say(200, "", "POST", "/v1/auth/login", object{"email": f.OwnerEmail, "password": f.OwnerPassword}), "data", "token")
}

// plant uses the server as people do and returns every secret that was in play.
func (h *house) plant(mails *post) map[string]string {
	t := h.t
	var first struct{ OwnerPassword, APIKey, OrganizationKey, OperatorKey string }
	testkit.Must0(t, json.Unmarshal(testkit.Must(os.ReadFile(filepath.Join(h.data, "first-run.json")))(t), &first))
	secrets := map[string]string{"owner's password": first.OwnerPassword, "first API key": first.APIKey, "first organization key": first.OrganizationKey, "operator key": first.OperatorKey}
	owner := h.owner()
	secrets["owner's token"] = owner

	// People: register, verify, forget, reset. A Host header of somebody else's is refused, and none is ever used.
	const password, next = "correct horse battery 17", "another long phrase 4711"
	secrets["password"], secrets["next password"] = password, next
	h.say(201, "", "POST", "/v1/auth/register", object{"email": "ada@example.com", "password": password, "firstName": "Ada", "lastName": "L", "organizationName": "Engines"})
	page, verify := mails.link(h, 1)
	h.say(200, "", "POST", "/v1/auth/verify-email", object{"token": verify})
	in1 := h.say(200, "", "POST", "/v1/auth/login", object{"email": "ada@example.com", "password": password})
	secrets["token"], secrets["refresh token"] = in(in1, "data", "token"), in(in1, "data", "refreshToken")
	in2 := h.say(200, "", "POST", "/v1/auth/refresh", object{"refreshToken": secrets["refresh token"]})
	secrets["second token"], secrets["second refresh token"] = in(in2, "data", "token"), in(in2, "data", "refreshToken")
	h.say(200, "", "POST", "/v1/auth/forgot-password", object{"email": "ada@example.com"}, "X-Forwarded-Host: evil.example.com", "Forwarded: host=evil.example.com")
	page2, reset := mails.link(h, 2)
	for _, p := range []string{page, page2} {
		if !strings.HasPrefix(p, "https://gate.example.com/") {
			t.Errorf("a link leads to %s", p)
		}
	}
	h.say(200, "", "POST", "/v1/auth/reset-password", object{"token": reset, "password": next})
	h.say(400, "", "POST", "/v1/auth/reset-password", object{"token": reset, "password": next})
	h.say(401, secrets["second token"], "GET", "/v1/users/me", nil)
	h.say(201, owner, "POST", "/v1/organizations/me/invitations", object{"email": "bob@example.com", "role": "viewer"})
	_, invitation := mails.link(h, 3)
	secrets["verification"], secrets["reset"], secrets["invitation"] = verify, reset, invitation

	// Keys, and the repeat that may not show one again.
	mint := func(what, route string, body object) string {
		made := h.say(201, owner, "POST", route, body, "Idempotency-Key: "+what)
		again := h.say(201, owner, "POST", route, body, "Idempotency-Key: "+what)
		key := in(made, "data", "apiKey", "key")
		if key == "" || in(again, "data", "apiKey", "key") == key {
			t.Errorf("%s: made %v, and again %v", what, made, again)
		}
		secrets[what] = key
		return in(made, "data", "apiKey", "id")
	}
	id := mint("personal-key", "/v1/users/me/api-keys", object{"name": "p", "scopes": []string{"mcp:read", "mcp:write"}})
	mint("rotated-key", "/v1/users/me/api-keys/"+id+"/rotate", object{"gracePeriod": 60})
	mint("organization-key", "/v1/organizations/me/keys", object{"name": "o"})
	mint("workspace-key", "/v1/organizations/me/keys", object{"name": "w", "kind": "workspace"})
	secrets["account key"] = in(h.say(200, owner, "POST", "/api/mcp/enable", nil), "mcp_api_key")
	secrets["second account key"] = in(h.say(200, owner, "POST", "/api/mcp/regenerate-key", nil), "mcp_api_key")

	// Servers: a header, a configuration, arguments.
	up := testkit.Must(rawmcp.Listen(rawmcp.Options{}))(t)
	t.Cleanup(up.Close)
	secrets["header"], secrets["configured secret"], secrets["argument"] = "hv-7Qm2Zx9Lr4Tk8Wd1", "cs-5Np3Vb6Hj0Ys7Fg2", "pw-1Xc8Mn4Kl6Qa9Ze3"
	made := h.say(201, owner, "POST", "/v1/mcp/servers", object{"slug": "raw", "url": up.URL(), "headers": object{"X-Token": secrets["header"], "Authorization": "Bearer {{config.token}}"},
		"configSchema": object{"type": "object", "properties": object{"token": object{"type": "string", "writeOnly": true}}, "required": []string{"token"}}})
	service := in(made, "data", "server", "serviceId")
	h.say(200, owner, "POST", "/v1/mcp/services/"+service+"/configure", object{"config": object{"token": secrets["configured secret"]}})
	for _, text := range []string{"hello", secrets["personal-key"], "Bearer " + secrets["token"]} {
		h.say(200, owner, "POST", "/v1/mcp/execute/tool", object{"serviceId": service, "toolName": "echo", "parameters": object{"text": text, "password": secrets["argument"]}}, "User-Agent: agent")
	}

	// Secrets of the organization and of a workspace, one that waits for a person, and a brought token.
	secrets["organization's secret"], secrets["workspace's secret"], secrets["secret that waits"] = "os-3Rt6Yu9Io2Pa5Sd8", "wl-4Gh7Jk1Lz3Xc6Vb9", "aw-8Nm2Qw5Er7Ty1Ui4"
	secrets["brought token"] = "bt-2As5Df8Gh1Jk4Lq7"
	h.say(200, owner, "PUT", "/v1/organizations/me/secrets/SHARED", object{"value": secrets["organization's secret"]})
	h.say(200, owner, "PUT", "/v1/workspaces/default/secrets/LOCAL", object{"value": secrets["workspace's secret"]})
	sealed := in(h.say(201, owner, "POST", "/v1/mcp/servers", object{"slug": "sealed", "url": up.URL(), "headers": object{"X-Shared": "{{secret.SHARED}}", "X-Local": "{{secret.LOCAL}}"}}), "data", "server", "id")
	h.say(200, owner, "POST", "/v1/mcp/servers/"+sealed+"/test", nil)
	h.say(200, owner, "POST", "/v1/mcp/servers/"+sealed+"/oauth/import-tokens", object{"serverUrl": up.URL(), "tokens": object{"access_token": secrets["brought token"]}})
	h.say(200, owner, "PUT", "/v1/approval-policy", object{"gates": []string{"secrets"}})
	h.say(202, secrets["organization-key"], "PUT", "/v1/organizations/me/secrets/ASKED", object{"value": secrets["secret that waits"]})
	h.say(200, owner, "PUT", "/v1/approval-policy", object{"gates": []string{}})

	// Wrong places and wrong credentials.
	h.say(400, "", "GET", "/v1/users/me?api_key="+secrets["personal-key"], nil)
	h.say(401, secrets["token"]+"x", "GET", "/v1/users/me", nil)
	h.say(401, "", "POST", "/v1/auth/login", object{"email": "ada@example.com", "password": secrets["argument"]})
	h.say(400, owner, "PATCH", "/v1/users/me", object{"firstName": "A", "password": secrets["argument"]})
	return secrets
}

// crawl reads everything that can be read with an owner's session and with the
// operator's key.
func (h *house) crawl(owner string, secrets map[string]string) map[string][]byte {
	t := h.t
	said := map[string][]byte{}
	get := func(credential, route string) []byte {
		req := testkit.Must(http.NewRequest("GET", "http://"+h.addr+route, nil))(t)
		req.Header.Set("Authorization", "Bearer "+credential)
		res := testkit.Must(http.DefaultClient.Do(req))(t)
		defer res.Body.Close()
		text := testkit.Must(io.ReadAll(res.Body))(t)
		if res.StatusCode >= 500 {
			t.Errorf("GET %s: %d %s", route, res.StatusCode, text)
		}
		said["GET "+route] = text
		return text
	}
	ids := regexp.MustCompile(`"((?:svc|srv|key|log|org|user|ws|acc|ses|inv)_[0-9a-z]{26})"`)
	known := map[string][]string{}
	var left []string
	var doc struct{ Paths map[string]map[string]any }
	testkit.Must0(t, json.Unmarshal(get(owner, "/v1/openapi.json"), &doc))
	for path, methods := range doc.Paths {
		if methods["get"] == nil || strings.HasSuffix(path, "/stream") {
			continue
		}
		credential := owner
		if strings.HasPrefix(path, "/admin/") {
			credential = secrets["operator key"]
		}
		if strings.Contains(path, "{") {
			left = append(left, path)
			continue
		}
		for _, m := range ids.FindAllStringSubmatch(string(get(credential, "/v1"+path)), -1) {
			kind, _, _ := strings.Cut(m[1], "_")
			if !slices.Contains(known[kind], m[1]) {
				known[kind] = append(known[kind], m[1])
			}
		}
	}
	kinds := map[string]string{"{serviceId}": "svc", "{serverId}": "srv", "{logId}": "log", "{accountId}": "acc", "{workspaceId}": "ws", "{keyId}": "key", "{organizationId}": "org"}
	for _, path := range left {
		credential := owner
		if strings.HasPrefix(path, "/admin/") {
			credential = secrets["operator key"]
		}
		for parameter, kind := range kinds {
			for _, id := range known[kind] {
				if strings.Contains(path, parameter) {
					get(credential, "/v1"+strings.ReplaceAll(path, parameter, id))
				}
			}
		}
	}
	for _, route := range []string{"/api/mcp/account", "/api/mcp/usage", "/api/mcp/usage/summary", "/", "/healthz", "/readyz", "/metrics"} {
		get(owner, route)
	}
	if len(known["log"]) < 3 {
		t.Errorf("the log has %d calls", len(known["log"]))
	}
	return said
}

// dump is every value of a PostgreSQL database as text.
func dump(t *testing.T, at string) []byte {
	s := testkit.Must(db.Open(t.Context(), at, db.Options{}))(t)
	defer s.Close()
	text := func(v *string) []any { return []any{v} }
	var all bytes.Buffer
	for _, table := range testkit.Must(db.All(t.Context(), s, text, `SELECT tablename FROM pg_tables WHERE schemaname = 'public'`))(t) {
		for _, row := range testkit.Must(db.All(t.Context(), s, text, `SELECT row_to_json(x)::text FROM `+table+` x`))(t) {
			all.WriteString(row + "\n")
		}
		// A BYTEA is hexadecimal in it, which is one of the forms.
	}
	return all.Bytes()
}
