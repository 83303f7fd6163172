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
	body := a.Body
	if v, ok := mcp.Get(body, a.Envelope.Result, "taskId"); ok { // the client's own word for it
		x.out = mcp.Splice(x.out[:0], body, mcp.Edit{Span: v, With: x.e.TaskID.Of(x.body)})
		body = x.out
	}
	x.to.answer(x.status(a), body)
}

// taskTarget opens the handle of a task.
func (x *exchange) taskTarget() (*catalog.Server, string, error) {
	text, err := mcp.String(x.body, x.e.TaskID)
	if err != nil || len(text) > 4*maxTask {
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
