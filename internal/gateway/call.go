package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"headgate/internal/call"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/gateway/eras"
	"headgate/internal/id"
	"headgate/internal/mcp"
	"headgate/internal/server/request"
	"headgate/internal/upstream"
)

// call uses a tool, a prompt or a resource: the door's half of call.Do.
func (g *Gateway) call(x *exchange) {
	server, name, err := x.target()
	if err != nil {
		x.fail(err)
		return
	}
	if x.era == mcp.Modern && x.e.Method == mcp.MethodToolsCall {
		if err := x.checkParams(server, name); err != nil {
			x.fail(err)
			return
		}
	}
	r := call.Request{Door: "gateway", CallID: x.callID(), UserAgent: x.header("User-Agent")}
	if a := request.ClientAddr(x.r.Context()); a.IsValid() {
		r.IP = a.String()
	}
	r.Request = x.outbound(server, name)
	ctx, cancel := x.context()
	defer cancel()
	if x.s != nil {
		if err := x.s.begin(x.id(), cancel); err != nil {
			x.fail(err)
			return
		}
		defer x.s.done(x)
		x.listen(ctx, server)
	}
	x.asking = server
	x.to.wait()
	a, err := g.Calls.Do(ctx, &r, x)
	if err != nil {
		x.refused(err)
		return
	}
	defer a.Release()
	body := a.Body
	switch a.Envelope.ResultType {
	case mcp.ResultTask:
		body = x.handled(a, server)
	case mcp.ResultInputRequired:
		if missing := eras.Missing(x.e.ClientCapabilities.Of(x.body), a.Body, a.Envelope.Result); missing != nil && x.era == mcp.Modern {
			x.fail(errUnasked.With(requiredCapabilities, json.RawMessage(missing)))
			return
		}
		body = x.signs(a, server)
	}
	if a.Envelope.ErrorCode == mcp.CodeElicitationRequired {
		body = x.signs(a, server)
	}
	x.to.answer(x.status(a), body)
}

// listenTime is how long the first call of a session waits for the stream on
// which its server may ask something.
const listenTime = 2 * time.Second

// listen has the session's stream hear the server before the first call.
func (x *exchange) listen(ctx context.Context, server *catalog.Server) {
	heard := x.s.touch(server)
	if heard == nil || len(x.s.client.Capabilities) <= len("{}") {
		return // it has nothing to ask
	}
	t := time.NewTimer(listenTime)
	defer t.Stop()
	select {
	case <-heard:
	case <-t.C:
	case <-ctx.Done():
	}
}

// relay sends a request that is no call and gives its answer back. When that is
// a result, accepted comes before it and may fail; nil for nothing to do.
func (g *Gateway) relay(x *exchange, r upstream.Request, accepted func() error) {
	ctx, cancel := x.context()
	defer cancel()
	if x.s != nil {
		if err := x.s.begin(x.id(), cancel); err != nil {
			x.fail(err)
			return
		}
		defer x.s.done(x)
		x.listen(ctx, r.Server)
	}
	x.asking = r.Server
	x.to.wait()
	a, err := g.Upstream.Exchange(ctx, &r, x)
	if err != nil {
		x.fail(err)
		return
	}
	defer a.Release()
	if accepted != nil && a.Envelope.Kind == mcp.Response {
		if err := accepted(); err != nil {
			x.fail(err)
			return
		}
	}
	x.to.answer(x.status(a), a.Body)
}

// status is the HTTP status of a relayed answer: modern servers give errors
// one, legacy clients must not see it.
func (x *exchange) status(a *upstream.Answer) int {
	if x.era == mcp.Modern && a.Envelope.Kind == mcp.ErrorResponse && a.Status >= 400 {
		return a.Status
	}
	return http.StatusOK
}

// refused says why there is no answer. What a person can mend by paying is a
// tool's result, for the model to read.
func (x *exchange) refused(err error) {
	f := fault.Of(err)
	if f.Kind == fault.Unpaid && x.e.Method == mcp.MethodToolsCall {
		note(x.r, err)
		x.out = unpaid(x.out[:0], x.id(), x.era, x.r, f)
		x.to.answer(http.StatusOK, x.out)
		return
	}
	x.fail(err)
}

// callID is the request's own id, so that the log line is found by what the
// client was told; a further call of the same request gets a fresh one.
func (x *exchange) callID() id.Raw {
	if x.to == &x.web {
		if raw, ok := id.ParseRaw("req", request.ID(x.r.Context())); ok {
			return raw
		}
	}
	return id.NewRaw()
}

// outbound makes the request for the server: the name as the server knows it,
// everything else byte for byte.
func (x *exchange) outbound(server *catalog.Server, name string) upstream.Request {
	out := upstream.Request{Server: server, By: x.ep.by, Revision: x.rev, Method: x.e.Method, Name: name, ID: x.id(), Body: x.body,
		Progress: !x.e.ProgressToken.Empty()}
	span, _ := x.named()
	if !span.Empty() && !mcp.Equal(x.body, span, name) {
		x.out = mcp.AppendString(x.out[:0], name) // no answer is made before
		x.sent = mcp.Splice(x.sent[:0], x.body, mcp.Edit{Span: span, With: x.out})
		out.Body = x.sent
	}
	if x.s != nil {
		out.Affinity, out.Client = x.s.affinity, x.s.self()
		return out
	}
	for h, v := range x.r.Header {
		if name, ok := strings.CutPrefix(h, mcp.HeaderParamPrefix); ok && len(v) == 1 {
			out.Params = append(out.Params, upstream.Param{Name: name, Value: v[0]})
		}
	}
	return out
}
