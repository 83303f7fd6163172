package diagnostics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/identity"
	"headgate/internal/rest"
	"headgate/internal/rest/resttest"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
	"headgate/internal/workspace"
)

// estate is two tenants, one of them with a customer, and every kind of caller
// in the first one's home.
type estate struct {
	*house
	serial   int
	people   map[string]*world.Person
	keys     map[string]string
	customer *tenancy.Organization
	stranger *world.Person
	upstream string
	end      string // somebody in the tenant's own pool
}

func newEstate(t *testing.T) *estate {
	e := &estate{house: onSQLite(t), people: map[string]*world.Person{}, keys: map[string]string{}}
	home := e.owner.Organization
	e.people["owner"] = e.owner
	for _, role := range []access.Role{access.Admin, access.Developer, access.Viewer, access.Member} {
		e.people[string(role)] = e.Member(home, "the-"+string(role), role)
	}
	for name, p := range e.people {
		e.keys[name] = e.diagnosticsKey(home, p.ID)
	}
	e.keys["dead"] = e.diagnosticsKey(home, e.owner.ID)
	e.revoke(e.keys["dead"])
	_, e.keys["personal"] = e.Key(home, access.PersonalKey, e.owner.ID)
	_, e.keys["organization"] = e.Key(home, access.OrganizationKey, "")
	_, e.keys["operator"] = e.Key(nil, access.OperatorKey, "")
	e.keys["publishable"] = "pk_live_" + strings.Repeat("a", 36)
	e.customer, e.stranger = e.Customer(e.owner, "Customer"), e.Tenant("stranger")
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	e.upstream = s.URL
	return e
}

func (e *estate) next(prefix string) string { e.serial++; return fmt.Sprintf("%s%d", prefix, e.serial) }

// endUser is the token of somebody in a tenant's own pool.
func (e *estate) endUser() string {
	if e.end == "" {
		e.end = testkit.Must(e.Identity.Register(e.t.Context(), world.Headgate(e.owner.Organization), identity.Registration{Pool: e.owner.Organization.Tenant,
			Email: "end@example.com", Password: world.Password}))(e.t).ID
	}
	return testkit.Must(e.Identity.Start(e.t.Context(), e.end, "", identity.Client{}))(e.t).Access
}

func (e *estate) callers(refused int) []resttest.Caller {
	list := []resttest.Caller{
		{Name: "anonymous", Credential: func() string { e.rest(); return "" }, Refused: 401},
		{Name: "junk", Credential: func() string { return "eyJhbGciOiJub25lIn0.e30." }, Refused: 401},
		{Name: "end user", Credential: e.endUser, Refused: 401},
		{Name: "session", Credential: func() string { return e.Start(e.owner.User, e.owner.Organization.ID).Token }, Refused: refused},
	}
	for _, name := range []string{"owner", "admin", "developer", "viewer", "member"} {
		list = append(list, resttest.Caller{Name: name, Credential: func() string { e.rest(); return e.keys[name] }, Refused: 403})
	}
	for _, name := range []string{"dead", "personal", "organization", "operator", "publishable"} {
		list = append(list, resttest.Caller{Name: name, Credential: func() string { return e.keys[name] }, Refused: 401})
	}
	return list
}

// object makes an Object of what a function makes in an organization.
func (e *estate) object(prefix string, make func(o *tenancy.Organization) string) resttest.Object {
	made := map[resttest.Place]string{}
	return func(_ string, at resttest.Place, spent bool) string {
		o := map[resttest.Place]*tenancy.Organization{resttest.Own: e.owner.Organization, resttest.OtherOrganization: e.customer, resttest.OtherTenant: e.stranger.Organization}[at]
		switch {
		case at == resttest.Random:
			return id.New(prefix)
		case at == resttest.Malformed:
			return "no-id-at-all"
		case spent:
			return make(o)
		case made[at] == "":
			made[at] = make(o)
		}
		return made[at]
	}
}

func (e *estate) objects() map[string]resttest.Object {
	return map[string]resttest.Object{
		"project": e.object("ws", func(o *tenancy.Organization) string {
			return testkit.Must(e.Workspaces.Provision(e.t.Context(), world.Headgate(o), workspace.Spec{Organization: o.ID, Name: e.next("p")}))(e.t).ID
		}),
		"server": e.object("srv", func(o *tenancy.Organization) string { return e.Demo(o, e.next("d")).ID }),
		"own server": e.object("srv", func(o *tenancy.Organization) string {
			w := testkit.Must(e.Workspaces.Default(e.t.Context(), o.ID))(e.t)
			return testkit.Must(e.Catalog.CreateServer(e.t.Context(), world.Headgate(o), catalog.ServerInput{Workspace: w.ID,
				ServiceInput: catalog.ServiceInput{Slug: e.next("r"), URL: e.upstream}}))(e.t).ID
		}),
		"report": e.object("rep", func(o *tenancy.Organization) string {
			by := world.Headgate(o)
			return testkit.Must(e.diagnosis.DoctorURL(e.t.Context(), by, e.upstream, nil))(e.t).ID
		}),
	}
}

// trail counts the events.
func (e *estate) trail() int64 {
	return testkit.Must(db.Value[int64](e.t.Context(), e.Store, `SELECT COALESCE(SUM(seq), 0) FROM event_heads`))(e.t)
}

// Why a success may leave no event.
const (
	looked = "nothing changes"
	called = "the log of calls has it"
	kept   = "nothing changes but the history of reports"
)

func obj(pairs ...any) func(string) any {
	return func(subject string) any {
		m := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			v := pairs[i+1]
			if v == "SUBJECT" {
				v = subject
			}
			m[pairs[i].(string)] = v
		}
		return m
	}
}

const (
	anybody  = "session owner admin developer viewer member"
	callers  = "session owner admin developer member"
	builders = "session owner admin developer"
	staff    = "session owner admin"
)

func TestMatrix(t *testing.T) {
	e := newEstate(t)
	in := map[string]string{"projectId": e.project}
	server := func(may, silent string, body func(string) any) resttest.Row {
		return resttest.Row{May: may, Silent: silent, Subject: "server", Path: in, Body: body}
	}
	resttest.Matrix{Door: e.door, Callers: e.callers(403), Objects: e.objects(), Trail: e.trail, Rows: map[string]resttest.Row{
		"getMe":             {May: anybody},
		"listOrganizations": {May: anybody},
		"listProjects":      {May: anybody},
		"createProject":     {May: staff, Status: 201, Body: obj("name", "SUBJECT")},
		"getProject":        {May: anybody, Subject: "project"},
		"updateProject":     {May: staff, Subject: "project", Body: func(string) any { return map[string]any{"description": e.next("d")} }},
		"deleteProject":     {May: staff, Subject: "project", Spends: true},
		"listServers":       {May: anybody, Subject: "project"},
		"createServer": {May: builders, Status: 201, Subject: "project", Body: func(s string) any {
			return obj("name", e.next("s"), "enabled", true, "transportType", "http", "url", e.upstream)(s)
		}},
		"getServer":           server(anybody, "", nil),
		"updateServer":        server(builders, "", obj("enabled", true)),
		"deleteServer":        {May: builders, Subject: "server", Path: in, Spends: true},
		"validateServer":      server(builders, kept, nil),
		"examineServer":       server(builders, kept, nil),
		"checkServerOAuth":    server(builders, looked, nil),
		"exportServer":        server(builders, looked, nil),
		"listServerTools":     server(anybody, looked, nil),
		"listServerPrompts":   server(anybody, looked, nil),
		"listServerResources": server(anybody, looked, nil),
		"readServerResource":  server(anybody, called, obj("uri", "demo://about")),
		"callServerTool":      server(callers, called, obj("toolName", "now")),
		"getServerPrompt":     server(anybody, called, obj("promptName", "introduce", "arguments", map[string]any{"audience": "a"})),
		"importServerTokens":  {May: callers, Subject: "own server", Path: in, Body: obj("serverUrl", e.upstream, "tokens", map[string]any{"access_token": "t"})},
		"getServerTokens":     {May: callers, Status: 404, Subject: "server", Path: in},
		"deleteServerTokens":  {May: callers, Status: 404, Subject: "server", Path: in},
	}}.Run(t)
}

func TestKeyMatrix(t *testing.T) {
	e := newEstate(t)
	all := []resttest.Caller{}
	for _, c := range e.callers(403) {
		if _, isKey := e.keys[c.Name]; isKey {
			c.Refused = 403 // by the prefix, whatever it is
		}
		all = append(all, c)
	}
	resttest.Matrix{Door: e.web, Callers: all, Trail: e.trail, Objects: map[string]resttest.Object{
		"key": func(_ string, at resttest.Place, _ bool) string {
			switch at {
			case resttest.Random:
				return id.New("key")
			case resttest.Malformed:
				return "no-id-at-all"
			case resttest.OtherOrganization: // one's own of elsewhere must be revocable
				k, _ := e.Key(e.customer, access.DiagnosticsKey, e.owner.ID)
				return k.ID
			case resttest.OtherTenant:
				k, _ := e.Key(e.stranger.Organization, access.DiagnosticsKey, e.stranger.ID)
				return k.ID
			}
			k, _ := e.Key(e.owner.Organization, access.DiagnosticsKey, e.owner.ID)
			return k.ID
		},
	}, Rows: map[string]resttest.Row{
		"createApiKey": {May: "session", Body: obj("name", "SUBJECT", "organizationId", e.owner.Organization.ID)},
		"listApiKeys":  {May: "session"},
		"revokeApiKey": {May: "session", Subject: "key", Absent: map[resttest.Place]int{resttest.OtherOrganization: 200}},
	}}.Run(t)
}

func TestPlatformMatrix(t *testing.T) {
	e := newEstate(t)
	var sessions []resttest.Caller
	for _, name := range []string{"owner", "admin", "developer", "viewer", "member"} {
		sessions = append(sessions, resttest.Caller{Name: name, Credential: func() string { return e.Start(e.people[name].User, e.owner.Organization.ID).Token }, Refused: 403})
	}
	sessions = append(sessions, resttest.Caller{Name: "anonymous", Credential: func() string { return "" }, Refused: 401})
	const callers, builders = "owner admin developer member", "owner admin developer"
	of := func(may, silent string, body func(string) any) resttest.Row {
		return resttest.Row{May: may, Silent: silent, Subject: "server", Body: body}
	}
	since := testkit.Must(e.diagnosis.DoctorURL(t.Context(), world.Headgate(e.owner.Organization), e.upstream, nil))(t).ID
	resttest.Matrix{Door: e.platform, Callers: sessions, Objects: e.objects(), Trail: e.trail, Rows: map[string]resttest.Row{
		"doctorUrl":          {May: builders, Silent: kept, Body: obj("url", e.upstream)},
		"checkUrlOAuth":      {May: builders, Silent: looked, Body: obj("url", e.upstream)},
		"doctorServer":       of(builders, kept, nil),
		"validateServer":     of(builders, kept, nil),
		"checkServerOAuth":   of(builders, looked, nil),
		"exportServer":       of(builders, looked, nil),
		"listReports":        {May: builders},
		"getReport":          {May: builders, Subject: "report"},
		"getDrift":           {May: builders, Subject: "report", Query: "since=" + since},
		"listSchedules":      {May: builders},
		"getSchedule":        {May: builders, Status: 404, Subject: "server"},
		"setSchedule":        {May: builders, Subject: "own server", Body: obj("cron", "0 6 * * *")},
		"deleteSchedule":     {May: builders, Status: 404, Subject: "server"},
		"importServerTokens": {May: callers, Subject: "own server", Body: obj("serverUrl", e.upstream, "tokens", map[string]any{"access_token": "t"})},
		"getServerTokens":    {May: callers, Status: 404, Subject: "server"},
		"deleteServerTokens": {May: callers, Status: 404, Subject: "server"},
	}}.Run(t)
}

func TestHostile(t *testing.T) {
	e := newEstate(t)
	for name, d := range map[string]*rest.Door{"the Diagnostics API": e.door, "the key routes": e.web, "the Platform API": e.platform} {
		t.Run(name, func(t *testing.T) { e.hostile(d).Run(t) })
	}
}

func (e *estate) hostile(d *rest.Door) resttest.Hostile {
	w := testkit.Must(e.Workspaces.Default(e.t.Context(), e.owner.Organization.ID))(e.t)
	known := func(rest.Op) map[string][]string {
		server := e.Demo(e.owner.Organization, e.next("h"))
		key, _ := e.Key(e.owner.Organization, access.DiagnosticsKey, e.people["viewer"].ID)
		return map[string][]string{"projectId": {w.ID, w.Slug}, "serverId": {server.ID, server.Slug}, "organizationId": {e.owner.Organization.ID}, "id": {key.ID},
			"toolName": {"echo", "now", "add"}, "promptName": {"introduce"}, "uri": {"demo://about"}, "url": {e.upstream}, "serverUrl": {e.upstream}, "transportType": {"http"},
			"reportId": {id.New("rep")}, "since": {id.New("rep")}, "cron": {"0 6 * * *"}}
	}
	tolerate := func(_ int, code string) bool {
		return code == "SERVER_UNREACHABLE" || code == "TIMEOUT" || code == "MCP_SERVICE_ERROR" || code == "UNAVAILABLE"
	}
	credential := func(rest.Op) string { e.rest(); return e.Start(e.owner.User, e.owner.Organization.ID).Token }
	return resttest.Hostile{Door: d, Credential: credential, Known: known, Tolerate: tolerate, Pause: func() { e.now = e.now.Add(time.Second) }}
}
