package checkup

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"headgate/internal/diagnosis/report"
	"headgate/internal/mcp"
)

// What a client without capabilities must not be asked, and how it is told.

// codeOldCapability is what -32021 was in drafts of 2026-07-28.
const codeOldCapability = -32003

const taskExtension = "io.modelcontextprotocol/tasks"

// uncapable judges an answer to a client that declared no capability at all.
func (d *doctor) uncapable(a *answer, about string) {
	if d.line.era != mcp.Modern {
		return
	}
	result, ok := a.result()
	switch a.env.ResultType {
	case "input_required":
		requests, _ := mcp.Get(a.body, result, "inputRequests")
		asks := map[string]bool{}
		for m := range mcp.Members(a.body, requests) {
			method, _ := mcp.Get(a.body, m.Value, "method")
			text, _ := mcp.String(a.body, method)
			asks[report.Clip(text, 64)] = true
		}
		if ok && len(asks) > 0 { // without any it only asks to be asked again
			d.breach("undeclared-input", report.SevError, "A client that declared no capability is asked for input.",
				"It cannot give any, so what it asked for can never be done.", "Refuse with 400 and error -32021; data.requiredCapabilities says what is missing.",
				append([]string{about}, slices.Sorted(maps.Keys(asks))...)...)
		}
	case "task":
		if ok {
			d.breach("undeclared-task", report.SevError, "A client that did not declare tasks is answered with one.",
				"It takes the task for the result.", "Answer with the result, or refuse with 400 and error -32021.", about)
		}
	}
	d.missingCapability(a, about)
}

// missingCapability judges how a missing capability is told, when it is.
func (d *doctor) missingCapability(a *answer, about string) {
	switch a.rpcCode() {
	case codeOldCapability:
		d.breach("capability-code", report.SevWarning, "A missing capability is refused with error -32003, of a draft.", "Clients of 2026-07-28 do not know the code.", "Answer 400 with error -32021.", about)
	case mcp.CodeMissingCapability:
		required, _ := mcp.Get(a.body, a.env.ErrorData, "requiredCapabilities")
		names := 0
		for range mcp.Members(a.body, required) {
			names++
		}
		if names == 0 {
			d.breach("required-capabilities", report.SevWarning, "The refusal for a missing capability does not say which one is missing.", "A client cannot ask again with it.", "Send data.requiredCapabilities with error -32021, in the form of a client's capabilities.", about)
		}
		if a.status != http.StatusBadRequest && a.kind != "sse" { // a stream's status is sent before
			d.breach("capability-status", report.SevInfo, fmt.Sprintf("The refusal for a missing capability has HTTP status %d instead of 400.", a.status), "Proxies see success.", "Send 400 with error -32021.", about)
		}
	}
}

// undeclaredTasks asks for a task without having declared tasks.
func (d *doctor) undeclaredTasks(ctx context.Context) error {
	if _, ok := mcp.Find(d.report.Capabilities, mcp.Root(d.report.Capabilities), "extensions", taskExtension); !ok {
		return nil
	}
	a, err := d.line.call(ctx, mcp.MethodTasksGet, noSuch, mcp.AppendString([]byte(`"taskId":`), noSuch))
	if err != nil {
		return err
	}
	if code := a.rpcCode(); code != mcp.CodeMissingCapability && code != codeOldCapability {
		d.breach("undeclared-tasks", report.SevWarning, "tasks/get is not refused to a client that did not declare tasks.", "Clients without tasks are drawn into them.", "Answer 400 with error -32021 and data.requiredCapabilities.", mcp.MethodTasksGet)
	}
	d.missingCapability(a, mcp.MethodTasksGet)
	return nil
}

// readResource reads the first resource that is listed. Reading changes nothing.
func (d *doctor) readResource(ctx context.Context) error {
	uri := firstURI(d.report)
	if uri == "" {
		return nil
	}
	a, err := d.line.call(ctx, mcp.MethodResourcesRead, uri, mcp.AppendString([]byte(`"uri":`), uri))
	if err != nil {
		return err // it may be long; that is no mistake
	}
	d.line.step(mcp.MethodResourcesRead, a)
	d.tried = append(d.tried, report.Clip(uri, 100))
	d.uncapable(a, mcp.MethodResourcesRead)
	result, ok := a.result()
	switch contents, _ := mcp.Get(a.body, result, "contents"); {
	case a.wantsMore():
	case !ok:
		d.unread("resource", "A resource that is listed cannot be read"+a.said()+".", "Answer resources/read, or leave it out of the list.", uri)
	case contents.Empty() || a.body[contents.Start] != '[':
		d.unread("contents", "A resource's answer holds no contents.", `Send "contents": a list of text or blob, each with its uri.`, uri)
	default:
		d.cacheHints(mcp.MethodResourcesRead, a, new(string))
	}
	return nil
}

// getPrompt gets the first prompt that takes no argument.
func (d *doctor) getPrompt(ctx context.Context) error {
	name, ok := freePrompt(d.report)
	if !ok {
		return nil
	}
	a, err := d.line.call(ctx, mcp.MethodPromptsGet, name, mcp.AppendString([]byte(`"name":`), name))
	if err != nil {
		return err
	}
	d.line.step(mcp.MethodPromptsGet, a)
	d.tried = append(d.tried, "the prompt "+report.Clip(name, 64))
	d.uncapable(a, mcp.MethodPromptsGet)
	result, ok := a.result()
	switch messages, _ := mcp.Get(a.body, result, "messages"); {
	case a.wantsMore():
	case !ok:
		d.unread("prompt", "A prompt that is listed cannot be got"+a.said()+".", "Answer prompts/get, or leave it out of the list.", name)
	case messages.Empty() || a.body[messages.Start] != '[':
		d.unread("messages", "A prompt's answer holds no messages.", `Send "messages": a list, each with role and content.`, name)
	}
	return nil
}

func (d *doctor) unread(id, what, fix, about string) {
	d.report.Find(report.Finding{ID: "reading." + id, Check: "reading", Severity: report.SevWarning, What: what, Why: "People see it offered and get an error.", Fix: fix}, about)
}

// freePrompt is the first prompt that takes no argument it requires.
func freePrompt(r *report.Report) (string, bool) {
	for _, raw := range r.Prompts {
		var p struct {
			Name      string `json:"name"`
			Arguments []struct {
				Required bool `json:"required"`
			} `json:"arguments"`
		}
		if json.Unmarshal(raw, &p) != nil || p.Name == "" {
			continue
		}
		needs := false
		for _, a := range p.Arguments {
			needs = needs || a.Required
		}
		if !needs {
			return p.Name, true
		}
	}
	return "", false
}

// wantsMore reports whether a server asks for a capability or for input before
// it answers, which is no mistake of its own.
func (a *answer) wantsMore() bool {
	return a.rpcCode() == mcp.CodeMissingCapability || a.rpcCode() == codeOldCapability || a.env.ResultType == "input_required"
}
