package platform

import (
	"context"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/fault"
	"headgate/internal/rest"
)

type eventRow struct {
	ID          string         `json:"id"`
	Sequence    int64          `json:"sequence"`
	Action      string         `json:"action"`
	ActorKind   string         `json:"actorKind"`
	ActorID     string         `json:"actorId"`
	ActorName   string         `json:"actorName"`
	TargetType  string         `json:"targetType"`
	TargetID    string         `json:"targetId"`
	WorkspaceID string         `json:"workspaceId,omitempty"`
	Details     map[string]any `json:"details"`
	IPAddress   string         `json:"ipAddress"`
	RequestID   string         `json:"requestId"`
	CreatedAt   rest.Time      `json:"createdAt"`
}

type eventList struct {
	Events []eventRow `json:"events"`
}

type listEvents struct {
	rest.Page
	Period
	Action   string `query:"action" maxLength:"64" doc:"One action (key.create), or all on a noun (key.)."`
	ActorID  string `query:"actorId" maxLength:"64"`
	TargetID string `query:"targetId" maxLength:"64"`

	WorkspaceID string `query:"workspaceId" maxLength:"64" doc:"Id or slug."`
}

type errorRow struct {
	ID        string    `json:"id"`
	RequestID string    `json:"requestId"`
	Code      string    `json:"code"`
	Message   string    `json:"message"`
	Door      string    `json:"door"`
	Operation string    `json:"operation"`
	Severity  string    `json:"severity" enum:"error,warning"`
	CreatedAt rest.Time `json:"createdAt"`
}

type errorList struct {
	Errors []errorRow `json:"errors"`
}

type listErrors struct {
	rest.Page
	Period
	Code      string `query:"code" maxLength:"64"`
	Severity  string `query:"severity" enum:"error,warning"`
	RequestID string `query:"requestId" maxLength:"64"`
}

func (a *api) trails() {
	tags := []string{"logs"}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/logs/audit", ID: "listAuditEvents", Summary: "Who changed what", Tags: tags, Permission: access.LogsAll, Errors: []fault.Kind{fault.NotFound}}, a.listEvents)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/logs/errors", ID: "listErrorLogs", Summary: "What failed", Tags: tags, Permission: access.LogsAll,
		Detail: "Failures of Headgate and of MCP servers, as their callers were told of them."}, a.listErrors)
}

func (a *api) listEvents(ctx context.Context, in *listEvents) (*rest.OK[eventList, rest.Paged], error) {
	f := activity.EventFilter{Organization: rest.Principal(ctx).Organization, Action: in.Action, Actor: in.ActorID, Target: in.TargetID}
	var err error
	if f.From, f.Until, err = in.Period.read(); err != nil {
		return nil, err
	}
	if f.Workspace, err = a.inTrail(ctx, in.WorkspaceID); err != nil {
		return nil, err
	}
	return a.eventPage(ctx, f, in.Page)
}

// eventPage is a page of a trail.
func (a *api) eventPage(ctx context.Context, f activity.EventFilter, page rest.Page) (*rest.OK[eventList, rest.Paged], error) {
	events, total, err := activity.Events(ctx, a.Store, f, page.Limit, page.Offset())
	if err != nil {
		return nil, err
	}
	var list eventList
	for i := range events {
		list.Events = append(list.Events, eventRowOf(&events[i]))
	}
	return rest.Ok(list, page.Of(total)), nil
}

func eventRowOf(e *activity.Event) eventRow {
	if e.Details == nil {
		e.Details = map[string]any{}
	}
	return eventRow{e.ID, e.Seq, e.Action, e.ActorKind, e.ActorID, e.ActorName, e.TargetType, e.TargetID, e.Workspace, e.Details, e.IP, e.RequestID, rest.At(e.CreatedAt)}
}

func (a *api) listErrors(ctx context.Context, in *listErrors) (*rest.OK[errorList, rest.Paged], error) {
	f := activity.ErrorFilter{Organization: rest.Principal(ctx).Organization, Code: in.Code, Severity: in.Severity, RequestID: in.RequestID}
	var err error
	if f.From, f.Until, err = in.Period.read(); err != nil {
		return nil, err
	}
	lines, total, err := activity.ErrorLines(ctx, a.Store, f, in.Limit, in.Offset())
	if err != nil {
		return nil, err
	}
	var list errorList
	for _, l := range lines {
		list.Errors = append(list.Errors, errorRow{l.ID, l.RequestID, l.Code, l.Message, l.Door, l.Operation, l.Severity, rest.At(l.CreatedAt)})
	}
	return rest.Ok(list, in.Of(total)), nil
}
