package platform

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"time"

	"headgate/internal/access"
	"headgate/internal/call"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/mcp"
	"headgate/internal/rest"
	"headgate/internal/server/request"
	"headgate/internal/upstream"
)

// executeTime bounds a request; a tool's own timeout is usually far shorter.
// It is below replay.ClaimFor, so that a repeat never runs beside its first.
const executeTime = 9 * time.Minute

type executeTool struct {
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      executeToolBody
}

type executeToolBody struct {
	ServiceID   string      `json:"serviceId" minLength:"1" maxLength:"64"`
	ToolName    string      `json:"toolName" minLength:"1" maxLength:"256"`
	Parameters  rest.Object `json:"parameters,omitempty" doc:"The tool's arguments."`
	WorkspaceID string      `json:"workspaceId,omitempty" maxLength:"64" doc:"Id or slug; left out, the credential's own."`
}

type executed struct {
	Result        rest.Object `json:"result" doc:"The tool's structuredContent, else {content: […]}."`
	ExecutionTime float64     `json:"executionTime" doc:"Seconds."`
}

type executedMeta struct {
	RequestID string `json:"requestId"`
}

type executeResource struct {
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      executeResourceBody
}

type executeResourceBody struct {
	ServiceID    string      `json:"serviceId" minLength:"1" maxLength:"64"`
	ResourceName string      `json:"resourceName" minLength:"1" maxLength:"256" doc:"A resource's name, else a template's."`
	Parameters   rest.Object `json:"parameters,omitempty" doc:"Fill in the template's URI."`
	WorkspaceID  string      `json:"workspaceId,omitempty" maxLength:"64"`
}

type resourceResult struct {
	Content  string `json:"content" doc:"The first item's text; a blob in base64."`
	MimeType string `json:"mimeType"`
	Size     int    `json:"size" doc:"Bytes of the content itself."`
}

type fetched struct {
	Result        resourceResult `json:"result"`
	ExecutionTime float64        `json:"executionTime" doc:"Seconds."`
}

type executePrompt struct {
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      executePromptBody
}

type executePromptBody struct {
	ServiceID   string      `json:"serviceId" minLength:"1" maxLength:"64"`
	PromptName  string      `json:"promptName" minLength:"1" maxLength:"256"`
	Parameters  rest.Object `json:"parameters,omitempty" doc:"The prompt's arguments, texts all."`
	WorkspaceID string      `json:"workspaceId,omitempty" maxLength:"64"`
}

func (a *api) execute() {
	op := func(path, id, summary string, perm access.Permission) rest.Op {
		return rest.Op{Method: "POST", Path: path, ID: id, Summary: summary, Tags: []string{"execute"}, Permission: perm, Idempotent: true, Timeout: executeTime, MaxBody: 4 << 20,
			Errors: []fault.Kind{fault.NotFound, fault.Gone, fault.Unconfigured, fault.Unpaid, fault.Unsupported, fault.Upstream, fault.UpstreamAuth}}
	}
	rest.Handle(a.door, op("/mcp/execute/tool", "executeTool", "Call a tool", access.Call), a.executeTool)
	rest.Handle(a.door, op("/mcp/execute/resource", "executeResource", "Read a resource", access.Read), a.executeResource)
	rest.Handle(a.door, op("/mcp/execute/prompt", "executePrompt", "Get a prompt", access.Read), a.executePrompt)
}

// target finds the server that uses of a service go to.
func (a *api) target(ctx context.Context, workspace, service string) (*catalog.Server, error) {
	w, err := a.workspaceOf(ctx, workspace)
	if err != nil {
		return nil, err
	}
	if err := w.Usable(); err != nil {
		return nil, err
	}
	return a.Resolver.Service(ctx, rest.Principal(ctx), w.ID, service)
}

// do makes one call. took is how long it was under way.
func (a *api) do(ctx context.Context, s *catalog.Server, userAgent string, u use) (answer *upstream.Answer, took float64, err error) {
	by := rest.Principal(ctx)
	r := call.Request{Door: "platform", CallID: callID(ctx), UserAgent: userAgent, Via: a.Via, Counted: true, Secrets: u.secrets}
	revision := mcp.LatestLegacy
	if u.failed == nil {
		var facts *upstream.Facts
		if facts, u.failed = a.Hub.Eras(ctx, s, by, mcp.Modern); u.failed == nil {
			revision = facts.Revision
		}
	}
	if u.failed != nil {
		r.Via = failing{u.failed}
	}
	if ip := request.ClientAddr(ctx); ip.IsValid() {
		r.IP = ip.String()
	}
	r.Request = upstream.Request{Server: s, By: by, Revision: revision, Method: u.method, Name: u.name, ID: []byte("1"), Body: u.message(revision, a.Version)}
	start := a.Now()
	answer, err = a.Calls.Do(ctx, &r, quiet{})
	took = math.Round(a.Now().Sub(start).Seconds()*1000) / 1000
	if err != nil {
		if errors.Is(err, upstream.ErrRejected) {
			rest.Final(ctx) // it was charged
		}
		return nil, took, err
	}
	if err := refusal(answer); err != nil {
		if !errors.Is(err, errAsks) {
			rest.Final(ctx) // the server has answered, which is charged
		}
		answer.Release()
		return nil, took, err
	}
	return answer, took, nil
}

// failing stands for a server that could not even be asked what it is, so that
// the call that nobody could make is in the log like every other.
type failing struct{ err error }

// Exchange implements upstream.Exchanger.
func (f failing) Exchange(context.Context, *upstream.Request, upstream.Sink) (*upstream.Answer, error) {
	return nil, f.err
}

// callID is the request's own id, so that a call's log line is found by what
// the client was told.
func callID(ctx context.Context) id.Raw {
	if raw, ok := id.ParseRaw("req", rest.RequestID(ctx)); ok {
		return raw
	}
	return id.NewRaw()
}

// quiet takes what comes before an answer: this door shows no progress and has
// nobody to answer a server's questions.
type quiet struct{}

// Event implements upstream.Sink.
func (quiet) Event(_ []byte, e *mcp.Envelope) error {
	if e.Kind == mcp.Request {
		return errAsks
	}
	return nil
}

// refusal turns an answer that is no result into a fault.
func refusal(a *upstream.Answer) error {
	e := &a.Envelope
	switch {
	case e.Kind == mcp.ErrorResponse && e.ErrorCode == mcp.CodeElicitationRequired, e.ResultType == mcp.ResultInputRequired:
		return errAsks
	case e.Kind == mcp.ErrorResponse:
		message, _ := mcp.String(a.Body, e.ErrorMessage)
		details := map[string]any{"code": e.ErrorCode, "message": message}
		if !e.ErrorData.Empty() {
			details["data"] = json.RawMessage(bytes.Clone(e.ErrorData.Of(a.Body)))
		}
		return errRPC.With("error", details)
	case e.IsError:
		return errTool.With("result", toolResult(a.Body, e))
	}
	return nil
}

// toolResult is structuredContent, else {content: […]}.
func toolResult(body []byte, e *mcp.Envelope) rest.Object {
	if !e.StructuredContent.Empty() && body[e.StructuredContent.Start] == '{' {
		return rest.Object(bytes.Clone(e.StructuredContent.Of(body)))
	}
	content := []byte("[]")
	if !e.Content.Empty() {
		content = e.Content.Of(body)
	}
	return rest.Object(append(append([]byte(`{"content":`), content...), '}'))
}

func (a *api) executeTool(ctx context.Context, in *executeTool) (*rest.OK[executed, executedMeta], error) {
	b := in.Body
	s, err := a.target(ctx, b.WorkspaceID, b.ServiceID)
	if err != nil {
		return nil, err
	}
	u := use{method: mcp.MethodToolsCall, name: b.ToolName, params: []member{text("name", b.ToolName), raw("arguments", b.Parameters)}}
	if list, err := a.Hub.List(ctx, s, rest.Principal(ctx), upstream.Tools); err == nil { // else the call itself says what is wrong
		tool, found := list.Find(b.ToolName)
		if !found {
			return nil, errNoTool
		}
		u.secrets = secretArguments(tool.Raw)
	}
	answer, took, err := a.do(ctx, s, in.UserAgent, u)
	if err != nil {
		return nil, err
	}
	defer answer.Release()
	return rest.Ok(executed{toolResult(answer.Body, &answer.Envelope), took}, executedMeta{rest.RequestID(ctx)}), nil
}

func (a *api) executePrompt(ctx context.Context, in *executePrompt) (*rest.OK[executed, executedMeta], error) {
	b := in.Body
	s, err := a.target(ctx, b.WorkspaceID, b.ServiceID)
	if err != nil {
		return nil, err
	}
	var arguments map[string]string
	if len(b.Parameters) > 0 && json.Unmarshal(b.Parameters, &arguments) != nil {
		return nil, rest.Invalid(rest.Problem{Field: "body.parameters", Message: "must hold texts only"})
	}
	if list, err := a.Hub.List(ctx, s, rest.Principal(ctx), upstream.Prompts); err == nil {
		if _, found := list.Find(b.PromptName); !found {
			return nil, errNoPrompt
		}
	}
	answer, took, err := a.do(ctx, s, in.UserAgent, use{method: mcp.MethodPromptsGet, name: b.PromptName, params: []member{text("name", b.PromptName), raw("arguments", b.Parameters)}})
	if err != nil {
		return nil, err
	}
	defer answer.Release()
	return rest.Ok(executed{promptResult(answer), took}, executedMeta{rest.RequestID(ctx)}), nil
}

// promptResult keeps what a prompt is made of.
func promptResult(a *upstream.Answer) rest.Object {
	out := []byte{'{'}
	for _, key := range []string{"description", "messages"} {
		if v, ok := mcp.Get(a.Body, a.Envelope.Result, key); ok {
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(append(mcp.AppendString(out, key), ':'), v.Of(a.Body)...)
		}
	}
	return rest.Object(append(out, '}'))
}

func (a *api) executeResource(ctx context.Context, in *executeResource) (*rest.OK[fetched, executedMeta], error) {
	b := in.Body
	s, err := a.target(ctx, b.WorkspaceID, b.ServiceID)
	if err != nil {
		return nil, err
	}
	uri, err := a.resourceURI(ctx, s, b.ResourceName, b.Parameters)
	u := use{method: mcp.MethodResourcesRead, name: uri, params: []member{text("uri", uri)}}
	switch f := fault.Of(err); {
	case err == nil:
	case f.Kind == fault.NotFound || f.Kind == fault.Invalid:
		return nil, err
	default: // the server's lists could not be had
		u.name, u.failed = b.ResourceName, err
	}
	answer, took, err := a.do(ctx, s, in.UserAgent, u)
	if err != nil {
		return nil, err
	}
	defer answer.Release()
	result, err := firstContent(answer)
	if err != nil {
		return nil, err
	}
	return rest.Ok(fetched{result, took}, executedMeta{rest.RequestID(ctx)}), nil
}

// resourceURI returns the URI of the resource of a name, else that of the
// template of that name, filled in.
func (a *api) resourceURI(ctx context.Context, s *catalog.Server, name string, parameters rest.Object) (string, error) {
	by := rest.Principal(ctx)
	resources, err := a.Hub.List(ctx, s, by, upstream.Resources)
	if err != nil {
		return "", err
	}
	for _, it := range resources.Items {
		if it.Name == name {
			return it.URI, nil
		}
	}
	templates, err := a.Hub.List(ctx, s, by, upstream.Templates)
	if err != nil {
		return "", err
	}
	for _, it := range templates.Items {
		if it.Name == name {
			return expand(it.URI, parameters)
		}
	}
	return "", errNoResource
}

// firstContent reads the first item of a resource.
func firstContent(a *upstream.Answer) (resourceResult, error) {
	var contents []struct {
		MimeType string  `json:"mimeType"`
		Text     *string `json:"text"`
		Blob     *string `json:"blob"`
	}
	v, found := mcp.Get(a.Body, a.Envelope.Result, "contents")
	if !found || json.Unmarshal(v.Of(a.Body), &contents) != nil || len(contents) == 0 {
		return resourceResult{}, errAnswer
	}
	first := contents[0]
	switch {
	case first.Text != nil:
		return resourceResult{*first.Text, first.MimeType, len(*first.Text)}, nil
	case first.Blob != nil:
		blob, err := base64.StdEncoding.DecodeString(*first.Blob)
		if err != nil {
			return resourceResult{}, errAnswer
		}
		return resourceResult{*first.Blob, first.MimeType, len(blob)}, nil
	}
	return resourceResult{}, errAnswer
}
