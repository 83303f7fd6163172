package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"headgate/client"
	"headgate/internal/app"
	"headgate/internal/demo"
	"headgate/internal/sandbox"
	"headgate/internal/settings"
)

var first = []string{"enable"}

// last are the operations that take away what the others use, in this order.
var last = []string{
	"rotateOrganizationKey", "revokeOrganizationKey", "rotateMyKey", "revokeMyKey", "revokeInvitation", "removeMember", "unconfigureService",
	"deleteServer", "deleteService", "setAllowlist", "revokeSession", "revokeOtherSessions", "changePassword", "switchOrganization", "transferOwnership",
	"logout", "adminSetPlan", "adminSuspendOrganization", "adminResumeOrganization",
}

// other are the examples that cannot succeed as they stand, because the secret
// they show has to come out of a mail.
var other = map[string]int{
	"verifyEmail": 400, "resetPassword": 400, "showInvitation": 400, "acceptInvitation": 400,
}

// unrun are the examples that are not run, and why.
var unrun = map[string]string{
	"adminAddEntry":     "the package is made up, and a real one would be fetched",
	"adminRemoveEntry":  "needs an entry that was added",
	"adminEnableEntry":  "fetches an npm package",
	"adminDisableEntry": "needs an entry that was enabled",
	"adminTryEntry":     "fetches an npm package",
}

// world is a whole server, and what the examples may be about.
type world struct {
	*testing.T
	ctx       context.Context
	api       *client.Client // with the owner's session
	variables map[string]string
	own       map[string]string // the id that one operation needs instead: of what only it may take away
	texts     []string          // what the examples say, and what is meant: for strings.NewReplacer
	session   string
	operator  string
	agent     string // a workspace's key
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, ctx: t.Context(), variables: map[string]string{}, own: map[string]string{}}
	dir := t.TempDir()
	url := w.start(dir)
	text, err := os.ReadFile(filepath.Join(dir, "first-run.json"))
	w.must(err)
	var run struct{ OwnerEmail, OwnerPassword, OperatorKey string }
	w.must(json.Unmarshal(text, &run))
	w.variables["HEADGATE_URL"], w.operator = url, run.OperatorKey
	public, err := client.New(url)
	w.must(err)
	in, _, err := public.Login(w.ctx, client.LoginBody{Email: run.OwnerEmail, Password: run.OwnerPassword})
	w.must(err)
	w.session = in.Token
	w.texts = append(w.texts, `"refreshToken":"TOKEN"`, `"refreshToken":"`+in.RefreshToken+`"`)
	w.texts = append(w.texts, `"currentPassword":"a long unguessable phrase"`, `"currentPassword":"`+run.OwnerPassword+`"`)
	w.api, err = client.New(url, client.WithToken(in.Token))
	w.must(err)
	w.unlimit()
	w.fill(public, run.OwnerEmail, run.OwnerPassword)
	w.fillWorkspaces()
	w.fillReports()
	w.variables["USER_ID"] = w.join(public, dir, "grace@example.org")
	w.texts = append(w.texts, "user_01k00000000000000000000000", w.join(public, dir, "heidi@example.org"))
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) start(dir string) (url string) {
	w.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	address := l.Addr().String()
	w.must(l.Close())
	s, err := settings.Load("", func(string) string { return "" }, map[string]string{"listen": address, "data": dir, "drain": "1s", "sign-up": "open"})
	w.must(err)
	ctx, stop := context.WithCancel(context.Background())
	a, err := app.Open(ctx, s, "test", slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		stop()
		w.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	w.Cleanup(func() {
		stop()
		<-done
		_ = a.Close()
	})
	for range 2000 {
		if resp, err := http.Get("http://" + address + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return "http://" + address
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.Fatal("the server did not become ready")
	return ""
}

// fill makes one of each thing that the examples name.
func (w *world) fill(public *client.Client, email, password string) {
	w.Helper()
	upstream := httptest.NewServer(demo.Handler("test", time.Now))
	w.Cleanup(upstream.Close)
	server, _, err := w.api.CreateServer(w.ctx, client.CreateServerBody{Slug: "mine", URL: &upstream.URL})
	w.must(err)
	_, meta, err := w.api.ExecuteTool(w.ctx, client.ExecuteToolBody{ServiceID: server.Server.ServiceID, ToolName: "echo", Parameters: json.RawMessage(`{"text":"x"}`)})
	w.must(err)
	key, _, err := w.api.CreateMyKey(w.ctx, client.CreateAPIKeyBody{Name: "mine", Scopes: []string{"mcp:read"}})
	w.must(err)
	organizationKey, _, err := w.api.CreateOrganizationKey(w.ctx, client.CreateOrgKeyBody{Name: "ours"})
	w.must(err)
	invitation, _, err := w.api.Invite(w.ctx, client.InviteBody{Email: "eve@example.com", Role: "viewer"})
	w.must(err)
	me, _, err := w.api.GetMe(w.ctx)
	w.must(err)
	workspaces, _, err := w.api.ListWorkspaces(w.ctx)
	w.must(err)
	credits, _, err := w.api.GetCredits(w.ctx)
	w.must(err)
	_, _, err = public.Login(w.ctx, client.LoginBody{Email: email, Password: password}) // another session, to be ended
	w.must(err)
	sessions, _, err := w.api.ListSessions(w.ctx)
	w.must(err)
	i := slices.IndexFunc(sessions.Sessions, func(s client.SessionRow) bool { return !s.Current })
	w.own["rotateOrganizationKey"], w.own["revokeOrganizationKey"] = organizationKey.APIKey.ID, organizationKey.APIKey.ID
	service, _, err := w.api.CreateService(w.ctx, client.CreateServiceBody{Slug: "doomed", URL: "https://doomed.example.com/mcp"})
	w.must(err)
	w.own["deleteService"] = service.Service.ID
	customer, _, err := w.api.CreateOrganization(w.ctx, client.CreateOrganizationBody{Name: "Customer"})
	w.must(err)
	w.own["adminSuspendOrganization"], w.own["adminResumeOrganization"] = customer.Organization.ID, customer.Organization.ID
	for name, id := range map[string]string{
		"SERVICE_ID": server.Server.ServiceID, "SERVER_ID": server.Server.ID, "KEY_ID": key.APIKey.ID,
		"INVITATION_ID": invitation.Invitation.ID, "ORGANIZATION_ID": me.User.Organization.ID, "WORKSPACE_ID": workspaces.Workspaces[0].ID,
		"ACCOUNT_ID": credits.Account.ID, "SESSION_ID": sessions.Sessions[i].ID, "LOG_ID": strings.Replace(meta.RequestID, "req_", "log_", 1), "PLAN_SLUG": "team",
	} {
		w.variables[name] = id
	}
	w.texts = append(w.texts, "svc_01k00000000000000000000000", server.Server.ServiceID,
		"org_01k00000000000000000000000", me.User.Organization.ID)
}

// join makes a member, through the link that is mailed.
func (w *world) join(public *client.Client, dir, email string) (id string) {
	w.Helper()
	_, _, err := w.api.Invite(w.ctx, client.InviteBody{Email: email, Role: "viewer"})
	w.must(err)
	secret := w.secretFor(filepath.Join(dir, "outbox"), email)
	data, _, err := public.Register(w.ctx, client.RegisterBody{Email: email, Password: "a long unguessable phrase", FirstName: "A", LastName: "B", Invitation: &secret})
	w.must(err)
	return data.User.ID
}

// secretFor waits for the mail to an address and returns its link's secret.
func (w *world) secretFor(outbox, email string) string {
	w.Helper()
	for range 2000 {
		mails, err := filepath.Glob(filepath.Join(outbox, "*.eml"))
		w.must(err)
		for _, path := range mails {
			text, err := os.ReadFile(path)
			w.must(err)
			plain := strings.NewReplacer("=\r\n", "", "=3D", "=").Replace(string(text))
			if m := mailed.FindStringSubmatch(plain); m != nil && strings.Contains(plain, "To: <"+email+">") {
				return m[1]
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.Fatalf("no mail to %s came", email)
	return ""
}

var mailed = regexp.MustCompile(`/invitation[^\s"]*[#?&/=]([A-Za-z0-9_-]{20,})`)

// run performs an example as somebody who may, and returns the answer.
func (w *world) run(t *testing.T, e example) (status int, body []byte) {
	t.Helper()
	e.text = strings.NewReplacer(w.texts...).Replace(e.text)
	vars := w.variables
	vars["HEADGATE_KEY"] = w.session
	if strings.Contains(e.text, "/v1/admin/") {
		vars["HEADGATE_KEY"] = w.operator
	}
	if strings.Contains(e.text, "$HEADGATE_URL/api/v1/") {
		_, vars["HEADGATE_KEY"] = w.diagnosticsKey()
	}
	if strings.Contains(e.text, "/v1/self") {
		vars["HEADGATE_KEY"] = w.agent
	}
	if own, ok := w.own[e.operation]; ok {
		e.text = pathID.ReplaceAllString(e.text, "/"+own)
	}
	r, err := e.request(vars)
	if err != nil {
		t.Fatalf("%s\n%s", err, e.text)
	}
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	resp, err := http.DefaultClient.Do(r.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return resp.StatusCode, nil // it has no end
	}
	body, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

var pathID = regexp.MustCompile(`/\$[A-Z_]+_ID\b`)

// TestMain lets the server of the test try its walls with this binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == sandbox.HelperArg {
		os.Exit(sandbox.HelperMain(os.Args[2:]))
	}
	if err := sandbox.Harden(); err != nil { // as serve does: one of the walls
		panic(err)
	}
	os.Exit(m.Run())
}

// TestExamples runs every example of the pages: each does what it says, and one
// that goes stale fails here.
func TestExamples(t *testing.T) {
	w := newWorld(t)
	list := examples(t, "../../../docs/reference/account.md")
	// Everything about a person's account waits for it to be enabled.
	slices.SortStableFunc(list, func(a, b example) int { return slices.Index(first, b.operation) - slices.Index(first, a.operation) })
	list = append(list, examples(t, "../../../docs/reference/platform.md")...)
	slices.SortStableFunc(list, func(a, b example) int { return slices.Index(last, a.operation) - slices.Index(last, b.operation) })
	for _, e := range list {
		t.Run(e.operation, func(t *testing.T) {
			if why, ok := unrun[e.operation]; ok {
				t.Skip(why)
			}
			status, body := w.run(t, e)
			want, known := other[e.operation]
			if known && status != want || !known && (status < 200 || status > 299) {
				t.Errorf("%s\nanswered %d: %s", e.text, status, bytes.TrimSpace(body))
			}
		})
	}
}
