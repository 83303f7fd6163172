package platform

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/rest"
	"headgate/internal/tenancy"
)

type exportEvents struct {
	Period
	Action      string `query:"action" maxLength:"64" doc:"One action (key.create), or all on a noun (key.)."`
	ActorID     string `query:"actorId" maxLength:"64"`
	TargetID    string `query:"targetId" maxLength:"64"`
	WorkspaceID string `query:"workspaceId" maxLength:"64" doc:"Id or slug."`
	Limit       int    `query:"limit" minimum:"1" maximum:"100000" default:"100000"`
}

type verdictRow struct {
	TenantID string `json:"tenantId" doc:"installation for what belongs to no tenant."`
	Events   int64  `json:"events"`
	Sound    bool   `json:"sound"`
	BadEvent int64  `json:"badEvent" doc:"The sequence number of the first event that does not fit; 0 when all do."`
	Problem  string `json:"problem"`
}

type verdictData struct {
	Sound  bool         `json:"sound"`
	Trails []verdictRow `json:"trails"`
}

// manage registers what operates an organization and its workspaces.
func (a *api) manage() {
	a.workspaces()
	a.secrets()
	a.budgets()
	a.templates()
	a.allowlists()
	a.approvals()
	a.self()
	rest.Stream(a.door, rest.Op{Method: "GET", Path: "/logs/audit/export.json", ID: "exportAuditEvents", Summary: "The audit trail as JSON", Tags: []string{"logs"}, Permission: access.LogsAll,
		Errors: []fault.Kind{fault.NotFound}, Detail: "Newest first, at most 100,000 events: narrow it by startDate and endDate."}, "application/json", a.exportEvents)
	verify := adminOp("GET", "/audit/verify", "adminVerifyAudit", "Whether the audit trails are sound")
	verify.Timeout, verify.Detail = 10*time.Minute, "Every trail is walked, and held to the signed checkpoint that is kept outside the database: edits, deletions, reordering and cut-off ends are found."
	rest.Handle(a.door, verify, a.adminVerifyAudit)
	rest.Handle(a.door, adminOp("GET", "/organizations/{organizationId}", "adminGetOrganization", "An organization, by id or slug"), a.adminGetOrganization)
}

// inTrail turns a workspace's id or slug into what events hold. A removed one's
// id still finds its events.
func (a *api) inTrail(ctx context.Context, ref string) (string, error) {
	if canonical, ok := id.Parse("ws", ref); ref == "" || ok {
		return canonical, nil
	}
	w, err := a.Workspaces.Get(ctx, rest.Principal(ctx).Organization, ref)
	return w.ID, err
}

func (a *api) exportEvents(ctx context.Context, in *exportEvents) (func(http.ResponseWriter), error) {
	f := activity.EventFilter{Organization: rest.Principal(ctx).Organization, Action: in.Action, Actor: in.ActorID, Target: in.TargetID}
	var err error
	if f.From, f.Until, err = in.Period.read(); err != nil {
		return nil, err
	}
	if f.Workspace, err = a.inTrail(ctx, in.WorkspaceID); err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Disposition", `attachment; filename="events.json"`)
		_, _ = io.WriteString(w, `{"success":true,"data":{"events":[`)
		n := 0
		for e, err := range activity.EachEvent(ctx, a.Store, f, in.Limit) {
			if err != nil {
				cutShort(ctx, err)
				return
			}
			line, err := json.Marshal(eventRowOf(&e))
			if err != nil {
				cutShort(ctx, err)
				return
			}
			if n++; n > 1 {
				line = append([]byte(",\n"), line...)
			}
			if _, err := w.Write(line); err != nil {
				return
			}
		}
		_, _ = fmt.Fprintf(w, `]},"meta":{"count":%d,"more":%t}}`+"\n", n, n == in.Limit)
	}, nil
}

func (a *api) adminVerifyAudit(ctx context.Context, _ *rest.None) (*rest.OK[verdictData, rest.Meta], error) {
	found, err := a.Trail.VerifyAll(ctx, a.Store)
	if err != nil {
		return nil, err
	}
	data := verdictData{Sound: true}
	for _, v := range found {
		data.Sound = data.Sound && v.OK
		data.Trails = append(data.Trails, verdictRow{v.Tenant, v.Events, v.OK, v.BadSeq, v.Problem})
	}
	return ok(data, "")
}

func (a *api) adminGetOrganization(ctx context.Context, in *ByOrganization) (*rest.OK[organizationRowData, rest.Meta], error) {
	var o *tenancy.Organization
	canonical, isID := id.Parse("org", in.ID)
	var err error
	if isID {
		o, err = a.Tenancy.Organization(ctx, canonical)
	} else {
		o, err = a.Tenancy.OrganizationBySlug(ctx, in.ID)
	}
	if err == nil && !o.RemovedAt.IsZero() {
		err = tenancy.ErrNoOrganization
	}
	if err != nil {
		return nil, err
	}
	return ok(organizationRowData{organizationRowOf(o)}, "")
}
