package gateway

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/gateway/eras"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

// modern serves the methods only 2026-07-28 and later have.
func (g *Gateway) modern(x *exchange) {
	switch x.e.Method {
	case mcp.MethodDiscover:
		g.discover(x)
	case mcp.MethodSubscriptionsListen:
		g.listen(x)
	case mcp.MethodTasksGet, mcp.MethodTasksUpdate, mcp.MethodTasksCancel:
		g.task(x)
	default:
		x.fail(errNoMethod)
	}
}

// description is what an endpoint says of itself.
type description struct {
	capabilities []byte
	info         []byte
	instructions string
}

// mergedCapabilities is what an endpoint over several servers offers:
// everything, since servers come and go under it. A list without items is an
// honest answer.
const mergedCapabilities = `{"completions":{},"logging":{},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true},"tools":{"listChanged":true}}`

// describeTime is how long an endpoint waits for its one server to describe it.
const describeTime = 3 * time.Second

// describe tells what an endpoint offers: one server's own words, or the
// merged ones, also when that server does not answer soon.
func (g *Gateway) describe(ctx context.Context, ep endpoint, era mcp.Era) description {
	d := description{capabilities: []byte(mergedCapabilities), info: g.info()}
	if ep.server == nil {
		if era == mcp.Modern {
			d.capabilities = g.extended(ctx, ep)
		}
		return d
	}
	ctx, cancel := context.WithTimeout(ctx, describeTime)
	defer cancel()
	f, err := g.Hub.Eras(ctx, ep.server, ep.by, era)
	if err != nil {
		return d
	}
	d.instructions = f.Instructions
	if c := eras.Capabilities(f, era); len(c) > 0 {
		d.capabilities = c
	}
	return d
}

// extended returns the merged capabilities with the extensions of the servers,
// as far as they answer soon; of two with one extension the older one's
// settings count.
func (g *Gateway) extended(ctx context.Context, ep endpoint) []byte {
	servers := ep.servers()
	facts := make([]*upstream.Facts, len(servers))
	wait, cancel := context.WithTimeout(ctx, listWait)
	defer cancel()
	var wg sync.WaitGroup
	for i, s := range servers {
		if s.Enabled && !g.lists.isLate(ctx, s, ep.by) {
			wg.Go(func() { facts[i], _ = g.Hub.Eras(wait, s, ep.by, mcp.Modern) }) // nil when it does not answer
		}
	}
	wg.Wait()
	if wait.Err() != nil {
		for i, s := range servers {
			if g.lists.setLate(s, facts[i] == nil); facts[i] == nil && s.Enabled {
				g.Hub.Unheard(ctx, s, ep.by)
			}
		}
	}
	extensions := []byte(`{}`)
	for _, f := range slices.Backward(facts) { // each goes to the front, the oldest last
		if f == nil || f.Era != mcp.Modern {
			continue
		}
		own, _ := mcp.Get(f.Capabilities, mcp.Root(f.Capabilities), "extensions")
		for m := range mcp.Members(f.Capabilities, own) {
			if key, err := mcp.String(f.Capabilities, m.Key); err == nil {
				extensions = mcp.InsertMember(nil, extensions, mcp.Root(extensions), key, m.Value.Of(f.Capabilities))
			}
		}
	}
	all := []byte(mergedCapabilities)
	if len(extensions) == len(`{}`) {
		return all
	}
	return mcp.InsertMember(nil, all, mcp.Root(all), "extensions", extensions)
}

// info is our implementation, as serverInfo.
func (g *Gateway) info() []byte {
	return append(mcp.AppendString([]byte(`{"name":"headgate","title":"Headgate","version":`), g.Version), '}')
}

// discover says what the endpoint is and which revisions it speaks.
func (g *Gateway) discover(x *exchange) {
	g.lists.warm(x.r.Context(), x.ep)
	d := g.describe(x.r.Context(), x.ep, mcp.Modern)
	out := []byte(`{"supportedVersions":[`)
	for i, rev := range revisions() {
		if i > 0 {
			out = append(out, ',')
		}
		out = mcp.AppendString(out, rev)
	}
	out = append(append(out, `],"capabilities":`...), d.capabilities...)
	if d.instructions != "" {
		out = mcp.AppendString(append(out, `,"instructions":`...), d.instructions)
	}
	out = append(out, `,"resultType":"complete","ttlMs":`...)
	out = strconv.AppendInt(out, describeTTL.Milliseconds(), 10)
	out = append(out, `,"cacheScope":"private","_meta":{"`+mcp.MetaServerInfo+`":`...)
	x.result(append(append(out, d.info...), `}}`...))
}

const describeTTL = time.Minute

// revisions are those we speak, the newest first.
func revisions() (all []string) {
	for _, era := range []mcp.Era{mcp.Modern, mcp.Legacy} {
		for _, rev := range mcp.Revisions(era) {
			all = append(all, string(rev))
		}
	}
	return all
}

// listen opens a subscription: one long answer, until the client hangs up.
func (g *Gateway) listen(x *exchange) {
	f, honoured, err := x.filter()
	if err != nil {
		x.fail(err)
		return
	}
	st, err := g.newStream(x.ep, f)
	if err != nil {
		x.fail(err)
		return
	}
	w, r := x.web.w, x.r
	x.after = func() {
		defer st.leave()
		streamHeaders(w)
		l := direct{w}
		if l.put(appendEvent(nil, acknowledgement(f.id, honoured))) != nil {
			return
		}
		st.start(nil)
		st.subscribe(f)
		turn, _ := st.take()
		if st.serve(l, r, turn) == drained {
			_ = l.put(appendEvent(nil, mcp.AppendResult(nil, f.id, append(append([]byte(`{"resultType":"complete","_meta":{"`+mcp.MetaSubscriptionID+`":`), f.id...), `}}`...))))
		}
	}
}

// acknowledgement is the first message of a subscription.
func acknowledgement(id, honoured []byte) []byte {
	ack := []byte(`{"jsonrpc":"2.0","method":"` + mcp.NotifySubscriptionsAck + `","params":{"_meta":{"` + mcp.MetaSubscriptionID + `":`)
	ack = append(append(ack, id...), `},"notifications":`...)
	return append(append(ack, honoured...), `}}`...)
}

// filter reads what a subscription asks for, and what of it is honoured.
func (x *exchange) filter() (f *filter, honoured []byte, err error) {
	wanted, ok := mcp.Get(x.body, x.e.Params, "notifications")
	if !ok || x.body[wanted.Start] != '{' {
		return nil, nil, mcp.ErrBadParams.Saying("params.notifications must say what to listen for.")
	}
	f = &filter{id: append([]byte(nil), x.id()...)}
	honoured = []byte(`{`)
	for m := range mcp.Members(x.body, wanted) {
		key, err := mcp.String(x.body, m.Key)
		if err != nil {
			continue
		}
		pair := m.Pair().Of(x.body)
		switch key {
		case "toolsListChanged", "promptsListChanged", "resourcesListChanged":
			if string(m.Value.Of(x.body)) != "true" {
				continue
			}
			f.lists = append(f.lists, key)
		case "resourceSubscriptions":
			if pair = x.resources(f, m); pair == nil {
				continue
			}
		case "taskIds":
			if !x.hasTasks() {
				return nil, nil, errNoTasks
			}
			pair = x.tasks(f, m)
		default:
			continue
		}
		if len(honoured) > 1 {
			honoured = append(honoured, ',')
		}
		honoured = append(honoured, pair...)
	}
	return f, append(honoured, '}'), nil
}

// resources takes the resources of a subscription into its filter and returns
// the member that says which of them there will be news of: those of a server
// that has such news. nil says that there are none.
func (x *exchange) resources(f *filter, m mcp.Member) []byte {
	out := []byte(`"resourceSubscriptions":[`)
	tells := map[*catalog.Server]bool{}
	for v := range mcp.Elements(x.body, m.Value) {
		uri, err := mcp.String(x.body, v)
		if err != nil || len(f.uris) == maxSubscriptions {
			continue
		}
		server := x.ep.server
		if server == nil {
			server = x.g.owner(x.r.Context(), x.ep, uri)
		}
		if server == nil {
			continue
		}
		if _, known := tells[server]; !known {
			tells[server] = x.g.tells(x.r.Context(), x.ep, server)
		}
		if !tells[server] {
			continue
		}
		if len(f.uris) > 0 {
			out = append(out, ',')
		}
		f.uris = append(f.uris, resourceTopic{server, uri})
		out = append(out, v.Of(x.body)...)
	}
	if f.uris == nil {
		return nil
	}
	return append(out, ']')
}

// resourceTopic is a resource that a subscription listens to.
type resourceTopic struct {
	server *catalog.Server
	uri    string
}

// tells reports whether a server says when a resource changes. One that does not
// answer now may.
func (g *Gateway) tells(ctx context.Context, ep endpoint, server *catalog.Server) bool {
	ctx, cancel := context.WithTimeout(ctx, listWait)
	defer cancel()
	f, err := g.Hub.Eras(ctx, server, ep.by, mcp.Modern)
	if err != nil {
		return true
	}
	v, ok := mcp.Find(f.Capabilities, mcp.Root(f.Capabilities), "resources", "subscribe")
	return ok && string(v.Of(f.Capabilities)) == "true"
}

// subscribe listens to updates of resources and tasks at the servers they are at.
func (st *stream) subscribe(f *filter) {
	topics := map[*catalog.Server][]string{}
	for _, t := range f.uris {
		topics[t.server] = append(topics[t.server], t.uri)
	}
	for _, t := range f.tasks {
		topics[t.server] = append(topics[t.server], upstream.TaskTopic(t.id))
	}
	for server, list := range topics {
		st.hearOwn(server, upstream.Client{}, list)
	}
}
