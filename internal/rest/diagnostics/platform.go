package diagnostics

import (
	"context"
	"encoding/json"

	"headgate/internal/access"
	"headgate/internal/approval"
	"headgate/internal/catalog"
	"headgate/internal/diagnosis"
	"headgate/internal/diagnosis/checkup"
	"headgate/internal/diagnosis/grants"
	"headgate/internal/diagnosis/report"
	"headgate/internal/fault"
	"headgate/internal/rest"
)

// PlatformOptions are what the Platform API's operations are made of.
type PlatformOptions struct {
	Catalog   *catalog.Catalog
	Resolver  *catalog.Resolver
	Diagnosis *diagnosis.Service
	Grants    *grants.Service
}

type platformAPI struct{ PlatformOptions }

// ByServer is the input of what is about one server.
type ByServer struct {
	ID string `path:"serverId" maxLength:"64"`
}

// ByReport is the input of what is about one report.
type ByReport struct {
	ID string `path:"reportId" maxLength:"64"`
}

type doctorURL struct{ Body doctorURLBody }

type doctorURLBody struct {
	URL      string            `json:"url" minLength:"1" maxLength:"2048"`
	Headers  map[string]string `json:"headers,omitempty" maxProperties:"16" doc:"Sent along and not kept."`
	Register bool              `json:"register,omitempty" doc:"Also try to register a client with the authorization server. It is taken back where the server allows that; else the report names it."`
	Call     *doctorCall       `json:"call,omitempty" doc:"A tool to call, once, as a client that can do nothing else."`
}

type doctorCall struct {
	ToolName   string      `json:"toolName" minLength:"1" maxLength:"256"`
	Parameters rest.Object `json:"parameters,omitempty" doc:"The tool's arguments."`
}

type doctorServer struct {
	ByServer
	Body doctorServerBody
}

type doctorServerBody struct {
	Register bool `json:"register,omitempty" doc:"Also try to register a client with the authorization server, which takes the right to register servers. It is taken back where the server allows that; else the report names it."`
}

type checkURL struct{ Body checkURLBody }

type checkURLBody struct {
	URL string `json:"url" minLength:"1" maxLength:"2048"`
}

type reportData struct {
	Report report.Report `json:"report"`
}

type oauthData struct {
	OAuth oauthCheck `json:"oauth"`
}

type initData struct {
	InitInfo report.InitInfo `json:"initInfo"`
}

type snapshotData struct {
	Snapshot diagnosis.Snapshot `json:"snapshot"`
}

type driftData struct {
	Drift report.Drift `json:"drift"`
}

type listReports struct {
	rest.Page
	ServerID string `query:"serverId" maxLength:"64" doc:"Left out, every server's, and those of URLs."`
	Kind     string `query:"kind" enum:"doctor,validate" doc:"Left out, both."`
}

type reportRow struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind"`
	ServerID    string    `json:"serverId,omitempty"`
	WorkspaceID string    `json:"workspaceId,omitempty"`
	URL         string    `json:"url,omitempty"`
	Status      string    `json:"status" enum:"ready,oauth_required,partial,error"`
	Scheduled   bool      `json:"scheduled"`
	CreatedBy   string    `json:"createdBy"`
	CreatedAt   rest.Time `json:"createdAt"`
	DurationMs  int64     `json:"durationMs"`
	Tools       int64     `json:"tools"`
	Errors      int64     `json:"errors"`
	Warnings    int64     `json:"warnings"`
}

type reportList struct {
	Reports []reportRow `json:"reports"`
}

type driftOf struct {
	ByReport
	Since string `query:"since" required:"true" minLength:"1" maxLength:"64" doc:"The older report's id."`
}

type setSchedule struct {
	ByServer
	Body setScheduleBody
}

type setScheduleBody struct {
	Cron    string `json:"cron" minLength:"1" maxLength:"100" doc:"minute hour day month weekday, in UTC; at most once in five minutes."`
	Enabled *bool  `json:"enabled,omitempty" doc:"Left out, true."`
}

type diagnosisSchedule struct {
	ServerID     string    `json:"serverId"`
	WorkspaceID  string    `json:"workspaceId"`
	Cron         string    `json:"cron"`
	Enabled      bool      `json:"enabled"`
	NextAt       rest.Time `json:"nextAt" nullable:"true"`
	LastAt       rest.Time `json:"lastAt" nullable:"true"`
	LastReportID string    `json:"lastReportId,omitempty"`
	CreatedAt    rest.Time `json:"createdAt"`
	UpdatedAt    rest.Time `json:"updatedAt"`
}

type scheduleData struct {
	Schedule diagnosisSchedule `json:"schedule"`
}

type scheduleList struct {
	Schedules []diagnosisSchedule `json:"schedules"`
}

type bringTokens struct {
	ByServer
	Body ImportTokensBody
}

type grantData struct {
	Tokens tokenGrant `json:"tokens"`
}

// RegisterPlatform gives the Platform API its operations about diagnoses and
// brought tokens.
func RegisterPlatform(door *rest.Door, o PlatformOptions) {
	a := &platformAPI{o}
	const server = "/mcp/servers/{serverId}"
	op := func(method, path, id, summary string, perm access.Permission, errors ...fault.Kind) rest.Op {
		return rest.Op{Method: method, Path: path, ID: id, Summary: summary, Tags: []string{"diagnoses"}, Permission: perm, Timeout: doctorTime, Errors: errors}
	}
	rest.Handle(door, op("POST", "/mcp/doctor", "doctorUrl", "Examine any URL", access.ServicesAdmin), a.doctorURL)
	rest.Handle(door, op("POST", "/mcp/check-oauth", "checkUrlOAuth", "Does a URL want a sign-in?", access.ServicesAdmin), a.checkURL)
	rest.Handle(door, op("POST", server+"/doctor", "doctorServer", "Examine a server", access.Diagnose), a.doctor)
	rest.Handle(door, op("POST", server+"/validate", "validateServer", "Connect to a server", access.Diagnose, upstreamFaults...), a.validate)
	rest.Handle(door, op("POST", server+"/check-oauth", "checkServerOAuth", "Does a server want a sign-in?", access.Diagnose), a.checkOAuth)
	rest.Handle(door, op("POST", server+"/export", "exportServer", "Everything a server offers, as one document", access.Diagnose, upstreamFaults...), a.export)
	rest.Handle(door, op("GET", "/mcp/reports", "listReports", "Kept reports", access.Diagnose, fault.NotFound), a.listReports)
	rest.Handle(door, op("GET", "/mcp/reports/{reportId}", "getReport", "A report", access.Diagnose), a.getReport)
	rest.Handle(door, op("GET", "/mcp/reports/{reportId}/drift", "getDrift", "What changed since another report", access.Diagnose), a.drift)
	rest.Handle(door, op("GET", "/mcp/schedules", "listSchedules", "Schedules of diagnoses", access.Diagnose), a.listSchedules)
	rest.Handle(door, op("GET", server+"/schedule", "getSchedule", "When a server is examined by itself", access.Diagnose), a.getSchedule)
	rest.Handle(door, op("PUT", server+"/schedule", "setSchedule", "Have a server examined by itself", access.ServicesAdmin, fault.Conflict), a.setSchedule)
	rest.Handle(door, op("DELETE", server+"/schedule", "deleteSchedule", "Stop that", access.ServicesAdmin), a.deleteSchedule)
	secret := func(op rest.Op) rest.Op { op.Late = string(approval.Secrets); return op }
	rest.Handle(door, secret(op("POST", server+"/oauth/import-tokens", "importServerTokens", "Bring your tokens for a server", access.Call)), a.importTokens)
	rest.Handle(door, op("GET", server+"/oauth/tokens", "getServerTokens", "What is known of your tokens for a server", access.Call), a.getTokens)
	rest.Handle(door, secret(op("DELETE", server+"/oauth/tokens", "deleteServerTokens", "Forget your tokens for a server", access.Call)), a.deleteTokens)
}

// server finds one of the organization's servers.
func (a *platformAPI) server(ctx context.Context, in ByServer) (*access.Principal, *catalog.Server, error) {
	by := rest.Principal(ctx)
	d, err := a.Catalog.GetServer(ctx, by, in.ID)
	if err != nil {
		return by, nil, err
	}
	w, err := a.Resolver.Workspace(ctx, d.Organization, d.Workspace)
	if err != nil {
		return by, nil, err
	}
	s, ok := w.Server(d.ID)
	if !ok {
		return by, nil, catalog.ErrServerNotFound
	}
	return by, s, nil
}

func shown[T, D any](wrap func(T) D, v *T, err error) (*rest.OK[D, rest.Meta], error) {
	if err != nil {
		return nil, address(err)
	}
	return rest.Ok(wrap(*v), rest.Meta{}), nil
}

func inReport(r report.Report) reportData { return reportData{r} }

func inOAuth(o diagnosis.OAuth) oauthData { return oauthData{*oauthOf(&o)} }

func inSchedule(s diagnosis.Schedule) scheduleData { return scheduleData{scheduleOf(s)} }

func scheduleOf(s diagnosis.Schedule) diagnosisSchedule {
	return diagnosisSchedule{s.Server, s.Workspace, s.Cron, s.Enabled, rest.At(s.NextAt), rest.At(s.LastAt), s.LastReport, rest.At(s.CreatedAt), rest.At(s.UpdatedAt)}
}

func (a *platformAPI) doctorURL(ctx context.Context, in *doctorURL) (*rest.OK[reportData, rest.Meta], error) {
	extra := diagnosis.Extra{Headers: in.Body.Headers, Register: in.Body.Register}
	if c := in.Body.Call; c != nil {
		extra.Call = &checkup.Call{Tool: c.ToolName, Arguments: json.RawMessage(c.Parameters)}
	}
	r, err := a.Diagnosis.DoctorURL(ctx, rest.Principal(ctx), in.Body.URL, &extra)
	return shown(inReport, r, err)
}

func (a *platformAPI) checkURL(ctx context.Context, in *checkURL) (*rest.OK[oauthData, rest.Meta], error) {
	o, err := a.Diagnosis.CheckOAuthURL(ctx, in.Body.URL)
	return shown(inOAuth, o, err)
}

func (a *platformAPI) doctor(ctx context.Context, in *doctorServer) (*rest.OK[reportData, rest.Meta], error) {
	by, s, err := a.server(ctx, in.ByServer)
	if err != nil {
		return nil, err
	}
	r, err := a.Diagnosis.Doctor(ctx, by, s, in.Body.Register)
	return shown(inReport, r, err)
}

func (a *platformAPI) validate(ctx context.Context, in *ByServer) (*rest.OK[initData, rest.Meta], error) {
	by, s, err := a.server(ctx, *in)
	if err != nil {
		return nil, err
	}
	i, err := a.Diagnosis.Validate(ctx, by, s)
	if err != nil {
		return nil, err
	}
	return rest.Ok(initData{*i}, rest.Meta{}), nil
}

func (a *platformAPI) checkOAuth(ctx context.Context, in *ByServer) (*rest.OK[oauthData, rest.Meta], error) {
	by, s, err := a.server(ctx, *in)
	if err != nil {
		return nil, err
	}
	o, err := a.Diagnosis.CheckOAuth(ctx, by, s)
	return shown(inOAuth, o, err)
}

func (a *platformAPI) export(ctx context.Context, in *ByServer) (*rest.OK[snapshotData, rest.Meta], error) {
	by, s, err := a.server(ctx, *in)
	if err != nil {
		return nil, err
	}
	e, err := a.Diagnosis.Export(ctx, by, s)
	if err != nil {
		return nil, err
	}
	return rest.Ok(snapshotData{*e}, rest.Meta{}), nil
}

func (a *platformAPI) listReports(ctx context.Context, in *listReports) (*rest.OK[reportList, rest.Paged], error) {
	all, total, err := a.Diagnosis.Reports(ctx, rest.Principal(ctx), in.ServerID, in.Kind, in.Limit, in.Offset())
	if err != nil {
		return nil, err
	}
	var list reportList
	for _, s := range all {
		list.Reports = append(list.Reports, reportRow{s.ID, s.Kind, s.Server, s.Workspace, s.URL, string(s.Status), s.Scheduled, s.CreatedBy, rest.At(s.CreatedAt),
			s.DurationMs, s.Tools, s.Errors, s.Warnings})
	}
	return rest.Ok(list, in.Of(total)), nil
}

func (a *platformAPI) getReport(ctx context.Context, in *ByReport) (*rest.OK[reportData, rest.Meta], error) {
	r, err := a.Diagnosis.Report(ctx, rest.Principal(ctx), in.ID)
	return shown(inReport, r, err)
}

func (a *platformAPI) drift(ctx context.Context, in *driftOf) (*rest.OK[driftData, rest.Meta], error) {
	d, err := a.Diagnosis.Compare(ctx, rest.Principal(ctx), in.Since, in.ID)
	if err != nil {
		return nil, err
	}
	return rest.Ok(driftData{*d}, rest.Meta{}), nil
}

func (a *platformAPI) listSchedules(ctx context.Context, _ *rest.None) (*rest.OK[scheduleList, rest.Meta], error) {
	all, err := a.Diagnosis.Schedules(ctx, rest.Principal(ctx))
	if err != nil {
		return nil, err
	}
	var list scheduleList
	for _, s := range all {
		list.Schedules = append(list.Schedules, scheduleOf(s))
	}
	return rest.Ok(list, rest.Meta{}), nil
}

func (a *platformAPI) getSchedule(ctx context.Context, in *ByServer) (*rest.OK[scheduleData, rest.Meta], error) {
	by, s, err := a.server(ctx, *in)
	if err != nil {
		return nil, err
	}
	c, err := a.Diagnosis.Schedule(ctx, by, s)
	return shown(inSchedule, c, err)
}

func (a *platformAPI) setSchedule(ctx context.Context, in *setSchedule) (*rest.OK[scheduleData, rest.Meta], error) {
	by, s, err := a.server(ctx, in.ByServer)
	if err != nil {
		return nil, err
	}
	c, err := a.Diagnosis.SetSchedule(ctx, by, s, in.Body.Cron, in.Body.Enabled == nil || *in.Body.Enabled)
	return shown(inSchedule, c, err)
}

func (a *platformAPI) deleteSchedule(ctx context.Context, in *ByServer) (*rest.None, error) {
	by, s, err := a.server(ctx, *in)
	if err != nil {
		return nil, err
	}
	return nil, a.Diagnosis.RemoveSchedule(ctx, by, s)
}

func (a *platformAPI) importTokens(ctx context.Context, in *bringTokens) (*rest.OK[grantData, rest.Meta], error) {
	by, s, err := a.server(ctx, in.ByServer)
	if err != nil {
		return nil, err
	}
	g, err := a.Grants.Import(ctx, by, s, in.Body.tokens())
	return shown(inGrant, g, err)
}

func inGrant(g grants.Grant) grantData { return grantData{*grantOf(&g)} }

func (a *platformAPI) getTokens(ctx context.Context, in *ByServer) (*rest.OK[grantData, rest.Meta], error) {
	by, s, err := a.server(ctx, *in)
	if err != nil {
		return nil, err
	}
	g, err := a.Grants.Get(ctx, by, s)
	return shown(inGrant, g, err)
}

func (a *platformAPI) deleteTokens(ctx context.Context, in *ByServer) (*rest.None, error) {
	by, s, err := a.server(ctx, *in)
	if err != nil {
		return nil, err
	}
	return nil, a.Grants.Remove(ctx, by, s)
}
