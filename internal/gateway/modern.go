package gateway

import (
	"strconv"

	"headgate/internal/mcp"
)

// modern serves the methods only 2026-07-28 and later have.
func (g *Gateway) modern(x *exchange) {
	switch x.e.Method {
	case mcp.MethodDiscover:
		g.discover(x)
	case mcp.MethodSubscriptionsListen:
		g.listen(x)
	default:
		x.fail(errNoMethod)
	}
}

// discover says what the endpoint is and which revisions it speaks.
func (g *Gateway) discover(x *exchange) {
	d := g.describe(x.r.Context(), x.ep, mcp.Modern)
	out := []byte(`{"supportedVersions":[`)
	for _, era := range []mcp.Era{mcp.Modern, mcp.Legacy} {
		for _, rev := range mcp.Revisions(era) {
			if out[len(out)-1] != '[' {
				out = append(out, ',')
			}
			out = mcp.AppendString(out, string(rev))
		}
	}
	out = append(append(out, `],"capabilities":`...), d.capabilities...)
	if d.instructions != "" {
		out = mcp.AppendString(append(out, `,"instructions":`...), d.instructions)
	}
	out = append(out, `,"resultType":"complete","ttlMs":`...)
	out = strconv.AppendInt(out, listMinTTL.Milliseconds(), 10)
	out = append(out, `,"cacheScope":"private","_meta":{"`+mcp.MetaServerInfo+`":`...)
	out = append(append(out, d.info...), `}}`...)
	x.result(out)
}

// listen opens a subscription: one long answer, until the client hangs up.
func (g *Gateway) listen(x *exchange) {
	wanted, ok := mcp.Get(x.body, x.e.Params, "notifications")
	if !ok || x.body[wanted.Start] != '{' {
		x.fail(mcp.ErrBadParams.Saying("params.notifications must say what to listen for."))
		return
	}
	f := filter{id: append([]byte(nil), x.id()...)}
	honoured := []byte(`{`)
	for m := range mcp.Members(x.body, wanted) {
		key, err := mcp.String(x.body, m.Key)
		if err != nil {
			continue
		}
		switch key {
		case "toolsListChanged", "promptsListChanged", "resourcesListChanged":
			if string(m.Value.Of(x.body)) != "true" {
				continue
			}
			f.lists = append(f.lists, key)
		case "resourceSubscriptions":
			for v := range mcp.Elements(x.body, m.Value) {
				if uri, err := mcp.String(x.body, v); err == nil && len(f.uris) < maxSubscriptions {
					f.uris = append(f.uris, uri)
				}
			}
		default:
			continue
		}
		if len(honoured) > 1 {
			honoured = append(honoured, ',')
		}
		honoured = append(honoured, m.Pair().Of(x.body)...)
	}
	honoured = append(honoured, '}')
	st, err := g.openStream(x, &f)
	if err != nil {
		x.fail(err)
		return
	}
	defer st.leave()
	streamHeaders(x.w)
	ack := []byte(`{"jsonrpc":"2.0","method":"` + mcp.NotifySubscriptionsAck + `","params":{"_meta":{"` + mcp.MetaSubscriptionID + `":`)
	ack = append(append(ack, f.id...), `},"notifications":`...)
	ack = append(append(ack, honoured...), `}}`...)
	st.push(ack)
	st.serve(x.w, x.r)
	if st.graceful() {
		x.out = mcp.AppendResult(x.out[:0], f.id, append(append([]byte(`{"resultType":"complete","_meta":{"`+mcp.MetaSubscriptionID+`":`), f.id...), `}}`...))
		st.event(x.w, x.out)
	}
}
