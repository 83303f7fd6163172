package diagnostics

import (
	"context"
	"time"

	"headgate/internal/access"
	"headgate/internal/diagnosis"
	"headgate/internal/diagnosis/report"
	"headgate/internal/fault"
	"headgate/internal/rest"
)

// doctorTime is more than a diagnosis may take.
const doctorTime = time.Minute

// The kinds of faults that speaking to a server may raise.
var upstreamFaults = []fault.Kind{fault.Upstream, fault.Timeout, fault.UpstreamAuth, fault.Unconfigured}

type validated struct {
	Success  bool             `json:"success" enum:"true"`
	Status   string           `json:"status" enum:"connected"`
	InitInfo *report.InitInfo `json:"initInfo"`
}

type oauthCheck struct {
	UseOAuth              bool    `json:"useOAuth"`
	ServerURL             *string `json:"serverUrl" nullable:"true"`
	RequiresAuthorization bool    `json:"requiresAuthorization" doc:"A sign-in is still missing."`
	EffectiveAuthMethod   string  `json:"effectiveAuthMethod" enum:"oauth,headers,none"`
	Reachable             bool    `json:"reachable" doc:"False when nothing answered at the URL: whether it wants a sign-in is not known then."`
}

func oauthOf(o *diagnosis.OAuth) *oauthCheck {
	c := &oauthCheck{UseOAuth: o.UseOAuth, RequiresAuthorization: o.Requires, EffectiveAuthMethod: o.Method, Reachable: !o.Silent}
	if o.URL != "" {
		c.ServerURL = &o.URL
	}
	return c
}

const oneServer = "/projects/{projectId}/servers/{serverId}"

func (a *api) checks() {
	op := func(path, id, summary, detail string, errors []fault.Kind) rest.Op {
		return rest.Op{Method: "POST", Path: oneServer + path, ID: id, Summary: summary, Detail: detail, Tags: []string{"diagnostics"},
			Permission: access.Diagnose, Timeout: doctorTime, Errors: errors}
	}
	rest.Handle(a.door, op("/validate", "validateServer", "Connect to a server", "Ten seconds at most. A failure is an error.", upstreamFaults), a.validate)
	rest.Handle(a.door, op("/doctor", "examineServer", "Examine a server", "Answers 200 whatever is wrong: the failure is in the report.", nil), a.doctor)
	rest.Handle(a.door, op("/check-oauth", "checkServerOAuth", "Does a server want a sign-in?", "No MCP connection is made.", nil), a.checkOAuth)
	rest.Handle(a.door, op("/export", "exportServer", "Everything a server offers, as one document", "", upstreamFaults), a.export)
}

func (a *api) validate(ctx context.Context, in *InServer) (*validated, error) {
	_, s, err := a.server(ctx, *in)
	if err != nil {
		return nil, err
	}
	info, err := a.Diagnosis.Validate(ctx, rest.Principal(ctx), s)
	return &validated{true, "connected", info}, err
}

func (a *api) doctor(ctx context.Context, in *InServer) (*report.Report, error) {
	_, s, err := a.server(ctx, *in)
	if err != nil {
		return nil, err
	}
	return a.Diagnosis.Doctor(ctx, rest.Principal(ctx), s, false)
}

func (a *api) checkOAuth(ctx context.Context, in *InServer) (*oauthCheck, error) {
	_, s, err := a.server(ctx, *in)
	if err != nil {
		return nil, err
	}
	o, err := a.Diagnosis.CheckOAuth(ctx, rest.Principal(ctx), s)
	if err != nil {
		return nil, err
	}
	return oauthOf(o), nil
}

func (a *api) export(ctx context.Context, in *InServer) (*diagnosis.Snapshot, error) {
	_, s, err := a.server(ctx, *in)
	if err != nil {
		return nil, err
	}
	return a.Diagnosis.Export(ctx, rest.Principal(ctx), s)
}
