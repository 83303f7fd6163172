package gateway

import (
	"encoding/base64"
	"encoding/json"
	"slices"

	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

const (
	taskPlace = "gateway:task"
	maxTask   = 1024 // of a server's own task id
)

// errTask means that a task id is not ours, not this caller's, or of a server
// that is not here.
var errTask = fault.New(fault.Invalid, "gateway.task", "There is no such task here. It may have expired, or belong to another credential.")

// taskHandle is what a client knows a task by (the tasks extension), sealed: the
// server it is at, who may ask for it, and the server's own id. Two servers'
// ids never mix, and a guessed one opens nothing.
type taskHandle struct {
	Server string `json:"s"`
	Owner  string `json:"o"`
	ID     string `json:"t"`
}

// handled returns an answer with the task in its result under a handle.
func (x *exchange) handled(a *upstream.Answer, server *catalog.Server) []byte {
	v, ok := mcp.Get(a.Body, a.Envelope.Result, "taskId")
	id, err := mcp.String(a.Body, v)
	if !ok || err != nil || len(id) > maxTask {
		return a.Body
	}
	text, err := json.Marshal(taskHandle{server.Key(), x.ep.by.ID, id})
	if err != nil {
		return a.Body
	}
	handle := base64.RawURLEncoding.EncodeToString(x.g.Keys.Seal(taskPlace, text))
	x.out = mcp.Splice(x.out[:0], a.Body, mcp.Edit{Span: v, With: mcp.AppendString(nil, handle)})
	return x.out
}

// task relays a request about a task to the server it is at.
func (g *Gateway) task(x *exchange) {
	server, id, err := x.taskTarget()
	if err != nil {
		x.fail(err)
		return
	}
	r := x.outbound(server, id)
	ctx, cancel := x.context()
	defer cancel()
	a, err := g.Upstream.Exchange(ctx, &r, x)
	if err != nil {
		x.fail(err)
		return
	}
	defer a.Release()
	var edits []mcp.Edit
	if v, ok := mcp.Get(a.Body, a.Envelope.Result, "taskId"); ok { // the client's own word for it
		edits = append(edits, mcp.Edit{Span: v, With: x.e.TaskID.Of(x.body)})
	}
	if x.ep.server == nil {
		edits = signedRequests(edits, a.Body, a.Envelope.Result, server)
	}
	x.out = mcp.Splice(x.out[:0], a.Body, ordered(edits)...)
	x.to.answer(x.status(a), x.out)
}

// taskTarget opens the handle of the task that a message is about.
func (x *exchange) taskTarget() (*catalog.Server, string, error) {
	text, err := mcp.String(x.body, x.e.TaskID)
	if err != nil {
		return nil, "", errTask
	}
	return x.openTask(text)
}

// openTask finds the server a handle is of, and that server's own id.
func (x *exchange) openTask(text string) (*catalog.Server, string, error) {
	if len(text) > 4*maxTask {
		return nil, "", errTask
	}
	blob, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, "", errTask
	}
	plain, err := x.g.Keys.Open(taskPlace, blob)
	if err != nil {
		return nil, "", errTask
	}
	var h taskHandle
	if json.Unmarshal(plain, &h) != nil || h.Owner != x.ep.by.ID {
		return nil, "", errTask
	}
	servers := x.ep.servers()
	i := slices.IndexFunc(servers, func(s *catalog.Server) bool { return s.Key() == h.Server && s.Enabled })
	if i < 0 {
		return nil, "", errTask
	}
	return servers[i], h.ID, nil
}

// errNoTasks means that a client asks for news of tasks without saying that it
// knows them.
var errNoTasks = fault.New(fault.Invalid, "gateway.no_tasks", "Declare the extension io.modelcontextprotocol/tasks to hear of tasks.").
	With(requiredCapabilities, json.RawMessage(`{"extensions":{"`+tasksExtension+`":{}}}`))

const tasksExtension = "io.modelcontextprotocol/tasks"

// hasTasks reports whether the client declares the tasks extension.
func (x *exchange) hasTasks() bool {
	_, ok := mcp.Find(x.body, x.e.ClientCapabilities, "extensions", tasksExtension)
	return ok
}

// tasks takes the tasks of a subscription into its filter and returns the
// member that says which of them are there.
func (x *exchange) tasks(f *filter, m mcp.Member) []byte {
	out := []byte(`"taskIds":[`)
	for v := range mcp.Elements(x.body, m.Value) {
		text, err := mcp.String(x.body, v)
		if err != nil || len(f.tasks) == maxSubscriptions {
			continue
		}
		server, id, err := x.openTask(text)
		if err != nil {
			continue
		}
		handle := slices.Clone(v.Of(x.body))
		if len(f.tasks) > 0 {
			out = append(out, ',')
		}
		f.tasks = append(f.tasks, taskTopic{server, id, handle})
		out = append(out, handle...)
	}
	return append(out, ']')
}

// taskTopic is a task that a subscription listens to.
type taskTopic struct {
	server *catalog.Server
	id     string // as the server has it
	handle []byte // as the client has it, raw
}

// taskNews returns a server's notification about a task as its subscriber knows
// it; nil for others' tasks.
func (f *filter) taskNews(server *catalog.Server, message []byte, e *mcp.Envelope, merged bool) []byte {
	if f == nil || e.Method != mcp.NotifyTasks {
		return nil
	}
	id, _ := mcp.String(message, e.TaskID)
	for _, t := range f.tasks {
		if t.server.Key() == server.Key() && t.id == id {
			edits := []mcp.Edit{{Span: e.TaskID, With: t.handle}}
			if merged {
				edits = signedRequests(edits, message, e.Params, server)
			}
			return mcp.Splice(nil, message, ordered(edits)...)
		}
	}
	return nil
}
