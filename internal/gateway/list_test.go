package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/gateway"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
)

// listing is the result of a list of tools.
type listing struct {
	Tools []struct {
		Name  string
		Extra json.RawMessage
	}
	Resources  []struct{ URI string }
	NextCursor string
	ResultType string
	TTLMs      *int64
	CacheScope string
	Meta       struct {
		Missing  []struct{ Server, Reason string } `json:"headgate/missing"`
		Shadowed []struct{ Server, Name string }   `json:"headgate/shadowed"`
	} `json:"_meta"`
}

func (h *house) tools(path, cursor string) (l listing) {
	h.t.Helper()
	params := ""
	if cursor != "" {
		params = `"cursor":` + string(testkit.Must(json.Marshal(cursor))(h.t))
	}
	decode(h.t, h.modern(path, "tools/list", params).result(h.t), &l)
	return l
}

func (l listing) names() (names []string) {
	for _, t := range l.Tools {
		names = append(names, t.Name)
	}
	return names
}

func TestMergedNames(t *testing.T) {
	h := newHouse(t)
	long := strings.Repeat("long-", 12) + "name"
	list := func(names ...string) string {
		var items []string
		for _, n := range names {
			items = append(items, fmt.Sprintf(`{"name":%q,"inputSchema":{"type":"object"},"vendor":{"n":9007199254740993}}`, n))
		}
		return `{"tools":[` + strings.Join(items, ",") + `]}`
	}
	one, two := newScript(t, false), newScript(t, false)
	one.lists["tools/list"] = list("echo", long, long+"2", "ümlaut", "two_echo")
	two.lists["tools/list"] = list("echo")
	h.serve("one", one.URL)
	h.serve("one-two", two.URL)
	l := h.tools("/mcp", "")
	t.Run("names carry their server's, fit every client, and never collide", func(t *testing.T) {
		seen := map[string]bool{}
		for _, name := range l.names() {
			if seen[name] || len(name) > mcp.MaxName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" {
				t.Errorf("%q", name)
			}
			seen[name] = true
		}
		if len(seen) != 6 || !seen["one_echo"] || !seen["one-two_echo"] || !seen["one_two_echo"] {
			t.Errorf("%v", l.names())
		}
	})
	t.Run("a call by any of them reaches the tool under its own name", func(t *testing.T) {
		for i, own := range []string{"echo", long, long + "2", "ümlaut", "two_echo"} {
			answer := make(chan reply, 1)
			go func() {
				answer <- h.initialize("/mcp", "2025-11-25", `{}`).call("tools/call", fmt.Sprintf(`{"name":%q,"arguments":{"x":1.0}}`, l.Tools[i].Name))
			}()
			in := one.gets()
			testkit.Equal(t, in.body, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{"x":1.0}}}`, own))
			in.sends(t, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`, 200)
			(<-answer).result(t)
		}
	})
	t.Run("what no server offers is refused like what does not exist, in each era's words", func(t *testing.T) {
		s := h.initialize("/mcp", "2025-11-25", `{}`)
		for _, name := range []string{"nothing", "nothing_echo", "one", "_echo", "one-_echo", strings.Repeat("x", 300)} {
			if r := s.call("tools/call", fmt.Sprintf(`{"name":%q}`, name)); r.status != 200 || r.code(t) != mcp.CodeInvalidParams {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
			if r := h.modern("/mcp", "tools/call", fmt.Sprintf(`"name":%q`, name)); r.status != 400 || r.code(t) != mcp.CodeInvalidParams {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
		}
		if r := s.call("resources/read", `{"uri":"file:///nothing"}`); r.code(t) != mcp.CodeResourceNotFound {
			t.Errorf("legacy: %s", r.body)
		}
		if r := h.modern("/mcp", "resources/read", `"uri":"file:///nothing"`); r.code(t) != mcp.CodeInvalidParams {
			t.Errorf("modern: %s", r.body)
		}
	})
	t.Run("the rest of an entry is the server's, byte for byte", func(t *testing.T) {
		r := h.modern("/mcp", "tools/list", "").result(t)
		if !strings.Contains(r, `{"name":"one_echo","inputSchema":{"type":"object"},"vendor":{"n":9007199254740993}}`) {
			t.Error(r)
		}
	})
	t.Run("names are the same after a restart, and so is their order", func(t *testing.T) {
		other := newHouse(t)
		other.serve("one", one.URL)
		other.serve("one-two", two.URL)
		testkit.Equal(t, other.tools("/mcp", "").names(), l.names())
	})
}

func TestLists(t *testing.T) {
	t.Run("a server that hangs delays nobody: the list says that it is missing", func(t *testing.T) {
		h := newHouse(t)
		var first atomic.Bool // the hung server's first request has ended
		hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // else nobody notices that the client hangs up
			<-r.Context().Done()
			first.Store(true)
		}))
		t.Cleanup(func() { hung.CloseClientConnections(); hung.Close() })
		h.serve("hung", hung.URL)
		for i := range 3 {
			h.raw(fmt.Sprintf("raw%d", i), rawmcp.Options{})
		}
		s := h.initialize("/mcp", "2025-11-25", `{}`)
		l := h.tools("/mcp", "")
		var old listing
		decode(t, s.call("tools/list", `{}`).result(t), &old)
		if first.Load() {
			t.Error("they waited until the hung server was given up")
		}
		for _, l := range []listing{l, old} {
			if len(l.Meta.Missing) != 1 || l.Meta.Missing[0].Server != "hung" || l.Meta.Missing[0].Reason != "slow" || !slices.Contains(l.names(), "raw2_echo") {
				t.Errorf("%+v", l.Meta)
			}
		}
		if *l.TTLMs > 5000 {
			t.Errorf("an incomplete list may be kept for %d ms", *l.TTLMs)
		}
	})
	t.Run("a server that comes late is told of", func(t *testing.T) {
		h := newHouse(t)
		up := testkit.Must(rawmcp.Listen(rawmcp.Options{Era: rawmcp.Legacy}))(t)
		t.Cleanup(up.Close)
		ready := make(chan struct{})
		proxy := httputil.NewSingleHostReverseProxy(testkit.Must(url.Parse("http://" + up.Addr()))(t))
		late := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-ready
			proxy.ServeHTTP(w, r)
		}))
		t.Cleanup(func() { late.CloseClientConnections(); late.Close() })
		h.serve("late", late.URL+"/mcp")
		h.raw("raw", rawmcp.Options{})
		stream := h.initialize("/mcp", "2025-11-25", `{}`).listen()
		if l := h.tools("/mcp", ""); len(l.Meta.Missing) != 1 {
			t.Errorf("%+v", l.Meta)
		}
		close(ready)
		testkit.Equal(t, stream.want().Method, mcp.NotifyToolsChanged)
		eventually(t, "it is in the list", func() bool { return slices.Contains(h.tools("/mcp", "").names(), "late_echo") })
	})
	t.Run("a modern list says how long it keeps and for whom; a legacy one does not", func(t *testing.T) {
		h := newHouse(t)
		h.raw("raw", rawmcp.Options{})
		l := h.tools("/mcp/raw", "")
		if l.ResultType != "complete" || l.TTLMs == nil || *l.TTLMs != 60_000 || l.CacheScope != "private" {
			t.Errorf("%+v", l)
		}
		var old listing
		decode(t, h.initialize("/mcp/raw", "2025-11-25", `{}`).call("tools/list", `{}`).result(t), &old)
		if old.ResultType != "" || old.TTLMs != nil || old.CacheScope != "" {
			t.Errorf("%+v", old)
		}
		testkit.Equal(t, old.names(), l.names())
	})
	t.Run("long lists come in pages, each item once; a cursor of another list is refused", func(t *testing.T) {
		h := newHouse(t)
		up := h.raw("raw", rawmcp.Options{Tools: 2500})
		seen := map[string]bool{}
		pages, cursor := 0, ""
		for {
			l := h.tools("/mcp", cursor)
			pages++
			for _, name := range l.names() {
				if seen[name] {
					t.Fatalf("%s twice", name)
				}
				seen[name] = true
			}
			if l.NextCursor == "" {
				break
			}
			cursor = l.NextCursor
		}
		if pages != 3 || len(seen) != 2500 {
			t.Errorf("%d pages, %d tools", pages, len(seen))
		}
		up.SetTools(2501)
		h.hub.Invalidate(testkit.Must(h.resolver.Workspace(t.Context(), h.org, h.workspace))(t).Servers()[0])
		if r := h.modern("/mcp", "tools/list", `"cursor":"`+cursor+`"`); r.code(t) != mcp.CodeInvalidParams {
			t.Error(r.body)
		}
	})
	t.Run("of two servers that offer a URI the older one owns it, and the other is named", func(t *testing.T) {
		h := newHouse(t)
		one, two := newScript(t, false), newScript(t, false)
		for _, s := range []*script{one, two} {
			s.lists["resources/list"] = `{"resources":[{"uri":"file:///a","name":"a"}]}`
			s.lists["resources/templates/list"] = `{"resourceTemplates":[{"uriTemplate":"db://{table}/{id}","name":"row"}]}`
		}
		h.serve("one", one.URL)
		h.serve("two", two.URL)
		var l listing
		s := h.initialize("/mcp", "2025-11-25", `{}`)
		decode(t, s.call("resources/list", `{}`).result(t), &l)
		if len(l.Resources) != 1 || len(l.Meta.Shadowed) != 1 || l.Meta.Shadowed[0].Server != "two" || l.Meta.Shadowed[0].Name != "file:///a" {
			t.Errorf("%+v", l)
		}
		for _, uri := range []string{"file:///a", "db://t/1"} {
			answer := make(chan reply, 1)
			go func() { answer <- s.call("resources/read", `{"uri":"`+uri+`"}`) }()
			one.gets().sends(t, `{"jsonrpc":"2.0","id":1,"result":{"contents":[]}}`, 200)
			(<-answer).result(t)
		}
		if r := s.call("resources/read", `{"uri":"db://t/1/2"}`); r.code(t) != mcp.CodeResourceNotFound {
			t.Error(r.body)
		}
	})
	t.Run("completion goes to the server of the prompt or template, under its own name", func(t *testing.T) {
		h := newHouse(t)
		one := newScript(t, false)
		one.lists["resources/list"] = `{"resources":[]}`
		one.lists["resources/templates/list"] = `{"resourceTemplates":[{"uriTemplate":"db://{table}","name":"row"}]}`
		h.serve("one", one.URL)
		s := h.initialize("/mcp", "2025-11-25", `{}`)
		for ref, own := range map[string]string{`{"type":"ref/prompt","name":"one_hi"}`: `{"type":"ref/prompt","name":"hi"}`, `{"type":"ref/resource","uri":"db://{table}"}`: `{"type":"ref/resource","uri":"db://{table}"}`} {
			answer := make(chan reply, 1)
			params := `{"ref":%s,"argument":{"name":"a","value":"b"}}`
			go func() { answer <- s.call("completion/complete", fmt.Sprintf(params, ref)) }()
			in := one.gets()
			testkit.Equal(t, in.body, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":`+params+`}`, own))
			in.sends(t, `{"jsonrpc":"2.0","id":1,"result":{"completion":{"values":[]}}}`, 200)
			(<-answer).result(t)
		}
	})
	t.Run("a list answered twice is the same bytes", func(t *testing.T) {
		h := newHouse(t)
		h.raw("raw", rawmcp.Options{})
		h.demo()
		testkit.Equal(t, h.modern("/mcp", "tools/list", "").body, h.modern("/mcp", "tools/list", "").body)
	})
}

// TestFirstList starts Gateways anew over a store: servers that were heard
// before are listed as they were, and one that never was is not waited for
// again.
func TestFirstList(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, store *db.Store) {
		h := newHouse(t, func(o *houseOptions) { o.store = store })
		u := newScript(t, false)
		u.lists["tools/list"] = `{"tools":[{"name":"x","n":9007199254740993}]}`
		var hang atomic.Bool
		well := httptest.NewServer(untilEnd(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if hang.Load() {
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				return
			}
			u.ServeHTTP(w, r)
		})))
		never := httptest.NewServer(untilEnd(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})))
		for slug, s := range map[string]*httptest.Server{"well": well, "never": never} {
			t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
			h.serve(slug, s.URL)
		}
		h.url = h.replica(store)
		check := func(t *testing.T, l listing) {
			t.Helper()
			testkit.Equal(t, l.names(), []string{"well_x"})
			if len(l.Meta.Missing) != 1 || l.Meta.Missing[0].Server != "never" {
				t.Errorf("%+v", l.Meta)
			}
		}
		check(t, h.tools("/mcp", ""))
		eventually(t, "both are noted", func() bool { return h.count("server_lists") == 2 })
		for _, c := range []struct {
			name  string
			hangs bool // the other one too
			first func()
		}{
			{"discover", false, func() { h.modern("/mcp", "server/discover", "").result(t) }},
			{"the list of an old client", true, func() {
				var l listing
				decode(t, h.initialize("/mcp", "2025-11-25", `{}`).call("tools/list", `{}`).result(t), &l)
				check(t, l)
			}},
			{"the list of a new client", true, func() { check(t, h.tools("/mcp", "")) }},
		} {
			t.Run(c.name, func(t *testing.T) {
				hang.Store(c.hangs)
				eventually(t, "it waits for nobody", func() bool { // on a crowded machine one try may take as long as a wait
					h.url = h.replica(store)
					start := time.Now()
					c.first()
					return time.Since(start) < 900*time.Millisecond
				})
			})
		}
	})
}

func TestChanges(t *testing.T) {
	h := newHouse(t)
	up := h.raw("raw", rawmcp.Options{Era: rawmcp.Legacy})
	old := h.initialize("/mcp", "2025-11-25", `{}`).listen()
	now := h.events(h.modernRequest(t.Context(), "/mcp", "subscriptions/listen", `"notifications":{"toolsListChanged":true,"resourcesListChanged":false}`))
	ack := now.want()
	testkit.Equal(t, ack.Method, "notifications/subscriptions/acknowledged")
	testkit.Equal(t, string(ack.Params), `{"_meta":{"io.modelcontextprotocol/subscriptionId":1},"notifications":{"toolsListChanged":true}}`)
	before := len(h.tools("/mcp", "").Tools)
	t.Run("a change of a server's list reaches open streams of both eras, and lists are new by then", func(t *testing.T) {
		eventually(t, "the server is being listened to for both", func() bool { return up.Notify(mcp.NotifyMessage) == 1 && h.hub.Stats().Watchers == 2 })
		up.SetTools(100)
		up.Notify(mcp.NotifyToolsChanged)
		testkit.Equal(t, old.want().Method, mcp.NotifyToolsChanged)
		changed := now.want()
		testkit.Equal(t, changed.Method, mcp.NotifyToolsChanged)
		testkit.Equal(t, string(changed.Params), `{"_meta":{"io.modelcontextprotocol/subscriptionId":1}}`)
		if after := len(h.tools("/mcp", "").Tools); after <= before {
			t.Errorf("%d tools before, %d after", before, after)
		}
	})
	t.Run("so does a server that comes, goes or is switched off", func(t *testing.T) {
		d := h.serve("new", up.URL())
		testkit.Equal(t, old.want().Method, mcp.NotifyToolsChanged)
		testkit.Equal(t, now.want().Method, mcp.NotifyToolsChanged)
		if !slices.Contains(h.tools("/mcp", "").names(), "new_echo") {
			t.Error("not in the list")
		}
		off := false
		testkit.Must(h.catalog.UpdateServer(t.Context(), h.owner, d.ID, catalog.ServerChange{Enabled: &off}))(t)
		testkit.Equal(t, now.want().Method, mcp.NotifyToolsChanged)
		if slices.Contains(h.tools("/mcp", "").names(), "new_echo") {
			t.Error("still in the list")
		}
		testkit.Must0(t, h.catalog.DeleteServer(t.Context(), h.owner, d.ID))
		testkit.Equal(t, now.want().Method, mcp.NotifyToolsChanged)
	})
	t.Run("a key that is revoked ends its streams", func(t *testing.T) {
		k, v, err := h.apikeys.Create(t.Context(), h.owner, personal(h))
		testkit.Must0(t, err)
		r := h.modernRequest(t.Context(), "/mcp", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`, "Authorization: Bearer "+v.Reveal())
		e := h.events(r)
		e.want()
		testkit.Must0(t, h.apikeys.Revoke(t.Context(), h.owner, k.ID))
		e.ended()
	})
	t.Run("when nobody listens any more the servers are left alone", func(t *testing.T) {
		old.resp.Body.Close()
		now.resp.Body.Close()
		eventually(t, "no stream is open", func() bool { return h.hub.Stats().Streams == 0 })
	})
}

// eventually waits for a condition, a few seconds at most.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func TestTemplates(t *testing.T) {
	for _, c := range []struct {
		template, uri string
		want          bool
	}{
		{"file:///a", "file:///a", true},
		{"file:///a", "file:///ab", false},
		{"db://{table}/{id}", "db://t/1", true},
		{"db://{table}/{id}", "db://t/1/2", false},
		{"db://{table}/{id}", "db://t/", false},
		{"db://{table}/{id}", "db:///1", false},
		{"file:///{+path}", "file:///a/b/c", true},
		{"file:///{+path}", "file:///", true},
		{"file:///{path*}", "file:///a/b", true},
		{"x{a}y{b}z", "x1y2z", true},
		{"x{a}y{b}z", "xyyyz", true}, // a is y, b is y
		{"x{a}y{b}z", "xyz", false},
		{"{a}", "", false},
		{"{+a}", "", true},
		{"{a", "x", false},
		{"{a}{b}", "xy", true},
		{"{a}{b}", "x", false},
		{"a{?q}", "a?q=1", true},
		{"a{?q}", "a", true},
	} {
		if got := gateway.TemplateMatches(c.template, c.uri); got != c.want {
			t.Errorf("%s matches %s: %v", c.template, c.uri, got)
		}
	}
	t.Run("a hostile template takes no time", func(t *testing.T) {
		start := time.Now()
		gateway.TemplateMatches(strings.Repeat("{+a}x", 32), strings.Repeat("x", 8<<10)+"y")
		gateway.TemplateMatches(strings.Repeat("{+a}x", 4000), strings.Repeat("x", 8<<10))
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %s", took)
		}
	})
}
