package platform_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/approval"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/identity"
	"headgate/internal/quota"
	"headgate/internal/rest/platform"
	"headgate/internal/rest/resttest"
	"headgate/internal/template"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
	"headgate/internal/workspace"
)

// estate is two tenants, one of them with a customer, and every kind of caller
// in the first one's home.
type estate struct {
	*house
	serial   atomic.Int64
	people   map[string]*world.Person
	keys     map[string]string
	customer *tenancy.Organization // another organization of the tenant
	stranger *world.Person         // of another tenant
}

func newEstate(t *testing.T, store *db.Store) *estate {
	e := &estate{house: newHouse(t, store, world.Options{}), people: map[string]*world.Person{}, keys: map[string]string{}}
	o := options(e.World)
	o.Addresses, o.Operators = quota.Limit{PerMinute: 6e8, Burst: 1e7}, quota.Limit{PerMinute: 6e8, Burst: 1e7}
	e.door = platform.New(o)
	home := e.owner.Organization
	e.people["owner"] = e.owner
	for _, role := range []access.Role{access.Admin, access.Developer, access.Viewer, access.Member} {
		e.people[string(role)] = e.Member(home, "the-"+string(role), role)
	}
	e.customer, e.stranger = e.Customer(e.owner, "Customer"), e.Tenant("stranger")
	key := func(name string, kind access.Kind, user string, scopes ...access.Scope) {
		_, e.keys[name] = e.Key(home, kind, user, scopes...)
	}
	key("personal", access.PersonalKey, e.owner.ID)
	key("narrow", access.PersonalKey, e.owner.ID, access.MCPRead)
	key("dead", access.PersonalKey, e.owner.ID)
	testkit.Must0(t, e.APIKeys.Revoke(t.Context(), world.Headgate(home), e.principal(e.keys["dead"]).ID))
	key("diagnostics", access.DiagnosticsKey, e.owner.ID)
	key("account", access.AccountKey, e.owner.ID)
	key("organization", access.OrganizationKey, "")
	key("workspace", access.WorkspaceKey, "")
	_, e.keys["operator"] = e.Key(nil, access.OperatorKey, "")
	e.keys["publishable"], e.keys["secret"] = "pk_live_"+strings.Repeat("a", 36), "sk_test_"+strings.Repeat("a", 36)
	return e
}

func (e *estate) next(prefix string) string { return fmt.Sprintf("%s%d", prefix, e.serial.Add(1)) }

func (e *estate) callers() []resttest.Caller {
	list := []resttest.Caller{{Name: "anonymous", Credential: func() string { return "" }, Refused: 401}, {Name: "junk", Credential: func() string { return "eyJhbGciOiJub25lIn0.e30." }, Refused: 401}}
	for _, name := range []string{"owner", "admin", "developer", "viewer", "member"} {
		list = append(list, resttest.Caller{Name: name, Credential: func() string { return e.Start(e.people[name].User, e.owner.Organization.ID).Token }, Refused: 403})
	}
	for _, name := range []string{"personal", "narrow", "dead", "diagnostics", "account", "organization", "workspace", "operator", "publishable", "secret"} {
		c := resttest.Caller{Name: name, Credential: func() string { return e.keys[name] }, Refused: 403}
		if name == "dead" {
			c.Refused = 401
		}
		list = append(list, c)
	}
	return list
}

// in returns the organization that a place stands for, nil for the ids of
// nothing.
func (e *estate) in(at resttest.Place) *tenancy.Organization {
	return map[resttest.Place]*tenancy.Organization{resttest.Own: e.owner.Organization, resttest.OtherOrganization: e.customer, resttest.OtherTenant: e.stranger.Organization}[at]
}

// object makes an Object: make returns the id of a new one in an organization.
// Unless they are spent, one for each caller and place is enough.
func (e *estate) object(prefix string, make func(o *tenancy.Organization, caller string) string) resttest.Object {
	kept := map[string]string{}
	return func(caller string, at resttest.Place, spent bool) string {
		o := e.in(at)
		switch {
		case at == resttest.Random:
			return id.New(prefix)
		case at == resttest.Malformed:
			return "no-id-at-all"
		}
		if spent {
			return make(o, caller)
		}
		key := caller + at.String()
		if kept[key] == "" {
			kept[key] = make(o, caller)
		}
		return kept[key]
	}
}

// userOf is whose things a caller's are, in an organization: its own person's
// at home, somebody's elsewhere.
func (e *estate) userOf(o *tenancy.Organization, caller string) *identity.User {
	switch p := e.people[caller]; {
	case o.ID == e.stranger.Organization.ID:
		return e.stranger.User
	case o.ID == e.customer.ID:
		return e.Member(o, e.next("c"), access.Admin).User
	case p != nil:
		return p.User
	}
	return e.owner.User
}

func (e *estate) objects() map[string]resttest.Object {
	ctx := e.t.Context()
	return map[string]resttest.Object{
		"server": e.object("srv", func(o *tenancy.Organization, _ string) string { return e.Demo(o, e.next("s")).ID }),
		"remote server": e.object("srv", func(o *tenancy.Organization, _ string) string {
			return testkit.Must(e.Catalog.CreateServer(ctx, world.Headgate(o), catalog.ServerInput{Workspace: testkit.Must(e.Workspaces.Default(ctx, o.ID))(e.t).ID,
				ServiceInput: catalog.ServiceInput{Slug: e.next("r"), URL: "http://127.0.0.1:8089/mcp"}}))(e.t).ID
		}),
		"service": e.object("svc", func(o *tenancy.Organization, _ string) string { return e.Demo(o, e.next("s")).Service.ID }),
		"custom": e.object("svc", func(o *tenancy.Organization, _ string) string {
			return testkit.Must(e.Catalog.CreateService(ctx, world.Headgate(o), catalog.ServiceInput{Slug: e.next("c"), URL: "http://127.0.0.1:8089/mcp"}))(e.t).ID
		}),
		"session": e.object("ses", func(o *tenancy.Organization, caller string) string {
			return e.principal(e.Start(e.userOf(o, caller), o.ID).Token).ID
		}),
		"my key": e.object("key", func(o *tenancy.Organization, caller string) string {
			k, _ := e.Key(o, access.PersonalKey, e.userOf(o, caller).ID, access.MCPRead)
			return k.ID
		}),
		"organization key": e.object("key", func(o *tenancy.Organization, _ string) string {
			k, _ := e.Key(o, access.WorkspaceKey, "")
			return k.ID
		}),
		"member": e.object("user", func(o *tenancy.Organization, _ string) string { return e.Member(o, e.next("m"), access.Viewer).ID }),
		"invitation": e.object("inv", func(o *tenancy.Organization, _ string) string {
			return testkit.Must(e.Identity.Invite(ctx, world.Headgate(o), o.ID, e.next("i")+"@example.com", access.Viewer))(e.t).ID
		}),
		"log": e.object("log", e.line),
		"workspace": e.object("ws", func(o *tenancy.Organization, _ string) string {
			return testkit.Must(e.Workspaces.Default(ctx, o.ID))(e.t).ID
		}),
		"other workspace": e.object("ws", func(o *tenancy.Organization, _ string) string { return e.another(o).ID }),
		"paused workspace": e.object("ws", func(o *tenancy.Organization, _ string) string {
			w := e.another(o)
			testkit.Must(e.Workspaces.Pause(ctx, world.Headgate(o), o.ID, w.ID, ""))(e.t)
			return w.ID
		}),
		"import": e.object("imp", func(o *tenancy.Organization, _ string) string {
			by := world.Headgate(o)
			return testkit.Must(e.Templates.ImportOrganization(ctx, by, template.Request{Template: "starter", DryRun: true}))(e.t).ID
		}),
		"approval": e.object("apr", func(o *tenancy.Organization, _ string) string {
			testkit.Must(db.Exec(ctx, e.Store, `INSERT INTO approval_policies (organization_id, gates, updated_at) VALUES ($1, 'secrets', 0) ON CONFLICT (organization_id) DO UPDATE SET gates = 'secrets'`, o.ID))(e.t)
			defer func() {
				testkit.Must(db.Exec(ctx, e.Store, `DELETE FROM approval_policies WHERE organization_id = $1`, o.ID))(e.t)
			}()
			by := &access.Principal{Kind: access.OrganizationKey, ID: id.New("key"), Tenant: o.Tenant, Organization: o.ID, Role: access.Owner, Scopes: access.Every}
			_, waits, err := e.Approvals.Check(ctx, by, approval.Operation{Gate: approval.Secrets, Action: "setOrganizationSecret", Target: e.next("T")})
			testkit.Must0(e.t, err)
			return waits.ID
		}),
		"credit account": e.object("acc", func(o *tenancy.Organization, _ string) string {
			return testkit.Must(e.Credits.Of(ctx, o.ID, ""))(e.t).ID
		}),
		"organization": e.object("org", func(o *tenancy.Organization, _ string) string { return o.ID }),
		"place": e.object("org", func(o *tenancy.Organization, caller string) string { // where the caller is a member, or not
			if o.ID == e.owner.Organization.ID {
				return o.ID
			}
			return e.stranger.Organization.ID
		}),
	}
}

// trail counts events.
func (e *estate) trail() int64 {
	return testkit.Must(db.Value[int64](e.t.Context(), e.Store, `SELECT COALESCE(SUM(seq), 0) FROM event_heads`))(e.t)
}

// another makes a workspace beside the default one.
func (e *estate) another(o *tenancy.Organization) workspace.Workspace {
	return testkit.Must(e.Workspaces.Provision(e.t.Context(), world.Headgate(o), workspace.Spec{Organization: o.ID, Name: e.next("w")}))(e.t)
}

// line writes a call of the caller's into an organization's log.
func (e *estate) line(o *tenancy.Organization, caller string) string {
	l := &activity.Line{Organization: o.ID, ID: id.NewRaw(), Principal: "key_x", User: e.userOf(o, caller).ID, Door: "gateway", Operation: "tools/call", Name: "echo", Success: true, CreatedAt: time.Now()}
	testkit.Must0(e.t, e.Store.Fast(e.t.Context(), func(f *db.Fast) error { return activity.Append(f, l) }))
	return l.ID.Text("log")
}

// Who may, by permission.
const (
	everyone = "owner admin developer viewer member personal narrow organization"
	anybody  = "owner admin developer viewer member personal organization" // but a key without the scope
	people   = "owner admin developer viewer member"
	builders = "owner admin developer personal organization"
	callers  = "owner admin developer member personal organization"
	staff    = "owner admin personal organization"
)

func body(members ...any) func(string) any {
	return func(subject string) any {
		m := map[string]any{}
		for i := 0; i < len(members); i += 2 {
			value := members[i+1]
			if text, isText := value.(string); isText {
				value = strings.ReplaceAll(text, "SUBJECT", subject)
			}
			m[members[i].(string)] = value
		}
		return m
	}
}

func TestMatrix(t *testing.T) {
	t.Parallel()
	e := newEstate(t, testkit.SQLite(t))
	everywhere := map[resttest.Place]int{resttest.OtherOrganization: 200, resttest.OtherTenant: 200}
	operator := func(r resttest.Row) resttest.Row { r.May = "operator"; return r }
	password := world.Password
	token := strings.Repeat("t", 43)
	rows := map[string]resttest.Row{
		"register":           {May: "*", Status: 201, Body: body("email", "SUBJECT@example.com", "password", password, "firstName", "A", "lastName", "B")},
		"login":              {May: "*", Body: body("email", e.owner.Email, "password", password)},
		"refresh":            {May: "*", Status: 401, Body: body("refreshToken", "rt_"+token)},
		"logout":             {May: people, Spends: true},
		"verifyEmail":        {May: "*", Status: 400, Body: body("token", token)},
		"resendVerification": {Silent: "nothing changes", May: people},
		"forgotPassword":     {Silent: "nobody has this address", May: "*", Body: body("email", "nobody@example.com")},
		"resetPassword":      {May: "*", Status: 400, Body: body("token", token, "password", newPassword)},
		"showInvitation":     {May: "*", Status: 400, Body: body("token", token)},

		"getMe":               {May: people + " personal"},
		"updateMe":            {May: people, Body: body("firstName", "A")},
		"changePassword":      {May: people, Status: 401, Body: body("currentPassword", "wrong wrong wrong", "newPassword", newPassword)},
		"listMyOrganizations": {May: people + " personal"},
		"switchOrganization":  {May: people, Subject: "place", Spends: true, Body: body("organizationId", "SUBJECT")},
		"acceptInvitation":    {May: people, Status: 400, Body: body("token", token)},
		"listSessions":        {May: people},
		"revokeSession":       {May: people, Status: 204, Subject: "session", Spends: true},
		"revokeOtherSessions": {May: people, Status: 204, Spends: true},

		"listMyKeys":  {May: "owner admin developer member", Except: map[string]int{"dead": 403}},
		"createMyKey": {May: "owner admin developer member", Status: 201, Body: body("name", "k", "scopes", []string{"mcp:read"}), Except: map[string]int{"dead": 403}},
		"rotateMyKey": {May: "owner admin developer member", Status: 201, Subject: "my key", Spends: true, Except: map[string]int{"dead": 403}},
		"revokeMyKey": {May: "owner admin developer member", Status: 204, Subject: "my key", Spends: true, Except: map[string]int{"dead": 403}},

		"listServices":       {May: everyone + " operator"},
		"createService":      {May: builders + " operator", Status: 201, Body: body("slug", "SUBJECT", "url", "http://127.0.0.1:8089/mcp")},
		"getService":         {May: everyone + " operator", Subject: "service", Except: map[string]int{"operator": 404}},
		"updateService":      {May: builders + " operator", Subject: "custom", Body: body("name", "N"), Except: map[string]int{"operator": 404}},
		"deleteService":      {May: builders + " operator", Status: 204, Subject: "custom", Spends: true, Except: map[string]int{"operator": 404}},
		"configureService":   {May: builders, Subject: "service", Body: body("config", map[string]any{})},
		"unconfigureService": {May: builders, Status: 400, Subject: "custom", Spends: true}, // there is no configuration
		"getPrices":          {May: everyone + " operator", Subject: "service", Except: map[string]int{"operator": 404}},
		"setPrices":          {May: builders + " operator", Subject: "custom", Body: body("price", 2), Except: map[string]int{"operator": 404}},

		"listServers":   {May: everyone},
		"createServer":  {May: builders, Status: 201, Body: body("slug", "SUBJECT", "url", "http://127.0.0.1:8089/mcp")},
		"getServer":     {May: everyone, Subject: "server"},
		"updateServer":  {May: builders, Subject: "remote server", Body: body("name", "N")},
		"deleteServer":  {May: builders, Status: 204, Subject: "server", Spends: true},
		"getServerLogs": {May: builders + " narrow", Subject: "server"},
		"testServer":    {Silent: "nothing changes", May: builders + " narrow", Subject: "server"},
		"listTools":     {May: everyone},
		"listPrompts":   {May: everyone},
		"listResources": {May: everyone},

		"executeTool":     {Silent: "the log of calls has it", May: callers, Subject: "service", Body: body("serviceId", "SUBJECT", "toolName", "echo", "parameters", map[string]any{"text": "x"})},
		"executeResource": {Silent: "the log of calls has it", May: everyone, Subject: "service", Body: body("serviceId", "SUBJECT", "resourceName", "about")},
		"executePrompt":   {Silent: "the log of calls has it", May: everyone, Subject: "service", Body: body("serviceId", "SUBJECT", "promptName", "introduce", "parameters", map[string]any{"audience": "x"})},

		"listRequestLogs":       {May: anybody},
		"getRequestLog":         {May: anybody, Subject: "log"},
		"exportRequestLogsCSV":  {May: anybody},
		"exportRequestLogsJSON": {May: anybody},
		"streamRequestLogs":     {May: anybody},
		"listAuditEvents":       {May: staff},
		"listErrorLogs":         {May: staff},
		"getUsage":              {May: anybody},

		"getOrganization":       {May: anybody},
		"updateOrganization":    {May: staff, Body: body("contactEmail", "")},
		"createOrganization":    {May: "owner admin", Status: 201, Body: body("name", "SUBJECT")},
		"listOrganizations":     {May: staff},
		"listMembers":           {May: staff},
		"updateMember":          {May: staff, Subject: "member", Body: body("role", "member")},
		"removeMember":          {May: staff, Status: 204, Subject: "member", Spends: true},
		"transferOwnership":     {May: "owner", Status: 404, Body: body("userId", id.New("user"))},
		"listInvitations":       {May: staff},
		"invite":                {May: staff, Status: 201, Body: body("email", "SUBJECT@example.com", "role", "viewer")},
		"revokeInvitation":      {May: staff, Status: 204, Subject: "invitation", Spends: true},
		"listOrganizationKeys":  {May: "owner admin organization", Except: map[string]int{"dead": 403}},
		"createOrganizationKey": {May: "owner admin organization", Status: 201, Subject: "workspace", Body: body("name", "k", "kind", "workspace", "workspaceId", "SUBJECT"), Except: map[string]int{"dead": 403}},
		"rotateOrganizationKey": {May: "owner admin organization", Status: 201, Subject: "organization key", Spends: true, Except: map[string]int{"dead": 403}},
		"revokeOrganizationKey": {May: "owner admin organization", Subject: "organization key", Spends: true, Except: map[string]int{"dead": 403}},
		"listPlans":             {May: everyone + " operator"},
		"getCredits":            {May: anybody},
		"listCreditEntries":     {May: anybody},

		"listWorkspaces":     {May: anybody},
		"createWorkspace":    {May: staff, Status: 201, Body: body("name", "SUBJECT")},
		"getWorkspace":       {May: anybody, Subject: "workspace"},
		"updateWorkspace":    {May: staff, Subject: "workspace", Body: func(string) any { return map[string]any{"role": e.next("r")} }},
		"removeWorkspace":    {May: staff, Status: 400, Subject: "other workspace"}, // without its name
		"pauseWorkspace":     {May: staff, Subject: "other workspace", Spends: true, Body: body()},
		"resumeWorkspace":    {May: staff, Subject: "paused workspace", Spends: true},
		"restartWorkspace":   {May: staff, Subject: "workspace"},
		"listWorkspaceTiers": {May: anybody},

		"listOrganizationSecrets":  {May: staff},
		"setOrganizationSecret":    {May: staff, Path: map[string]string{"secretKey": "A"}, Body: body("value", "x")},
		"deleteOrganizationSecret": {May: staff, Status: 404, Path: map[string]string{"secretKey": "NONE"}},
		"listWorkspaceSecrets":     {May: staff, Subject: "workspace"},
		"setWorkspaceSecret":       {May: staff, Subject: "workspace", Path: map[string]string{"secretKey": "A"}, Body: body("value", "x")},
		"deleteWorkspaceSecret":    {May: staff, Status: 404, Subject: "workspace", Path: map[string]string{"secretKey": "NONE"}},

		"getBudget":                   {May: anybody, Subject: "workspace"},
		"setBudget":                   {May: staff, Subject: "workspace", Body: body("budgetLimit", nil)},
		"getModelBilling":             {May: anybody, Subject: "workspace"},
		"setModelBilling":             {May: staff, Subject: "workspace", Body: body("mode", nil)},
		"getOrganizationModelBilling": {May: anybody},
		"setOrganizationModelBilling": {May: staff, Body: body("mode", nil)},

		"listTemplates":             {May: anybody},
		"importTemplate":            {May: staff, Status: 201, Body: body("name", "SUBJECT", "files", map[string]any{"a.md": "x"})},
		"deleteTemplate":            {May: staff, Status: 404, Path: map[string]string{"templateId": "none"}},
		"listOrganizationTemplates": {May: anybody},
		"importOrganization":        {May: staff, Body: body("dir", "starter", "dryRun", true)},
		"exportOrganization":        {May: staff},
		"exportBundle":              {May: staff, Subject: "workspace"},
		"importBundle":              {May: staff, Body: body("bundle", map[string]any{"schema": "headgate.bundle/1", "name": "B"}, "dryRun", true)},
		"getImport":                 {May: staff, Subject: "import"},

		"getAllowlist":      {May: everyone, Subject: "organization"},
		"setAllowlist":      {May: staff, Subject: "organization", Body: body("plugins", []string{}, "enabledBy", "x")},
		"listApprovals":     {May: staff},
		"getApproval":       {May: staff, Subject: "approval"},
		"decideApproval":    {May: "owner admin", Subject: "approval", Spends: true, Body: body("decision", "reject")},
		"getApprovalPolicy": {May: staff},
		"setApprovalPolicy": {May: "owner admin", Body: body("gates", []string{})},
		"exportAuditEvents": {May: staff},

		"getSelf":            {May: "workspace"},
		"getOwnBudget":       {May: "workspace"},
		"getOwnModelBilling": {May: "workspace"},
		"listOwnSecrets":     {May: "workspace"},
		"listOwnEvents":      {May: "workspace"},
		"restartSelf":        {May: "workspace"},

		"adminVerifyAudit":         operator(resttest.Row{}),
		"adminGetOrganization":     operator(resttest.Row{Subject: "organization", Absent: everywhere}),
		"adminListAccounts":        operator(resttest.Row{}),
		"adminGetAccount":          operator(resttest.Row{Subject: "credit account", Absent: everywhere}),
		"adminUpdateAccount":       operator(resttest.Row{Subject: "credit account", Absent: everywhere, Body: body("tier", "free")}),
		"adminListEntries":         operator(resttest.Row{Subject: "credit account", Absent: everywhere}),
		"adminTopUp":               operator(resttest.Row{Subject: "credit account", Absent: everywhere, Body: body("amount", 1, "reason", "x")}),
		"adminTakeCredits":         operator(resttest.Row{Subject: "credit account", Absent: everywhere, Body: body("amount", 1, "reason", "x")}),
		"adminListCreditPacks":     operator(resttest.Row{}),
		"adminAccountTotals":       operator(resttest.Row{}),
		"adminToolUsage":           operator(resttest.Row{}),
		"adminCreditHistory":       operator(resttest.Row{}),
		"adminListPrices":          operator(resttest.Row{}),
		"adminReconcile":           operator(resttest.Row{}),
		"adminListPlans":           operator(resttest.Row{}),
		"adminSavePlan":            operator(resttest.Row{Path: map[string]string{"planSlug": "matrix"}, Body: body("name", "M", "ratePerMinute", 1, "burst", 1, "monthlyCredits", 0)}),
		"adminListCatalog":         operator(resttest.Row{}),
		"adminGetEntry":            operator(resttest.Row{Path: map[string]string{"entryName": "memory"}}),
		"adminAddEntry":            operator(resttest.Row{Status: 201, Body: body("entry", "name: SUBJECT\nprogram: /usr/bin/true\n")}),
		"adminRemoveEntry":         operator(resttest.Row{Status: 409, Path: map[string]string{"entryName": "memory"}}), // shipped
		"adminEnableEntry":         operator(resttest.Row{Path: map[string]string{"entryName": "plain"}, Body: body()}),
		"adminDisableEntry":        operator(resttest.Row{Status: 204, Path: map[string]string{"entryName": "plain"}}),
		"adminTryEntry":            operator(resttest.Row{Silent: "nothing changes", Path: map[string]string{"entryName": "plain"}, Body: body()}),
		"adminGetSandbox":          operator(resttest.Row{}),
		"adminListTenants":         operator(resttest.Row{}),
		"adminListOrganizations":   operator(resttest.Row{}),
		"adminSetPlan":             operator(resttest.Row{Subject: "organization", Absent: everywhere, Body: body("plan", "operator")}),
		"adminSuspendOrganization": operator(resttest.Row{Subject: "organization", Status: 409, Absent: map[resttest.Place]int{resttest.OtherOrganization: 200, resttest.OtherTenant: 409}}), // homes are not
		"adminResumeOrganization":  operator(resttest.Row{Subject: "organization", Absent: everywhere}),
	}
	resttest.Matrix{Door: e.door, Callers: e.callers(), Objects: e.objects(), Rows: rows, Trail: e.trail}.Run(t)
}
