package checkup

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"headgate/internal/diagnosis/report"
	"headgate/internal/mcp"
	"headgate/internal/upstream/discovery"
)

// Call is a tool to call in the run, which whoever asks for it names.
type Call struct {
	Tool      string
	Arguments json.RawMessage // an object; nil is an empty one
}

const (
	progressToken = "headgate-doctor"
	callPatience  = 3 // times that with other exchanges
)

// callTool calls the tool that was named, as a client that can do nothing else,
// and judges the answer. Its content is in no report.
func (d *doctor) callTool(ctx context.Context) {
	r := d.report
	if d.Call == nil {
		return
	}
	t, ok := d.toolNamed(d.Call.Tool)
	if !ok {
		d.fault("no-such-tool", "The server has no tool of the name that was to be called.", "Nothing of its calls could be looked at.", "Name one of its tools (headgate export lists them).", d.Call.Tool)
		r.Note("call", report.Error, "There is no such tool.")
		return
	}
	a, err := d.runTool(ctx, t)
	if err != nil {
		p := problemOf(err)
		d.fault("failed", "The call got no answer. "+p.Message, "Whoever calls the tool waits in vain.", "Answer within the time of a call, or report progress.", t.Name)
		r.Note("call", report.Error, p.Message)
		return
	}
	d.line.step(mcp.MethodToolsCall, a)
	d.uncapable(a, mcp.MethodToolsCall)
	d.progress()
	result, ok := a.result()
	switch {
	case a.env.ResultType == "input_required" || a.env.ResultType == "task":
		r.Note("call", r.Worst("call"), "The call was answered with "+a.env.ResultType+".")
	case a.rpcCode() != 0:
		r.Note("call", r.Worst("call"), fmt.Sprintf("The call was refused with error %d%s.", a.rpcCode(), a.said()))
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		d.refusedCall(a, t)
	case !ok:
		d.fault("no-reply", "The call is answered with something that is no MCP. "+a.wrong, "Clients report an error.", "Answer calls as every other request.", t.Name)
		r.Note("call", report.Error, fmt.Sprintf("HTTP %d.", a.status))
	default:
		d.result(a, result, t)
	}
}

// refusedCall judges a call that the credentials of the lists were not enough for.
func (d *doctor) refusedCall(a *answer, t *tool) {
	if a.status == http.StatusUnauthorized {
		d.fault("unauthorized", "The call is refused with HTTP 401, by a server that answered everything before it.", "The sign-in succeeds and nothing can be used.", "Judge the token alike for every request: its audience, issuer and expiry. A scope that is missing is 403.", t.Name)
		d.report.Note("call", report.Error, "HTTP 401.")
		return
	}
	c := discovery.ParseChallenge(a.challenge())
	var lacks []string
	for _, m := range []struct {
		name string
		ok   bool
	}{{"WWW-Authenticate: Bearer", c.Bearer}, {`error="insufficient_scope"`, c.Error == "insufficient_scope"}, {"scope", c.Scope != ""}, {"resource_metadata", c.ResourceMetadata != ""}} {
		if !m.ok {
			lacks = append(lacks, m.name)
		}
	}
	if lacks != nil {
		d.fault("scope-challenge", "A call is refused with HTTP 403 without all that a client needs to ask for more.", "People cannot be asked for the missing scope, and the tool stays out of reach.",
			`Send WWW-Authenticate: Bearer error="insufficient_scope", scope="…", resource_metadata="…", with all scopes of the operation.`, lacks...)
	}
	d.report.Note("call", d.report.Worst("call"), strings.TrimSpace("The call was refused with HTTP 403. "+report.Clip(c.Scope, 200)))
}

// result judges what a tool returned.
func (d *doctor) result(a *answer, result mcp.Span, t *tool) {
	r := d.report
	content, _ := mcp.Get(a.body, result, "content")
	if content.Empty() || a.body[content.Start] != '[' {
		d.fault("no-content", "A tool's result has no content.", "It is required; strict clients refuse the result.", `Send "content": a list, empty where there is nothing to show.`, t.Name)
	}
	failed, _ := mcp.Get(a.body, result, "isError")
	structured, has := mcp.Get(a.body, result, "structuredContent")
	if string(failed.Of(a.body)) == "true" {
		r.Note("call", r.Worst("call"), "The tool ran and said that it failed (isError).")
		return
	}
	if len(t.Output) > 0 {
		switch {
		case !has:
			d.fault("no-structure", "A tool declares the form of its result (outputSchema) and returns none (structuredContent).", "Clients that go by the declaration refuse the result.", "Return structuredContent, or leave outputSchema out.", t.Name)
		case !conforms(t.Output, structured.Of(a.body)):
			d.fault("output-schema", "A tool's structuredContent is not of the form that its outputSchema declares.", "Clients that check it refuse the result; others go on with the wrong thing.", "Correct the result or the schema.", t.Name)
		}
	}
	r.Note("call", r.Worst("call"), fmt.Sprintf("%s answered in %d ms.", t.Name, ms(a.took)))
}

// conforms reports whether a value is of a schema. A schema that is none is told
// by the schemas check.
func conforms(schema, value []byte) bool {
	doc, err1 := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	v, err2 := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err1 != nil || err2 != nil || len(schema) > largestSchema || depthOf(schema) > deepestSchema {
		return true
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	if c.AddResource("schema.json", doc) != nil {
		return true
	}
	compiled, err := c.Compile("schema.json")
	return err != nil || compiled.Validate(v) == nil
}

// progress judges what came before the answer.
func (d *doctor) progress() {
	o := d.line.odd
	switch {
	case o == nil:
	case o.strangeProgress:
		d.fault("progress-token", "Progress is told with another token than the request's.", "Clients cannot tell what it is of.", "Send back _meta.progressToken as it came.")
	case o.backwards:
		d.fault("progress-backwards", "Progress goes back, or stands still.", "It must rise with each message; clients show nonsense or drop it.", "Let progress rise with every notification.")
	}
}

// fault is a finding about the call.
func (d *doctor) fault(id, what, why, fix string, subjects ...string) {
	severity := report.SevError
	if strings.HasPrefix(id, "progress") {
		severity = report.SevWarning
	}
	d.report.Find(report.Finding{ID: "call." + id, Check: "call", Severity: severity, What: what, Why: why, Fix: fix}, subjects...)
}

func (d *doctor) toolNamed(name string) (*tool, bool) {
	for _, raw := range d.report.Tools {
		var t tool
		if json.Unmarshal(raw, &t) == nil && t.Name == name {
			return &t, true
		}
	}
	return nil, false
}

// runTool sends the call, with the headers its schema asks for and a token for
// progress. It has three times the patience of other exchanges.
func (d *doctor) runTool(ctx context.Context, t *tool) (*answer, error) {
	l := d.line
	l.patience *= callPatience
	defer func() { l.patience /= callPatience }()
	arguments := []byte(d.Call.Arguments)
	if len(arguments) == 0 {
		arguments = []byte("{}")
	}
	id := l.next()
	meta := []byte(`"_meta":{"progressToken":"` + progressToken + `"`)
	members := append(append(mcp.AppendString([]byte(`"name":`), t.Name), `,"arguments":`...), arguments...)
	var body []byte
	var h http.Header
	if l.era == mcp.Modern {
		body = l.message(id, mcp.MethodToolsCall, members)
		at := bytes.LastIndex(body, []byte(`"_meta":{`))
		body = append(body[:at:at], append(append(meta, ','), body[at+len(`"_meta":{`):]...)...)
		h = l.headers(mcp.MethodToolsCall, t.Name)
		params, err := mcp.ParamHeaders(t.Input)
		for _, p := range params {
			value, _ := mcp.Find(arguments, mcp.Root(arguments), p.Path...)
			if text, ok := mcp.AppendParam(nil, arguments, value); ok && err == nil {
				h.Set(mcp.HeaderParamPrefix+p.Header, string(text))
			}
		}
	} else {
		body = l.message(id, mcp.MethodToolsCall, append(append(append(members, ','), meta...), '}'))
		h = l.headers(mcp.MethodToolsCall, "")
	}
	return l.send(ctx, body, id, h)
}
