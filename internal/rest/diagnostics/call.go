package diagnostics

import (
	"bytes"
	"context"
	"time"

	"headgate/internal/access"
	"headgate/internal/call"
	"headgate/internal/catalog"
	"headgate/internal/diagnosis"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/mcp"
	"headgate/internal/rest"
	"headgate/internal/server/request"
	"headgate/internal/upstream"
)

// callTime is how long a server may take for a call through this door.
const callTime = 30 * time.Second

// callFaults are what a call may come to.
var callFaults = append([]fault.Kind{fault.Unsupported, fault.Unpaid, fault.Conflict}, upstreamFaults...)

type callTool struct {
	InServer
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      callToolBody
}

type callToolBody struct {
	ToolName   string      `json:"toolName" minLength:"1" maxLength:"256"`
	Parameters rest.Object `json:"parameters,omitempty" doc:"The tool's arguments."`
}

type getPrompt struct {
	InServer
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      getPromptBody
}

type getPromptBody struct {
	PromptName string      `json:"promptName" minLength:"1" maxLength:"256"`
	Arguments  rest.Object `json:"arguments,omitempty" doc:"Texts, numbers or booleans."`
}

func (a *api) calls() {
	op := func(path, id, summary, detail string, perm access.Permission) rest.Op {
		return rest.Op{Method: "POST", Path: oneServer + path, ID: id, Summary: summary, Detail: detail, Tags: []string{"calls"}, Permission: perm,
			Timeout: doctorTime, MaxBody: 4 << 20, Errors: callFaults}
	}
	rest.Handle(a.door, op("/tools/call", "callServerTool", "Call a tool", "The MCP result as the server wrote it; also when the tool reports an error (isError).", access.Call), a.callTool)
	rest.Handle(a.door, op("/prompts/get", "getServerPrompt", "Get a prompt", "The MCP result as the server wrote it.", access.Read), a.getPrompt)
}

func (a *api) callTool(ctx context.Context, in *callTool) (*rest.Object, error) {
	params := mcp.AppendString([]byte(`"name":`), in.Body.ToolName)
	params = append(append(params, `,"arguments":`...), objectOf(in.Body.Parameters)...)
	tool, err := a.find(ctx, in.InServer, upstream.Tools, in.Body.ToolName, diagnosis.ErrNoTool)
	if err != nil {
		return nil, err
	}
	result, err := a.do(ctx, in.InServer, use{mcp.MethodToolsCall, in.Body.ToolName, params, in.UserAgent, secretArguments(tool)})
	return (*rest.Object)(&result), err
}

// find returns an entry of a list, or missing when the list has none of the
// name. A list that cannot be had is no reason: the call itself says what is
// wrong.
func (a *api) find(ctx context.Context, in InServer, kind upstream.ListKind, name string, missing error) ([]byte, error) {
	s, err := a.callable(ctx, in)
	if err != nil {
		return nil, err
	}
	list, err := a.Hub.List(ctx, s, rest.Principal(ctx), kind)
	if err != nil {
		return []byte("{}"), nil
	}
	item, ok := list.Find(name)
	if !ok {
		return nil, missing
	}
	return item.Raw, nil
}

func (a *api) getPrompt(ctx context.Context, in *getPrompt) (*rest.Object, error) {
	arguments, err := texts(in.Body.Arguments)
	if err != nil {
		return nil, err
	}
	params := mcp.AppendString([]byte(`"name":`), in.Body.PromptName)
	params = append(append(params, `,"arguments":`...), arguments...)
	if _, err := a.find(ctx, in.InServer, upstream.Prompts, in.Body.PromptName, diagnosis.ErrNoPrompt); err != nil {
		return nil, err
	}
	result, err := a.do(ctx, in.InServer, use{mcp.MethodPromptsGet, in.Body.PromptName, params, in.UserAgent, nil})
	return (*rest.Object)(&result), err
}

// texts turns a prompt's arguments into the texts that MCP has.
func texts(o rest.Object) ([]byte, error) {
	if len(o) == 0 {
		return []byte("{}"), nil
	}
	out := []byte{'{'}
	for m := range mcp.Members(o, mcp.Root(o)) {
		v := m.Value.Of(o)
		switch v[0] {
		case '{', '[', 'n':
			return nil, rest.Invalid(rest.Problem{Field: "body.arguments", Message: "must hold texts, numbers and booleans only"})
		case '"':
		default:
			v = append(append([]byte{'"'}, v...), '"')
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, m.Key.Of(o)...), ':'), v...)
	}
	return append(out, '}'), nil
}

func objectOf(o rest.Object) []byte {
	if len(o) == 0 {
		return []byte("{}")
	}
	return o
}

// use is one use of a tool, prompt or resource: params without braces.
type use struct {
	method, name string
	params       []byte
	userAgent    string
	secrets      []string
}

// callable finds a server that may take calls.
func (a *api) callable(ctx context.Context, in InServer) (*catalog.Server, error) {
	w, s, err := a.server(ctx, in)
	if err != nil {
		return nil, err
	}
	return s, w.Usable()
}

// do makes one call and returns the result, a copy.
func (a *api) do(ctx context.Context, in InServer, u use) ([]byte, error) {
	s, err := a.callable(ctx, in)
	if err != nil {
		return nil, err
	}
	by := rest.Principal(ctx)
	facts, err := a.Hub.Eras(ctx, s, by, mcp.Modern)
	if err != nil {
		return nil, a.Diagnosis.Failure(ctx, by, s, err)
	}
	r := call.Request{Door: "diagnostics", CallID: callID(ctx), UserAgent: u.userAgent, Via: a.Via, Counted: true, Secrets: u.secrets}
	if ip := request.ClientAddr(ctx); ip.IsValid() {
		r.IP = ip.String()
	}
	r.Request = upstream.Request{Server: s, By: by, Revision: facts.Revision, Method: u.method, Name: u.name, ID: []byte("1"),
		Body: message(u, facts.Revision, a.Version), Timeout: min(callTime, s.TimeoutOf(u.name))}
	answer, err := a.Calls.Do(ctx, &r, quiet{})
	if err != nil {
		return nil, a.Diagnosis.Failure(ctx, by, s, err)
	}
	defer answer.Release()
	if err := refusal(answer, u.method); err != nil {
		return nil, err
	}
	return bytes.Clone(answer.Envelope.Result.Of(answer.Body)), nil
}

// callID is the request's own id, so that a call's log line is found by what
// the client was told.
func callID(ctx context.Context) id.Raw {
	if raw, ok := id.ParseRaw("req", rest.RequestID(ctx)); ok {
		return raw
	}
	return id.NewRaw()
}

// message writes the request in the era of a revision.
func message(u use, rev mcp.Revision, version string) []byte {
	params := append([]byte{'{'}, u.params...)
	if rev.Era() == mcp.Modern {
		params = append(params, `,"_meta":{"`+mcp.MetaProtocolVersion+`":"`+string(rev)+`","`+mcp.MetaClientCapabilities+`":{},"`+mcp.MetaClientInfo+`":{"name":"headgate","version":`...)
		params = append(mcp.AppendString(params, version), "}}"...)
	}
	return mcp.AppendRequest(nil, []byte("1"), u.method, append(params, '}'))
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

// refusal turns an answer that is no result into a fault. A tool that reports
// an error has given a result.
func refusal(a *upstream.Answer, method string) error {
	e := &a.Envelope
	if e.Kind != mcp.ErrorResponse {
		if e.ResultType != "" && e.ResultType != mcp.ResultComplete {
			return errAsks
		}
		return nil
	}
	message, _ := mcp.String(a.Body, e.ErrorMessage)
	with := func(f *fault.Error) error { return f.With("rpcCode", e.ErrorCode).With("rpcMessage", message) }
	switch {
	case e.ErrorCode == mcp.CodeElicitationRequired:
		return errAsks
	case e.ErrorCode == mcp.CodeMethodNotFound:
		return with(diagnosis.ErrFeature)
	case e.ErrorCode == mcp.CodeResourceNotFound, e.ErrorCode == mcp.CodeInvalidParams && method == mcp.MethodResourcesRead:
		return diagnosis.ErrNoResource // without the server's words, which repeat the URI
	case e.ErrorCode == mcp.CodeInvalidParams:
		return with(diagnosis.ErrArguments)
	}
	return with(diagnosis.ErrRPC)
}

// secretArguments names the top-level arguments that a tool's schema marks as
// secret, so that the log keeps no value of theirs.
func secretArguments(tool []byte) (names []string) {
	properties, ok := mcp.Find(tool, mcp.Root(tool), "inputSchema", "properties")
	if !ok {
		return nil
	}
	for m := range mcp.Members(tool, properties) {
		name, err := mcp.String(tool, m.Key)
		writeOnly, _ := mcp.Get(tool, m.Value, "writeOnly")
		marked, _ := mcp.Get(tool, m.Value, "x-secret")
		format, _ := mcp.Get(tool, m.Value, "format")
		if err == nil && (string(writeOnly.Of(tool)) == "true" || string(marked.Of(tool)) == "true" || mcp.Equal(tool, format, "password")) {
			names = append(names, name)
		}
	}
	return names
}
