package platform

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/catalog"
	"headgate/internal/id"
	"headgate/internal/mcp"
	"headgate/internal/rest"
)

// LogRow is a call in the log.
type LogRow struct {
	ID             string    `json:"id"`
	RequestID      string    `json:"requestId"`
	ServiceID      string    `json:"serviceId"`
	ServiceName    string    `json:"serviceName"`
	ServerID       string    `json:"serverId,omitempty"`
	WorkspaceID    string    `json:"workspaceId,omitempty"`
	Operation      string    `json:"operation" doc:"The name of the tool, resource or prompt."`
	Method         string    `json:"method" doc:"tools/call, resources/read or prompts/get."`
	Door           string    `json:"door"`
	Status         string    `json:"status" enum:"success,error"`
	StatusCode     int       `json:"statusCode"`
	ErrorCode      string    `json:"errorCode,omitempty"`
	IsBackendError bool      `json:"isBackendError" doc:"The server's fault or ours; not charged."`
	CreditsCost    int64     `json:"creditsCost" doc:"The price at that moment."`
	CreditsCharged int64     `json:"creditsCharged" doc:"What was taken."`
	DurationMs     int64     `json:"durationMs"`
	UserID         string    `json:"userId,omitempty"`
	CredentialID   string    `json:"credentialId" doc:"The key or session."`
	CreatedAt      rest.Time `json:"createdAt"`
	IPAddress      string    `json:"ipAddress"`
	UserAgent      string    `json:"userAgent"`
}

func logRowOf(l *activity.Line, serviceName string) LogRow {
	status := "success"
	if !l.Success {
		status = "error"
	}
	return LogRow{l.ID.Text("log"), l.ID.Text("req"), l.Service, serviceName, l.Server, l.Workspace, l.Name, l.Operation, l.Door, status, l.StatusCode, l.ErrorCode, l.BackendError,
		l.Cost, l.Charged, l.Duration.Milliseconds(), l.User, l.Principal, rest.At(l.CreatedAt), l.IP, l.UserAgent}
}

type logList struct {
	Logs []LogRow `json:"logs"`
}

type logDetail struct {
	LogRow
	Request  loggedRequest  `json:"request"`
	Response loggedResponse `json:"response"`
}

type loggedRequest struct {
	ServiceID    string       `json:"serviceId"`
	ToolName     string       `json:"toolName,omitempty"`
	ResourceName string       `json:"resourceName,omitempty" doc:"Its URI."`
	PromptName   string       `json:"promptName,omitempty"`
	Parameters   *rest.Object `json:"parameters,omitempty" doc:"Without secrets. Left out where the organization keeps none, or its time is over."`
	Cut          string       `json:"cut,omitempty" doc:"The beginning of a request too long to be kept."`
}

type loggedResponse struct {
	Result        *rest.Object `json:"result,omitempty" doc:"As the execution gave it; left out where none is kept."`
	Error         *rest.Object `json:"error,omitempty" doc:"The server's own, when it answered with one."`
	ExecutionTime float64      `json:"executionTime" doc:"Seconds."`
	Cut           string       `json:"cut,omitempty" doc:"The beginning of an answer too long to be kept."`
}

type logData struct {
	Log logDetail `json:"log"`
}

// LogFilter is what lists, exports and streams of the log may be narrowed by.
type LogFilter struct {
	ServiceID   string `query:"serviceId" maxLength:"64"`
	ServerID    string `query:"serverId" maxLength:"64"`
	WorkspaceID string `query:"workspaceId" maxLength:"64"`
	UserID      string `query:"userId" maxLength:"64" doc:"Whose calls; other people's only with the right to see them."`
	KeyID       string `query:"credentialId" maxLength:"64"`
	Status      string `query:"status" enum:"success,error"`
	ErrorCode   string `query:"errorCode" maxLength:"64"`
	Operation   string `query:"operation" maxLength:"256" doc:"The name of a tool, resource or prompt."`
	Method      string `query:"method" enum:"tools/call,resources/read,prompts/get"`
	Door        string `query:"door" maxLength:"32"`
}

// Period narrows a list to a time.
type Period struct {
	StartDate string `query:"startDate" maxLength:"40" doc:"ISO 8601, a date or a moment."`
	EndDate   string `query:"endDate" maxLength:"40" doc:"ISO 8601, a date (that day is inside) or a moment."`
}

type listLogs struct {
	rest.Page
	LogFilter
	Period
	Cursor string `query:"cursor" maxLength:"500" doc:"nextCursor of the page before, instead of page."`
}

type byLog struct {
	ID string `path:"logId" maxLength:"64"`
}

// moment reads a date or a moment. A date as an end stands for its last
// moment: the next day's first is returned.
func moment(field, text string, end bool) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil && t.Year() > 1970 && t.Year() < 9999 {
		return t.UTC(), nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil || t.Year() <= 1970 || t.Year() >= 9999 {
		return t, rest.Invalid(rest.Problem{Field: field, Message: "must be a date (2026-07-28) or a moment (2026-07-28T09:30:00Z)"})
	}
	if end {
		t = t.AddDate(0, 0, 1)
	}
	return t, nil
}

func (p Period) read() (from, until time.Time, err error) {
	if p.StartDate != "" {
		if from, err = moment("query.startDate", p.StartDate, false); err != nil {
			return from, until, err
		}
	}
	if p.EndDate != "" {
		if until, err = moment("query.endDate", p.EndDate, true); err != nil {
			return from, until, err
		}
	}
	if !from.IsZero() && !until.IsZero() && !from.Before(until) {
		return from, until, rest.Invalid(rest.Problem{Field: "query.endDate", Message: "must be after startDate"})
	}
	return from, until, nil
}

// read makes the log's filter: everybody's calls for those who may see them,
// one's own for everybody else. An id that is none selects nothing.
func (f LogFilter) read(by *access.Principal) activity.CallFilter {
	c := activity.CallFilter{Organization: by.Organization, ErrorCode: f.ErrorCode, Operation: f.Method, Name: f.Operation, Door: f.Door, Principal: f.KeyID}
	for _, r := range []struct {
		to           *string
		prefix, text string
	}{{&c.Service, "svc", f.ServiceID}, {&c.Server, "srv", f.ServerID}, {&c.Workspace, "ws", f.WorkspaceID}, {&c.User, "user", f.UserID}} {
		if r.text == "" {
			continue
		}
		*r.to = r.text
		if canonical, ok := id.Parse(r.prefix, r.text); ok {
			*r.to = canonical
		}
	}
	if f.Status != "" {
		c.Success = new(f.Status == "success")
	}
	return own(by, c)
}

// own narrows a filter to what by may see.
func own(by *access.Principal, c activity.CallFilter) activity.CallFilter {
	switch {
	case by.Can(access.LogsAll):
	case by.User == "":
		c.Principal = by.ID
	case c.User == "" || c.User == by.User:
		c.User = by.User
	default:
		c.User, c.Principal = by.User, "nobody" // another's: nothing
	}
	return c
}

func (a *api) requestLogs() {
	tags := []string{"logs"}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/logs/requests", ID: "listRequestLogs", Summary: "The log of calls", Tags: tags, Permission: access.LogsOwn,
		Detail: "One's own calls; everybody's of the organization for its admins."}, a.listRequestLogs)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/logs/requests/{logId}", ID: "getRequestLog", Summary: "A call, with what was sent and answered", Tags: tags, Permission: access.LogsOwn}, a.getRequestLog)
}

// position is where a page of the log ends. The count goes along, so that
// following pages need none.
type position struct {
	ID    string `json:"id"`
	Total int64  `json:"total"`
}

func (a *api) listRequestLogs(ctx context.Context, in *listLogs) (*rest.OK[logList, rest.Paged], error) {
	f := in.LogFilter.read(rest.Principal(ctx))
	var err error
	if f.From, f.Until, err = in.Period.read(); err != nil {
		return nil, err
	}
	var at position
	var before id.Raw
	offset := in.Offset()
	bound := []any{in.LogFilter, in.Period}
	if in.Cursor != "" {
		if err := rest.OpenCursor(ctx, in.Cursor, bound, &at); err != nil {
			return nil, err
		}
		before, _ = id.ParseRaw("log", at.ID)
		offset = 0
	} else if at.Total, err = activity.CountCalls(ctx, a.Store, f); err != nil {
		return nil, err
	}
	lines, err := activity.Calls(ctx, a.Store, f, before, in.Limit, offset)
	if err != nil {
		return nil, err
	}
	names, err := a.serviceNames(ctx, lines)
	if err != nil {
		return nil, err
	}
	var list logList
	for i := range lines {
		list.Logs = append(list.Logs, logRowOf(&lines[i], names[lines[i].Service]))
	}
	meta := in.Of(at.Total)
	if len(lines) == in.Limit {
		if meta.NextCursor, err = rest.Cursor(ctx, bound, position{lines[len(lines)-1].ID.Text("log"), at.Total}); err != nil {
			return nil, err
		}
	}
	return rest.Ok(list, meta), nil
}

func (a *api) serviceNames(ctx context.Context, lines []activity.Line) (map[string]string, error) {
	seen := map[string]bool{}
	var ids []string
	for _, l := range lines {
		if l.Service != "" && !seen[l.Service] {
			seen[l.Service] = true
			ids = append(ids, l.Service)
		}
	}
	return catalog.ServiceNames(ctx, a.Store, ids)
}

func (a *api) getRequestLog(ctx context.Context, in *byLog) (*rest.OK[logData, rest.Meta], error) {
	by := rest.Principal(ctx)
	raw, found := id.ParseRaw("log", in.ID)
	if !found {
		if raw, found = id.ParseRaw("req", in.ID); !found { // what a client was told
			return nil, activity.ErrNoCall
		}
	}
	l, err := activity.Call(ctx, a.Store, own(by, activity.CallFilter{Organization: by.Organization}), raw)
	if err != nil {
		return nil, err
	}
	names, err := a.serviceNames(ctx, []activity.Line{l})
	if err != nil {
		return nil, err
	}
	request, response, _, err := a.Bodies.Body(ctx, l.Organization, l.ID)
	if err != nil {
		return nil, err
	}
	return ok(logData{logDetail{logRowOf(&l, names[l.Service]), loggedRequestOf(&l, request), loggedResponseOf(&l, response)}}, "")
}

// loggedRequestOf reads the arguments back from a kept message. One that was
// cut is no JSON any more and is shown as it is.
func loggedRequestOf(l *activity.Line, body []byte) loggedRequest {
	r := loggedRequest{ServiceID: l.Service}
	switch l.Operation {
	case mcp.MethodToolsCall:
		r.ToolName = l.Name
	case mcp.MethodResourcesRead:
		r.ResourceName = l.Name
	case mcp.MethodPromptsGet:
		r.PromptName = l.Name
	}
	switch {
	case len(body) == 0:
	case !json.Valid(body):
		r.Cut = strings.ToValidUTF8(string(body), "�")
	default:
		arguments := rest.Object("{}")
		if v, ok := mcp.Find(body, mcp.Root(body), "params", "arguments"); ok {
			arguments = object(v.Of(body))
		}
		r.Parameters = &arguments
	}
	return r
}

func loggedResponseOf(l *activity.Line, body []byte) loggedResponse {
	r := loggedResponse{ExecutionTime: float64(l.Duration.Milliseconds()) / 1000}
	var e mcp.Envelope
	switch {
	case len(body) == 0:
	case mcp.ScanReply(body, &e, mcp.Limits{}) != nil:
		r.Cut = strings.ToValidUTF8(string(body), "�")
	case e.Kind == mcp.ErrorResponse:
		r.Error = new(object(e.Error.Of(body)))
	case l.Operation == mcp.MethodToolsCall:
		r.Result = new(toolResult(body, &e))
	default:
		r.Result = new(object(e.Result.Of(body)))
	}
	return r
}
